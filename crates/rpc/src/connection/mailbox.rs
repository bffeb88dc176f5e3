//! What callers and handlers hand to a connection's driver, and how callers wait for outcomes.

mod in_flight;
mod tickets;
mod untaken;

pub(crate) use in_flight::InFlight;
pub(crate) use untaken::Untaken;

use std::future::poll_fn;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::Flow;
use super::gauges::Seen;
use crate::executor::{CallRef, JobEnd, ReplySink};
use crate::proto::{CallId, CodecId, Open};
use crate::span::Unnumbered;
use crate::{CallError, Certainty, Code, Codec, Limits, Peer};
use tickets::{Ticket, Tickets};

/// The meeting point of one connection's driver with callers and handlers.
///
/// Invariants:
/// - M1 a ticket is removed by exactly one: by its [`InFlight`] once it is settled, or by the
///   driver once it is abandoned and its mail or its terminal event came by.
/// - M2 `driver` is set only while the driver sleeps with an empty inbox, so the first mail takes
///   it and wakes, and the others cost no wake; or, before there is one, while somebody looks through what comes.
/// - M3 no waker is woken and nothing of the user's is dropped under the lock.
/// - M4 no more tickets than [`Tickets::has_room`] for, and at most `max_bytes` of bodies in mail and waiting in
///   the machine together, so a call that is taken here is refused by the machine only if slots are
///   held by calls that were given up; answers are bounded by the calls the peer may have open.
/// - M5 `waiting` is never less than the bytes of bodies that wait in the machine: it grows under
///   the lock, with what leaves the inbox, and only the driver lowers it, to what it is then.
pub(crate) struct Mailbox {
    state: Mutex<State>,
    waiting: AtomicUsize,
    /// Bytes of a message to the peer.
    longest: AtomicUsize,
    max_bytes: usize,
    /// A call that goes this way tells how the peer is, and nothing has come from it since.
    tried: AtomicBool,
    seen: Seen,
    /// Who is there, once that is known, and the format agreed on that carries types, if there is one.
    peer: OnceLock<(Peer, Option<Codec>)>,
}

struct State {
    inbox: Vec<Mail>,
    bytes: usize,
    tickets: Tickets,
    driver: Option<Waker>,
    ended: bool,
}

/// What the driver is asked to do.
#[derive(Debug)]
pub(crate) enum Mail {
    Open {
        ticket: usize,
        open: Open,
        flow: Option<Box<Flow>>,
        span: Unnumbered,
    },
    Cancel(CallId),
    Answer {
        call: CallId,
        end: JobEnd,
    },
    /// The program has put items of this call in, or taken some.
    LookAt(CallId),
    /// The program has taken so much of what came on this call.
    Took {
        call: CallId,
        amount: u64,
    },
    /// The caller of this call was asked, and waits for its reply.
    Awaits(CallId),
    /// A notification has a handler, or never will.
    NotificationTaken {
        dropped: bool,
    },
    Close {
        code: Code,
        message: &'static str,
    },
    Drain {
        within: Duration,
    },
    CancelAll,
    /// What it was to stay for may be over.
    Release,
    Refresh,
}

