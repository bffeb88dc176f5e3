//! The connection of a client: made when it is needed, by whoever needs it.

mod attempt;
mod connection;
mod ending;
mod flushing;
mod receiving;
mod sending;
mod untold;

pub(super) use attempt::User;
pub(super) use flushing::Queued;
pub(super) use receiving::Source;
pub(super) use sending::{NotQueued, QueueBy, SendBy};

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use self::attempt::Attempt;
use self::connection::Connection;
use self::ending::{Closing, error_of};
use self::flushing::Gone;
use self::untold::Untold;
use super::dialling::{Dial, Dialling};
use crate::attribute::Attributes;
use crate::ended::Ended;
use crate::error::{Error, Operation};
use crate::half_wakers::{Half, HalfWakers};

/// What a client and its clones share, or the two halves of a transport that connects by itself.
///
/// Nobody works in the background: whoever polls a half that has no connection moves on the attempt
/// to make one, which belongs to no task (`apart`). The caller sees to it that nobody polls one half
/// twice at once, by a turn for sending and a guard for receiving.
///
/// Invariants:
/// 1. Nothing of the user's (transport, dial, waker, message) is called or dropped under the lock.
///    What is needed is taken out and put back; a half that comes back to a connection that is gone
///    is dropped, and one that comes back to a close that goes on is handed to that.
/// 2. `state.attempt` has an id: who comes back from polling one that was given up finds another
///    there, or none, and drops what he has.
/// 3. A half stores its waker before it looks. Whoever makes, ends or closes a connection, or fails
///    to make one, wakes both halves.
/// 4. `now` is where frames are queued. A connection that broke while its receiver had not said so
///    becomes `old`, which is received from first; where there is one already, only its error is
///    kept, in `untold`, as is what was found before anybody asked for it. So each break is reported,
///    once, before what came after it: by a `recv`, or by the call whose reply it cost. A connection that
///    is dropped with such a call is reported by a `recv`.
/// 5. A frame is queued on one connection, and what is left of it there is never queued again.
///    Whoever queued a frame that went with its connection is told so by his next flush (`gone`).
/// 6. An attempt is under way only while somebody waits: a user, or a half of a transport, whose `waits`
///    is set by its poll and cleared by the next one, or by who stops to wait. The last to leave drops it.
///    One that was polled by nobody for longer than it may take is begun anew by who comes then.
/// 7. What changes under the lock is noted on the board there, and told outside of it.
pub(super) struct Line<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    state: Mutex<State<S, R>>,
    wakers: Arc<HalfWakers>,
    /// Wakes both halves.
    waker: Waker,
    dialling: Arc<Dialling<S, R>>,
    /// Whether a connection that broke is replaced.
    reconnects: AtomicBool,
    /// Attempts after which those who waited were told that there is no connection.
    failures: AtomicU64,
    users: AtomicUsize,
    ended: Ended,
}

struct State<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    attempt: Option<(u64, Option<Attempt<S, R>>)>,
    /// The halves whose last poll is answered by the attempt.
    waits: [bool; 2],
    /// Attempts so far.
    attempts: u64,
    /// Connections so far.
    generation: u64,
    now: Option<Connection<S, R>>,
    old: Option<Connection<S, R>>,
    untold: Untold<R>,
    /// Messages that had room on a connection that was gone before they were queued.
    lost: usize,
    gone: Gone,
    last_failure: Option<Error>,
    attributes: Arc<Attributes>,
    /// We ended the sending side: this connection is the last one.
    shut_down: bool,
    /// Nobody sends any more: the sending side of a connection still to be made ends at once.
    sender_dropped: bool,
    over: Option<Over>,
    closing: Option<Closing<S, R>>,
}

/// Why there will be no connection any more.
#[derive(Clone)]
enum Over {
    Closed,
    GivenUp(Error),
}

/// What somebody waits for who finds no connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    /// For one to be made, from the next poll on.
    Begins,
    /// For the same, since so many failures.
    Since(u64),
    /// For nothing: he does with what there is.
    Never,
}

