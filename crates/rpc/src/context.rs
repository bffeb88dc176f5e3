//! What a handler knows about the call it runs.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_backend::stream::Address;
use bowline_backend::time::{self, Instant};
use bowline_concurrency::sync::Event;
use bowline_concurrency::{CancelHandle, Tree, timeout_at};

use crate::executor::{CallRef, JobFacts, Place, States, Threads};
use crate::proto::Extensions;
use crate::stream::HandlerStreams;
use crate::{Code, DynBroker, Incoming, brokers};

/// What a handler knows about the call it runs; a cheap clone.
///
/// A handler gets one by taking it as its first parameter. Run locally, without a broker, it is
/// the empty context: no deadline, never cancelled, no caller.
#[derive(Clone, Default)]
pub struct Context {
    deadline: Option<Instant>,
    cancel: Cancel,
    caller: Option<Peer>,
    call: u64,
    hops: u8,
    states: States,
    extensions: Extensions,
    /// 0 to 7, higher first.
    priority: u8,
    /// Nobody waits for an answer.
    notification: bool,
    /// The number of the broker that runs it.
    origin: u64,
    streams: Option<Arc<HandlerStreams>>,
}

/// How a handler learns that its call was given up.
#[derive(Clone, Default)]
pub(crate) enum Cancel {
    /// Not at all: a local run.
    #[default]
    Never,
    /// Its scope is cancelled, so it is dropped at its next suspension.
    Scope(CancelHandle),
    /// It runs to its end and may look at a flag.
    Flag(Arc<Flag>),
}

/// Why a handler is told to stop where its caller cannot be reached any more.
pub(crate) const DISCONNECTED: &str = "the connection to the caller was lost";

/// Why a handler is told to stop by the end of its executor, and by that of its broker's drain.
pub(crate) const SHUT_DOWN: &str = "the executor shuts down";
pub(crate) const DRAINED: &str = "the drain is over";

/// What a handler that is not dropped sees of a cancel.
#[derive(Default)]
pub(crate) struct Flag {
    requested: Event,
    disconnected: Event,
    /// Whoever waits: nothing is to go on.
    over: Event,
    thread: Mutex<OnThread>,
}

/// A function that runs on a thread, whoever waits for it.
#[derive(Default)]
enum OnThread {
    #[default]
    No,
    Yes,
    /// Nobody waits any more, so it has the place of its job.
    WithPlace(#[expect(dead_code, reason = "held for its drop")] Place),
}

impl Flag {
    fn thread(&self) -> MutexGuard<'_, OnThread> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job is over; a function that still runs gives `place` up at its end.
    pub(crate) fn leave_to_thread(&self, mut place: Place) {
        let mut thread = self.thread();
        let unused = match *thread {
            OnThread::Yes => {
                place.goes_on();
                *thread = OnThread::WithPlace(place);
                None
            }
            OnThread::No | OnThread::WithPlace(_) => Some(place),
        };
        drop(thread);
        drop(unused);
    }
}

/// A function of a handler on its thread, or on its way there; ends when it is dropped.
pub(crate) struct ThreadStay(Cancel);

impl Drop for ThreadStay {
    fn drop(&mut self) {
        if let Cancel::Flag(flag) = &self.0 {
            let was = std::mem::take(&mut *flag.thread());
            drop(was);
        }
    }
}

impl Cancel {
    pub(crate) fn request(&self, reason: &'static str) {
        match self {
            Cancel::Never => {}
            Cancel::Scope(scope) => {
                scope.cancel(reason);
            }
            Cancel::Flag(flag) => {
                match reason {
                    DISCONNECTED => flag.disconnected.set(),
                    SHUT_DOWN | DRAINED => flag.over.set(),
                    _ => {}
                }
                flag.requested.set();
            }
        }
    }

    /// Completes when a handler that is not dropped is told that nobody waits.
    #[cfg(unix)]
    pub(crate) async fn told(&self) {
        match self {
            Cancel::Flag(flag) => flag.requested.wait().await,
            Cancel::Scope(_) | Cancel::Never => std::future::pending().await,
        }
    }

