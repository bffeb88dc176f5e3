//! One waker for the stream that stands for those of both halves.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Which half of a stream acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Sender,
    Receiver,
}

/// Who waits for the stream to take more bytes.
#[derive(Default)]
pub(crate) struct HalfWakers {
    slots: Mutex<[Option<Waker>; 2]>,
}

impl HalfWakers {
    pub(crate) fn store(&self, half: Half, waker: &Waker) {
        let mut slots = self.lock();
        if slots[half as usize]
            .as_ref()
            .is_some_and(|old| old.will_wake(waker))
        {
            return;
        }
        drop(slots);
        let mut waker = Some(waker.clone());
        slots = self.lock();
        mem::swap(&mut slots[half as usize], &mut waker);
        drop(slots);
        drop(waker);
    }

    pub(crate) fn forget(&self, half: Half) {
        let old = self.lock()[half as usize].take();
        drop(old);
    }

    pub(crate) fn wake_sender(&self) {
        let waker = self.lock()[Half::Sender as usize].take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Waker>; 2]> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for HalfWakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = mem::take(&mut *self.lock());
        for waker in woken.into_iter().flatten() {
            waker.wake();
        }
    }
}
