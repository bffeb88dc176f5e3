//! The floor: a queue within one thread, with neither atomics nor promises.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

struct Queue {
    values: VecDeque<u64>,
    capacity: usize,
    sender: Option<Waker>,
    receiver: Option<Waker>,
    closed: bool,
}

pub(crate) struct Tx(Rc<RefCell<Queue>>);
pub(crate) struct Rx(Rc<RefCell<Queue>>);

pub(crate) fn open(capacity: usize) -> (Tx, Rx) {
    let queue = Rc::new(RefCell::new(Queue {
        values: VecDeque::new(),
        capacity,
        sender: None,
        receiver: None,
        closed: false,
    }));
    (Tx(Rc::clone(&queue)), Rx(queue))
}

impl Tx {
    pub(crate) async fn send(&self, value: u64) {
        poll_fn(|context| {
            let mut queue = self.0.borrow_mut();
            if queue.values.len() >= queue.capacity {
                queue.sender = Some(context.waker().clone());
                return Poll::Pending;
            }
            queue.values.push_back(value);
            if let Some(waker) = queue.receiver.take() {
                waker.wake();
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let mut queue = self.0.borrow_mut();
        queue.closed = true;
        if let Some(waker) = queue.receiver.take() {
            waker.wake();
        }
    }
}

impl Rx {
    pub(crate) async fn recv(&self) -> Option<u64> {
        poll_fn(|context| {
            let mut queue = self.0.borrow_mut();
            if let Some(value) = queue.values.pop_front() {
                if let Some(waker) = queue.sender.take() {
                    waker.wake();
                }
                return Poll::Ready(Some(value));
            }
            if queue.closed {
                return Poll::Ready(None);
            }
            queue.receiver = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}
