//! Slots that are reserved before there is a value for them.

use std::task::{Context, Poll};

use super::{Claimant, Exchange, Load, SendProgress, SendStep};
use crate::error::{SendError, TrySendError};
use crate::flavor::Flavor;
use crate::wakes::Wakes;

impl<T, F: Flavor> Exchange<T, F> {
    /// Advances a reservation.
    ///
    /// # Panics
    ///
    /// If it was finished before.
    pub(crate) fn poll_reserve(
        &self,
        progress: &mut SendProgress<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<()>>> {
        self.poll_load(self.lock(), None, progress, context)
            .map_err(|_| SendError(()))
    }

    /// Reserves a slot if that needs no waiting.
    pub(crate) fn try_reserve(&self) -> Result<(), TrySendError<()>> {
        let mut wakes = Wakes::default();
        let step = self
            .lock()
            .send_now(Load::Slot, Claimant::ALONE, &mut wakes);
        match step {
            SendStep::Sent => Ok(()),
            SendStep::Closed(_) => Err(TrySendError::Closed(())),
            SendStep::Full(_) | SendStep::Lost(_) => Err(TrySendError::Full(())),
        }
    }

    /// Puts a value into a slot that was reserved.
    pub(crate) fn fill_slot(&self, value: T) {
        let mut wakes = Wakes::default();
        let refused = self.lock().fill_slot(value, &mut wakes);
        wakes.wake();
        drop(refused);
    }

    /// Gives slots up that were reserved.
    pub(crate) fn release_slots(&self, slots: usize) {
        let mut wakes = Wakes::default();
        self.lock().release_slots(slots, &mut wakes);
        wakes.wake();
    }
}