    /// What runs in a handler that is dropped when it is cancelled.
    pub(crate) fn tree(&self) -> Option<Tree> {
        match self {
            Cancel::Scope(scope) => Some(scope.tree()),
            Cancel::Flag(_) | Cancel::Never => None,
        }
    }

    pub(crate) fn requested(&self) -> bool {
        match self {
            Cancel::Never => false,
            Cancel::Scope(scope) => scope.cancel_called(),
            Cancel::Flag(flag) => flag.requested.is_set(),
        }
    }
}

impl Context {
    /// The empty context of a local run.
    pub fn empty() -> Self {
        Self::default()
    }

    pub(crate) fn new(facts: JobFacts, cancel: Cancel, states: States, origin: u64) -> Self {
        Self {
            deadline: (facts.deadline != Instant::NEVER).then_some(facts.deadline),
            cancel,
            caller: facts.caller,
            call: facts.call.number(),
            hops: facts.hops,
            priority: facts.priority,
            notification: matches!(facts.call, CallRef::Notification(_)),
            states,
            extensions: facts.extensions,
            origin,
            streams: facts.streams,
        }
    }

    /// Of the call: 0 to 7, higher first.
    #[cfg(unix)]
    pub(crate) fn priority(&self) -> u8 {
        self.priority
    }

    /// The handler runs for another process: the call is `call` there, and of `caller`.
    #[cfg(unix)]
    pub(crate) fn is_of(&mut self, caller: Option<Peer>, call: u64) {
        (self.caller, self.call) = (caller, call);
    }

    /// Whether nobody waits for an answer.
    #[cfg(unix)]
    pub(crate) fn is_notification(&self) -> bool {
        self.notification
    }