impl Mailbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            state: Mutex::new(State {
                inbox: Vec::new(),
                bytes: 0,
                tickets: Tickets::new(limits.queue_calls),
                driver: None,
                ended: false,
            }),
            waiting: AtomicUsize::new(0),
            longest: AtomicUsize::new(limits.max_message as usize),
            max_bytes: limits.queue_bytes,
            tried: AtomicBool::new(false),
            seen: Seen::default(),
            peer: OnceLock::new(),
        }
    }

    /// It is `peer` that is there, with these formats.
    pub(crate) fn introduce(&self, peer: &Peer, codecs: &[CodecId]) {
        let mut typed = [Codec::MessagePack, Codec::Json].into_iter();
        let typed = typed.find(|codec| codecs.contains(&CodecId(codec.id())));
        let _ = self.peer.set((peer.clone(), typed));
    }

    /// Who is there, once that is known.
    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.peer.get().map(|(peer, _)| peer)
    }

    /// The format for calls that have to carry their types.
    pub(crate) fn carrying_types(&self) -> Option<Codec> {
        self.peer.get()?.1
    }

    /// What the driver saw last of the connection.
    pub(crate) fn gauges(&self) -> &Seen {
        &self.seen
    }

    /// The peer takes `slots` calls at once at hop level 0, and messages of `longest` bytes; until it said so, no calls.
    pub(crate) fn ready(&self, slots: u32, longest: usize) {
        self.longest.store(longest, Ordering::Relaxed);
        self.state().tickets.set_slots(slots);
    }

    /// Hands a call over, whose span is the current one; what it carries was encoded to `bytes` bytes.
    pub(crate) fn open(
        self: &Arc<Self>,
        open: Open,
        bytes: usize,
        flow: Option<Box<Flow>>,
    ) -> Result<InFlight, CallError> {
        let level = open.level();
        // Of the user's, so not under the lock.
        let span = Unnumbered::current();
        let mut state = self.state();
        let held = state.bytes + self.waiting.load(Ordering::Relaxed);
        let refused = if state.ended {
            Some(Code::ConnectionLost)
        } else if !state.tickets.has_room(level) || held + bytes > self.max_bytes {
            Some(Code::Overloaded)
        } else {
            None
        };
        if let Some(code) = refused {
            drop(state);
            return Err(CallError::new(code, Certainty::NeverSent));
        }
        let ticket = state.tickets.insert(level);
        state.bytes += bytes;
        state.inbox.push(Mail::Open {
            ticket,
            open,
            flow,
            span,
        });
        let driver = state.driver.take();
        drop(state);
        wake(driver);
        Ok(InFlight {
            mailbox: self.clone(),
            ticket: Some(ticket),
            registered: false,
        })
    }

    /// The next answer tells how the peer is.
    pub(crate) fn tries(&self) {
        self.tried.store(true, Ordering::Release);
    }

    /// Whether an answer that has come tells how the peer is; the next one does not.
    pub(crate) fn was_tried(&self) -> bool {
        // Nearly never, which costs an answer nothing to see.
        self.tried.load(Ordering::Relaxed) && self.tried.swap(false, Ordering::Acquire)
    }

    /// The longest message to the peer, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest.load(Ordering::Relaxed)
    }

    /// The driver is to look at the pipes of `call`.
    pub(crate) fn look_at(&self, call: CallId) {
        self.post(Mail::LookAt(call));
    }

    /// A notification of the peer has its handler, or was dropped.
    pub(crate) fn notification_taken(&self, dropped: bool) {
        self.post(Mail::NotificationTaken { dropped });
    }

    /// Closes the connection after what was asked so far.
    pub(crate) fn close(&self, code: Code, message: &'static str) {
        self.post(Mail::Close { code, message });
    }

    /// Ends the connection as soon as no call is in flight on it; the peer is told that it will be
    /// within `within`.
    pub(crate) fn drain(&self, within: Duration) {
        self.post(Mail::Drain { within });
    }

    /// Ends the connection, which drains, if it was to stay for nothing but calls that nobody makes any more.
    pub(crate) fn release(&self) {
        self.post(Mail::Release);
    }

    /// Completes when the connection is to end, for who has no driver for it yet.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub(crate) async fn to_end(&self) {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut state = self.state();
            let ends = |mail: &Mail| matches!(mail, Mail::Drain { .. } | Mail::Close { .. });
            if state.inbox.iter().any(ends) {
                drop(state);
                return Poll::Ready(());
            }
            let former = state.driver.replace(waker);
            drop(state);
            drop(former);
            Poll::Pending
        })
        .await;
    }

    /// Tells the peer what is offered now.
    pub(crate) fn refresh(&self) {
        self.post(Mail::Refresh);
    }

    /// Cancels the calls in flight, those of either side.
    pub(crate) fn cancel_all(&self) {
        self.post(Mail::CancelAll);
    }

    /// The calls of ours that the machine has and somebody waits for.
    pub(crate) fn sent_calls(&self) -> Vec<CallId> {
        let state = self.state();
        let sent = state.tickets.iter().filter_map(|ticket| match ticket {
            Ticket::Sent { call, .. } => Some(*call),
            _ => None,
        });
        sent.collect()
    }

    /// Whether nothing is asked of the driver and no caller waits for an outcome.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        let over = |ticket: &Ticket| matches!(ticket, Ticket::Settled(..) | Ticket::Abandoned);
        state.inbox.is_empty() && state.tickets.iter().all(over)
    }

    fn post(&self, mail: Mail) {
        let mut state = self.state();
        if state.ended {
            drop(state);
            drop(mail);
            return;
        }
        state.inbox.push(mail);
        let driver = state.driver.take();
        drop(state);
        wake(driver);
    }

    /// Takes all mail into `mail`, which is empty.
    pub(crate) fn collect(&self, mail: &mut Vec<Mail>) {
        let mut state = self.state();
        let former = state.driver.take();
        mem::swap(&mut state.inbox, mail);
        let bytes = mem::take(&mut state.bytes);
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        drop(state);
        drop(former);
    }

    /// So many bytes of bodies wait in the machine, now that all collected mail is handled.
    pub(crate) fn waits(&self, bytes: usize) {
        self.waiting.store(bytes, Ordering::Relaxed);
    }

    /// Remembers how to wake the driver; false if there is mail, so it must not sleep.
    pub(crate) fn sleep(&self, cx: &Context<'_>) -> bool {
        let waker = cx.waker().clone();
        let mut state = self.state();
        if !state.inbox.is_empty() {
            drop(state);
            return false;
        }
        let former = state.driver.replace(waker);
        drop(state);
        drop(former);
        true
    }

    /// Whether somebody still waits for the call behind `ticket`; if not, the ticket is gone.
    pub(crate) fn is_wanted(&self, ticket: usize) -> bool {
        let mut state = self.state();
        if matches!(state.tickets.get_mut(ticket), Some(Ticket::Abandoned)) {
            state.tickets.remove(ticket);
            return false;
        }
        true
    }

    /// The machine took the call behind `ticket` as `call`; the answer is whether its caller is
    /// still there.
    pub(crate) fn sent(&self, ticket: usize, call: CallId) -> bool {
        let mut state = self.state();
        match state.tickets.get_mut(ticket) {
            Some(ticket @ Ticket::Queued(_)) => {
                if let Ticket::Queued(waker) = ticket {
                    *ticket = Ticket::Sent {
                        call,
                        waker: waker.take(),
                        asked: false,
                    };
                }
                true
            }
            _ => false,
        }
    }

    /// The one outcome of the call behind `ticket`; wakers go to `wakers`, to be woken later. Whether somebody
    /// is there to take it, who then says that what came of the call `untaken` was taken.
    pub(crate) fn settle_ticket(
        &self,
        ticket: usize,
        outcome: Result<Bytes, CallError>,
        untaken: Option<CallId>,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let mut state = self.state();
        // Invariant M1: nobody else settles.
        let Some(known) = state.tickets.get_mut(ticket) else {
            return false;
        };
        match known {
            Ticket::Queued(waker) | Ticket::Sent { waker, .. } => {
                wakers.extend(waker.take());
                *known = Ticket::Settled(outcome, untaken);
                true
            }
            Ticket::Abandoned => {
                state.tickets.remove(ticket);
                drop(state);
                false
            }
            Ticket::Settled(..) => false,
        }
    }

    /// The caller behind `ticket` is to say, by the next look at its call, that it waits; how to wake it for
    /// that.
    pub(crate) fn ask(&self, ticket: usize) -> Option<Waker> {
        match self.state().tickets.get_mut(ticket)? {
            Ticket::Sent { waker, asked, .. } => {
                *asked = true;
                waker.take()
            }
            _ => None,
        }
    }

    /// The driver is gone: calls it still owed an outcome end now, later ones at once.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        let mail = mem::take(&mut state.inbox);
        let driver = state.driver.take();
        let mut wakers = Vec::new();
        let mut gone = Vec::new();
        for (key, ticket) in state.tickets.iter_mut() {
            let (waker, certainty) = match ticket {
                Ticket::Queued(waker) => (waker.take(), Certainty::NeverSent),
                Ticket::Sent { waker, .. } => (waker.take(), Certainty::MaybeExecuted),
                Ticket::Settled(..) => continue,
                Ticket::Abandoned => {
                    gone.push(key);
                    continue;
                }
            };
            let lost = CallError::new(Code::ConnectionLost, certainty);
            *ticket = Ticket::Settled(Err(lost), None);
            wakers.extend(waker);
        }
        for key in gone {
            state.tickets.remove(key);
        }
        drop(state);
        drop((mail, driver));
        wakers.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplySink for Mailbox {
    fn settle(&self, call: CallRef, end: JobEnd) {
        if let CallRef::Peer(call) = call {
            self.post(Mail::Answer { call, end });
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
