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
                Some(known @ (Ticket::Queued(_) | Ticket::Sent { .. })) => {
                    let (waker, asked) = match known {
                        Ticket::Sent { call, waker, asked } => {
                            (waker, asked.then_some((*call, asked)))
                        }
                        Ticket::Queued(waker) => (waker, None),
                        _ => unreachable!("it is one of these"),
                    };
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
                    let mut driver = None;
                    if let Some((call, asked)) = asked {
                        *asked = false;
                        state.inbox.push(Mail::Awaits(call));
                        driver = state.driver.take();
                    }
                    drop(state);
                    wake(driver);
                    drop(former);
                    return Poll::Pending;
                }
                _ => {
                    let ticket = state.tickets.remove(key);
                    drop(state);
                    this.ticket = None;
                    return match ticket {
                        Some(Ticket::Settled(outcome, untaken)) => {
                            if let Some(call) = untaken {
                                let amount = u64::MAX;
                                this.mailbox.post(Mail::Took { call, amount });
                            }
                            Poll::Ready(outcome)
                        }
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
            Some(Ticket::Sent { call, .. }) if !ended => {
                state.inbox.push(Mail::Cancel(*call));
                driver = state.driver.take();
            }
            Some(Ticket::Settled(_, Some(call))) if !ended => {
                let (call, amount) = (*call, u64::MAX);
                state.tickets.remove(key);
                state.inbox.push(Mail::Took { call, amount });
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