    /// What came with the call besides its arguments.
    #[cfg(unix)]
    pub(crate) fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether the handler is told of a cancel, and not dropped.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self.cancel, Cancel::Flag(_))
    }

    /// The deadline that calls of the handler have, if no scope says it.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.is_told())
    }

    /// Completes when a handler that is told of a cancel has no time left, whatever it is to finish: its deadline
    /// passed, or its broker's drain or its executor is over. Why that is.
    pub(crate) async fn out_of_time(&self) -> Code {
        let Cancel::Flag(flag) = &self.cancel else {
            return std::future::pending().await;
        };
        let over = flag.over.wait();
        let Some(deadline) = self.deadline else {
            over.await;
            return Code::Cancelled;
        };
        match timeout_at(deadline, over).await {
            Ok(()) => Code::Cancelled,
            Err(_) => Code::DeadlineExceeded,
        }
    }

    /// Those of a call that has any.
    pub(crate) fn streams(&self) -> Option<&Arc<HandlerStreams>> {
        self.streams.as_ref()
    }

    /// The items of the caller, as the handler takes them as its last parameter. They are given once:
    /// after that, and where the caller sends none, there are none.
    pub fn incoming<T>(&self) -> Incoming<T> {
        let (raw, codec) = match &self.streams {
            Some(streams) => streams.incoming(),
            None => (None, crate::Codec::Postcard),
        };
        Incoming::new(raw, codec)
    }

    /// The handler's function is about to go to a thread.
    pub(crate) fn enter_thread(&self) -> ThreadStay {
        if let Cancel::Flag(flag) = &self.cancel {
            *flag.thread() = OnThread::Yes;
        }
        ThreadStay(self.cancel.clone())
    }

    /// The threads for blocking functions, if they are not the backend's.
    pub(crate) fn threads(&self) -> Option<Arc<Threads>> {
        self.states.find()
    }

    /// When the caller stops waiting; `None` if it waits as long as it takes.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long the caller still waits; zero once the deadline passed.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(time::now()))
    }

    /// Whether nobody waits any more: the deadline passed, the caller gave up, its connection is gone,
    /// or the broker has ended.
    ///
    /// For blocking handlers and those declared `no_cancel`, which are not dropped: an async
    /// handler that is cancelled is dropped at its next suspension.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.requested()
    }

    /// Completes when the call is cancelled. A handler that is dropped sees it in its last poll;
    /// one declared `no_cancel` goes on. Never completes in a local run.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub async fn cancelled(&self) {
        match &self.cancel {
            Cancel::Scope(_) => {
                bowline_concurrency::cancelled().await;
            }
            Cancel::Flag(flag) => flag.requested.wait().await,
            Cancel::Never => std::future::pending().await,
        }
    }

    /// Completes when the connection to the caller is lost, as [`cancelled`](Self::cancelled) does
    /// then. Never completes where the caller is in this process.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub async fn disconnected(&self) {
        match &self.cancel {
            Cancel::Scope(_) => {
                if bowline_concurrency::cancelled().await.reason() != DISCONNECTED {
                    std::future::pending().await
                }
            }
            Cancel::Flag(flag) => flag.disconnected.wait().await,
            Cancel::Never => std::future::pending().await,
        }
    }

    /// Who calls; `None` in a local run.
    pub fn caller(&self) -> Option<&Peer> {
        self.caller.as_ref()
    }

    /// The number of the call, unique among the calls of its caller's connection; 0 in a local
    /// run.
    pub fn call_id(&self) -> u64 {
        self.call
    }

    /// How many calls the call is nested in, 0 to 8: 0 if no handler made it.
    pub fn hops(&self) -> u8 {
        self.hops
    }

    /// The trace that the call belongs to, as its caller said it: a `traceparent` of W3C Trace Context, which
    /// is not checked. Calls that the handler makes have it too.
    pub fn traceparent(&self) -> Option<&str> {
        self.extensions.traceparent()
    }

    /// What the caller sent under `key` besides the arguments.
    pub fn metadata(&self, key: &str) -> Option<&[u8]> {
        self.extensions.metadata(key)
    }

    /// The broker that runs the handler, for calls of its own: they count as nested in this one, and
    /// wait no longer than it. `None` in a local run, and once the broker has ended.
    ///
    /// Code that is not handed the context finds it by [`current_broker`](crate::current_broker).
    pub fn broker(&self) -> Option<DynBroker> {
        brokers::find(self.origin)
    }

    /// The value of this type that the executor has for its handlers; `None` if it has none, and in
    /// a local run.
    pub fn state<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.states.find()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("call", &self.call)
            .field("deadline", &self.deadline)
            .field("cancelled", &self.is_cancelled())
            .field("caller", &self.caller)
            .finish()
    }
}

/// Who is at the other end of a call; a cheap clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer(Arc<PeerFacts>);

#[derive(Debug, PartialEq, Eq)]
struct PeerFacts {
    address: Option<Address>,
    instance: [u8; 16],
    principal: Arc<str>,
}

impl Peer {
    pub(crate) fn new(address: Option<Address>, instance: [u8; 16], principal: Arc<str>) -> Self {
        Self(Arc::new(PeerFacts {
            address,
            instance,
            principal,
        }))
    }

    /// Where it is; `None` within one process.
    pub fn address(&self) -> Option<&Address> {
        self.0.address.as_ref()
    }

    /// Its address as text; empty if it has none.
    pub(crate) fn place(&self) -> String {
        self.address().map(Address::to_string).unwrap_or_default()
    }

    /// Whom it has proved to be: the name of the key it proved itself by, which is empty if it was given
    /// none; the subject of its certificate, as `cert:CN=shop`; or its user, as `uid:1000`. Empty if it
    /// proved nothing.
    pub fn principal(&self) -> &str {
        &self.0.principal
    }

    /// The id of this start of its broker: another one after it restarted.
    pub fn instance(&self) -> [u8; 16] {
        self.0.instance
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => write!(f, "Peer({address})"),
            None => f.write_str("Peer(this process)"),
        }
    }
}
