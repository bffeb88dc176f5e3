//! What a caller waits for.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Mail, Mailbox, Ticket, wake};
use crate::CallError;

/// The outcome of a call, to come. Dropped before, it cancels the call.
#[must_use = "dropping it cancels the call"]
pub(crate) struct InFlight {
    pub(super) mailbox: Arc<Mailbox>,
    /// `None` once the outcome was taken.
    pub(super) ticket: Option<usize>,
    /// The ticket has a waker.
    pub(super) registered: bool,
}

impl Future for InFlight {
    type Output = Result<Bytes, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(key) = this.ticket else {
            panic!("polled after its end")
        };
        // A clone may be code of the user, so it is made before the lock: only where it is needed.
        let first = !mem::replace(&mut this.registered, true);
        let mut fresh = first.then(|| cx.waker().clone());
        loop {
            let mut state = this.mailbox.state();
            match state.tickets.get_mut(key) {
                Some(Ticket::Queued(waker) | Ticket::Sent(_, waker)) => {
                    if waker
                        .as_ref()
                        .is_some_and(|known| known.will_wake(cx.waker()))
                    {
                        return Poll::Pending;
                    }
                    let Some(fresh) = fresh.take() else {
                        drop(state);
                        fresh = Some(cx.waker().clone());
                        continue;
                    };
                    let former = waker.replace(fresh);
                    drop(state);
                    drop(former);
                    return Poll::Pending;
                }
                _ => {
                    let ticket = state.tickets.remove(key);
                    drop(state);
                    this.ticket = None;
                    return match ticket {
                        Some(Ticket::Settled(outcome)) => Poll::Ready(outcome),
                        // Only the drop of this future abandons its ticket.
                        _ => unreachable!("an abandoned call was polled"),
                    };
                }
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(key) = self.ticket else { return };
        let mut state = self.mailbox.state();
        let ended = state.ended;
        let known = state.tickets.get_mut(key);
        let former = known.map(|ticket| mem::replace(ticket, Ticket::Abandoned));
        let mut driver = None;
        match &former {
            // The driver meets it in the inbox.
            Some(Ticket::Queued(_)) if !ended => {}
            Some(Ticket::Sent(call, _)) if !ended => {
                state.inbox.push(Mail::Cancel(*call));
                driver = state.driver.take();
            }
            _ => {
                state.tickets.remove(key);
            }
        }
        drop(state);
        wake(driver);
        drop(former);
    }
}