impl<S, R> Line<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) fn new(dial: Dial<S, R>) -> Self {
        let wakers = Arc::new(HalfWakers::default());
        Line {
            state: Mutex::new(State {
                attempt: None,
                waits: [false; 2],
                attempts: 0,
                generation: 0,
                now: None,
                old: None,
                untold: Untold::new(),
                lost: 0,
                gone: Gone::default(),
                last_failure: None,
                attributes: Arc::default(),
                shut_down: false,
                sender_dropped: false,
                over: None,
                closing: None,
            }),
            waker: Waker::from(wakers.clone()),
            wakers,
            dialling: Arc::new(Dialling::new(dial)),
            reconnects: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            users: AtomicUsize::new(0),
            ended: Ended::default(),
        }
    }

    pub(super) fn dialling(&self) -> &Dialling<S, R> {
        &self.dialling
    }

    pub(super) fn set_reconnects(&self) {
        self.reconnects.store(true, Ordering::Relaxed);
    }

    pub(super) fn reconnects(&self) -> bool {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Whether there is a connection, as far as is known.
    ///
    /// # Errors
    ///
    /// There was one, and what it ended with is the end.
    pub(super) fn is_ready(&self, operation: Operation) -> Result<bool, Error> {
        let over = match &self.lock().now {
            Some(now) => now.over.clone(),
            None => return Ok(false),
        };
        over.map_or(Ok(true), |error| Err(error.of(operation)))
    }

    pub(super) fn attributes(&self) -> Arc<Attributes> {
        self.lock().attributes.clone()
    }

    /// For an operation that begins: it hears of every attempt that fails from now on.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting::Since(self.failures.load(Ordering::Acquire))
    }

    /// Whether an attempt has failed after which those who waited were told, since an operation began.
    pub(super) fn has_failed_since(&self, begun: Waiting) -> bool {
        matches!(begun, Waiting::Since(since) if since < self.failures.load(Ordering::Acquire))
    }

    /// Waits until there is a connection.
    pub(super) fn poll_ready(
        &self,
        half: Half,
        operation: Operation,
        waiting: &mut Waiting,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Error>> {
        loop {
            self.wakers.store(half, cx.waker());
            let mut state = self.lock();
            state.waits[half as usize] = false;
            if let Some(over) = &state.over {
                let over = over.clone();
                let attributes = state.attributes.clone();
                drop(state);
                return Poll::Ready(Err(error_of(over, operation, &attributes)));
            }
            if state.now.is_some() {
                waiting.is_over();
                return Poll::Ready(Ok(()));
            }
            let failures = self.failures.load(Ordering::Acquire);
            if matches!(*waiting, Waiting::Since(since) if since < failures)
                && let Some(error) = state.last_failure.clone()
            {
                waiting.is_over();
                return Poll::Ready(Err(error));
            }
            if state.shut_down {
                let attributes = state.attributes.clone();
                drop(state);
                return Poll::Ready(Err(error_of(Over::Closed, operation, &attributes)));
            }
            match waiting {
                Waiting::Begins => *waiting = Waiting::Since(failures),
                Waiting::Since(_) => {}
                Waiting::Never => return Poll::Pending,
            }
            state.waits[half as usize] = true;
            let (id, attempt) = match &mut state.attempt {
                Some((id, attempt)) => match attempt.take() {
                    Some(attempt) => (*id, Some(attempt)),
                    // The other half polls it, and wakes us where something comes of it.
                    None => return Poll::Pending,
                },
                None => {
                    state.attempts += 1;
                    state.attempt = Some((state.attempts, None));
                    (state.attempts, None)
                }
            };
            drop(state);
            if !self.poll_attempt(id, attempt) {
                return Poll::Pending;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<S, R>> {
        // Nothing of the user's runs under the lock, so nothing can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What was waited for has come, or will not.
    fn is_over(&mut self) {
        if let Waiting::Since(_) = self {
            *self = Waiting::Begins;
        }
    }
}
