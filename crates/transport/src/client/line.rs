//! The connection of a client: made when it is needed, by whoever needs it.

mod connection;
mod ending;
mod flushing;
mod receiving;
mod sending;
mod untold;

pub(super) use flushing::Queued;
pub(super) use receiving::Source;
pub(super) use sending::{NotQueued, QueueBy, SendBy};

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bowline_concurrency::{apart, now};

use self::connection::Connection;
use self::ending::{Closing, error_of, given_up};
use self::flushing::Gone;
use self::untold::Untold;
use super::board::ClientState;
use super::dialling::{Dial, Dialling};
use crate::attribute::Attributes;
use crate::dyn_transport::DynTransport;
use crate::ended::Ended;
use crate::error::{Error, Operation};
use crate::half_wakers::{Half, HalfWakers};
use crate::transport::Transport;

/// The future that makes a connection.
type Attempt<S, R> =
    Pin<Box<dyn Future<Output = Result<DynTransport<S, R>, Error>> + Send + 'static>>;

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
///    once, before what came after it: by a `recv`, or by the call whose reply it cost.
/// 5. A frame is queued on one connection, and what is left of it there is never queued again.
///    Whoever queued a frame that went with its connection is told so by his next flush (`gone`).
/// 6. An attempt is under way only while somebody waits (`users`); the last one to leave drops it.
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

/// Since when somebody waits for a connection: after how many failures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting(Option<u64>);

/// Somebody who may wait for a connection.
pub(super) struct User<'a, S, R>(&'a Line<S, R>)
where
    S: Send + Sync + 'static,
    R: Send + 'static;

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

    /// Whether there is nothing to do but to make a connection, which nobody does yet.
    pub(super) fn would_dial(&self) -> bool {
        let state = self.lock();
        let nothing = state.now.is_none() && state.old.is_none() && state.attempt.is_none();
        nothing && state.untold.is_empty() && state.over.is_none() && !state.shut_down
    }

    pub(super) fn attributes(&self) -> Arc<Attributes> {
        self.lock().attributes.clone()
    }

    /// For an operation that begins: it hears of every attempt that fails from now on.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting(Some(self.failures.load(Ordering::Acquire)))
    }

    pub(super) fn enter(&self) -> User<'_, S, R> {
        self.users.fetch_add(1, Ordering::SeqCst);
        User(self)
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
            if let Some(over) = &state.over {
                let over = over.clone();
                let attributes = state.attributes.clone();
                drop(state);
                return Poll::Ready(Err(error_of(over, operation, &attributes)));
            }
            if state.now.is_some() {
                waiting.0 = None;
                return Poll::Ready(Ok(()));
            }
            let failures = self.failures.load(Ordering::Acquire);
            if waiting.0.is_some_and(|since| since < failures)
                && let Some(error) = state.last_failure.clone()
            {
                waiting.0 = None;
                return Poll::Ready(Err(error));
            }
            if state.shut_down {
                let attributes = state.attributes.clone();
                drop(state);
                return Poll::Ready(Err(error_of(Over::Closed, operation, &attributes)));
            }
            waiting.0.get_or_insert(failures);
            let (id, attempt) = match &mut state.attempt {
                Some((id, attempt)) => match attempt.take() {
                    Some(attempt) => (*id, attempt),
                    // The other half polls it, and wakes us where something comes of it.
                    None => return Poll::Pending,
                },
                None => {
                    state.attempts += 1;
                    let id = state.attempts;
                    state.attempt = Some((id, None));
                    let attempt: Attempt<S, R> = Box::pin(apart(self.dialling.clone().run()));
                    (id, attempt)
                }
            };
            drop(state);
            if !self.poll_attempt(id, attempt) {
                return Poll::Pending;
            }
        }
    }

    /// Polls the attempt that was taken out; whether anything came of it.
    fn poll_attempt(&self, id: u64, mut attempt: Attempt<S, R>) -> bool {
        let unwinding = Unwinding { line: self, id };
        let polled = attempt.as_mut().poll(&mut Context::from_waker(&self.waker));
        mem::forget(unwinding);
        let result = match polled {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let mut state = self.lock();
                if let Some((current, place)) = &mut state.attempt
                    && *current == id
                {
                    *place = Some(attempt);
                    return false;
                }
                drop(state);
                return true;
            }
        };
        drop(attempt);
        match result {
            Ok(transport) => self.connected(id, transport),
            Err(error) => self.failed(id, error),
        }
        self.waker.wake_by_ref();
        true
    }

    fn connected(&self, id: u64, transport: DynTransport<S, R>) {
        let attributes = Arc::new(Attributes::of(&transport));
        let since = self.reconnects().then(now);
        let mut made = Some(Connection::new(transport.into_split(), since));
        let mut state = self.lock();
        let (mut former, mut unwanted) = (None, None);
        if state.attempt.as_ref().is_some_and(|(at, _)| *at == id) {
            state.attempt = None;
            state.generation += 1;
            let generation = state.generation;
            if let Some(made) = &mut made {
                made.generation = generation;
                if state.sender_dropped {
                    unwanted = made.sender.take();
                    state.shut_down = true;
                }
            }
            former = Some(mem::replace(&mut state.attributes, attributes));
            state.now = made.take();
            self.dialling.board.note(ClientState::Ready);
        }
        drop(state);
        self.dialling.board.tell();
        drop((made, former, unwanted));
    }

    fn failed(&self, id: u64, error: Error) {
        let mut state = self.lock();
        if state.attempt.as_ref().is_none_or(|(at, _)| *at != id) {
            return;
        }
        state.attempt = None;
        let gives_up = self.reconnects();
        let error = match gives_up {
            true => given_up(error, self.dialling.tried()),
            false => error,
        };
        if gives_up {
            state.over = Some(Over::GivenUp(error.clone()));
        }
        let former = state.last_failure.replace(error);
        self.failures.fetch_add(1, Ordering::Release);
        self.dialling.board.note(match gives_up {
            true => ClientState::Closed,
            false => ClientState::Idle,
        });
        drop(state);
        self.dialling.board.tell();
        drop(former);
    }

    /// Drops an attempt that nobody waits for any more.
    fn abandon(&self) {
        let mut state = self.lock();
        if self.users.load(Ordering::SeqCst) > 0 {
            return;
        }
        let Some(abandoned) = state.attempt.take() else {
            return;
        };
        self.dialling.board.note(ClientState::Idle);
        drop(state);
        self.dialling.board.tell();
        drop(abandoned);
    }

    fn lock(&self) -> MutexGuard<'_, State<S, R>> {
        // Nothing of the user's runs under the lock, so nothing can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, R> Drop for User<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        if self.0.users.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.abandon();
        }
    }
}

/// Clears the place of an attempt that panicked; the next who comes begins another one.
struct Unwinding<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    line: &'a Line<S, R>,
    id: u64,
}

impl<S, R> Drop for Unwinding<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        let mut state = self.line.lock();
        if state.attempt.as_ref().is_some_and(|(at, _)| *at == self.id) {
            state.attempt = None;
            self.line.dialling.board.note(ClientState::Idle);
        }
        drop(state);
        self.line.dialling.board.tell();
        self.line.waker.wake_by_ref();
    }
}
