use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::accept_error::AcceptErrorKind;
use bowline_backend::entropy::random_u64;
use bowline_backend::stream::Address;
use bowline_concurrency::{Backoff, Outcome, SpawnError, TaskGroup, sleep, yield_now};

use super::handle::ServerHandle;
use super::incoming::Incoming;
use super::limits::{AtLimit, ServerLimits};
use super::log;
use super::state::{Entry, Refusal, State};
use crate::error::{Error, Operation};
use crate::listener::Listener;
use crate::seldom::Seldom;

/// After so many accepts without waiting, the task yields to its siblings.
const BURST: usize = 32;

/// Pauses while the system has no descriptors or memory.
const EXHAUSTED: Backoff =
    Backoff::exponential(Duration::from_millis(100)).max(Duration::from_secs(1));

/// Accepts connections and runs a future for each as a task of `group`: nothing but accepting,
/// limits, and what to do when an accept fails.
///
/// The error of one connection is skipped; where the system has no descriptors or memory, accepting
/// pauses for 100 ms, doubled up to 1 s, with jitter; any other error ends it. All are counted.
/// The task of each connection has a cancel scope of its own, by which
/// [`drain`](ServerHandle::drain) ends those that are late. The future of `f` is given what the
/// listener hands out, so a TLS handshake is its first thing to await.
///
/// Awaited, it returns once [`stop_accepting`](ServerHandle::stop_accepting) or `drain` was called,
/// or the group has ended; the connections are the group's.
///
/// # Errors
///
/// What broke the listener.
///
/// # Cancel safety
///
/// The listener is closed; connections that were taken go on.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::stream::ByteStreamExt;
/// use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, task_group};
/// use bowline_transport::{Listener, Listeners, TcpConnector, serve_streams};
/// use std::num::NonZeroUsize;
///
/// # let backend = bowline_backend::Backend::Smol;
/// let served = task_group(|group: TaskGroup<AnyError>| async move {
///     let listeners = Listeners::builder(0).host("127.0.0.1").bind().await?;
///     let address = listeners.local_addrs()?[0].as_inet().unwrap();
///     let serving = serve_streams(listeners, &group, |mut stream, _peer| async move {
///         stream.write_all(b"hello").await?;
///         stream.shutdown().await?;
///         Ok(())
///     });
///     let handle = serving.handle();
///     group.spawn(async move {
///         let mut stream = TcpConnector::new(address).connect().await?;
///         let (mut hello, most) = (bytes::BytesMut::new(), NonZeroUsize::new(1024).unwrap());
///         while stream.read_into(&mut hello, most).await? > 0 {}
///         assert_eq!(hello, "hello");
///         handle.stop_accepting();
///         Ok(())
///     });
///     serving.await?;
///     Ok(())
/// });
/// let served: Result<(), GroupError<AnyError>> = Root::new().backend(backend).block_on(served);
/// served.unwrap();
/// # }
/// ```
pub fn serve_streams<L, E, F, Fut>(listener: L, group: &TaskGroup<E>, f: F) -> ServeStreams<L, E, F>
where
    L: Listener<Connection: Incoming>,
    E: Send + 'static,
    F: FnMut(L::Connection, Address) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
{
    let local_addrs = listener.local_addrs().unwrap_or_default();
    ServeStreams {
        state: Arc::new(State::new(ServerLimits::new(), local_addrs)),
        listener,
        group: group.clone(),
        f,
    }
}

/// Accepting that has not begun; made by [`serve_streams`].
#[must_use = "nothing is accepted until this is awaited"]
pub struct ServeStreams<L, E, F> {
    state: Arc<State>,
    listener: L,
    group: TaskGroup<E>,
    f: F,
}

impl<L, E, F> ServeStreams<L, E, F> {
    /// Other limits than the default ones. Those of handshakes and idle peers are the future's own
    /// matter here. To be called before [`handle`](ServeStreams::handle).
    pub fn limits(mut self, limits: ServerLimits) -> Self {
        let local_addrs = self.state.local_addrs.clone();
        self.state = Arc::new(State::new(limits, local_addrs));
        self
    }

    /// What ends it, and knows how many connections there are.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.state.clone())
    }
}

impl<L, E, F, Fut> IntoFuture for ServeStreams<L, E, F>
where
    L: Listener<Connection: Incoming> + 'static,
    E: Send + 'static,
    F: FnMut(L::Connection, Address) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
{
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let ServeStreams {
            state,
            listener,
            group,
            mut f,
        } = self;
        Box::pin(async move {
            let begin = |connection: L::Connection, mut entry: Entry| {
                entry.link().begin_conversation();
                let body = f(connection, entry.link().address.clone());
                let scope = entry.take_scope();
                spawn(&group, async move {
                    match scope.run(body).await {
                        Outcome::Done(result) => {
                            entry.count(|counters| match result {
                                Ok(()) => &counters.completed,
                                Err(_) => &counters.failed,
                            });
                            entry.note_returned();
                            result
                        }
                        Outcome::Cancelled(_) => Ok(()),
                    }
                })
            };
            accept_all(listener, &state, begin).await
        })
    }
}

impl<L, E, F> fmt::Debug for ServeStreams<L, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeStreams")
            .field("local", &self.state.local_addrs)
            .finish_non_exhaustive()
    }
}

/// What became of the task of a connection.
pub(super) enum Spawned {
    Running,
    /// The group has as many children as it may; the connection is gone.
    Refused,
    GroupEnded,
}

pub(super) fn spawn<E: Send + 'static>(
    group: &TaskGroup<E>,
    task: impl Future<Output = Result<(), E>> + Send + 'static,
) -> Spawned {
    match group.named("connection").try_spawn(task) {
        Ok(_) => Spawned::Running,
        Err(SpawnError::Closed(_)) => Spawned::GroupEnded,
        Err(_) => Spawned::Refused,
    }
}

/// Accepts until the server is to stop, its group has ended or the listener is broken.
pub(super) async fn accept_all<L>(
    listener: L,
    state: &Arc<State>,
    mut begin: impl FnMut(L::Connection, Entry) -> Spawned + Send,
) -> Result<(), Error>
where
    L: Listener<Connection: Incoming>,
{
    let _accepting = state.serving.begin_taking();
    let mut listener = listener; // closed before the server counts as stopped
    let mut stopping = pin!(state.serving.stopping().wait());
    let mut exhausted = Exhausted::new();
    let mut full = Full::new();
    let mut burst = 0;
    loop {
        let mut waited = false;
        let accepted = poll_fn(|cx| {
            if stopping.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            let room = match state.limits.at_limit {
                AtLimit::Wait => full.noted(state, cx),
                AtLimit::Refuse => Poll::Ready(()),
            };
            if room.is_ready()
                && let Poll::Ready(accepted) = listener.poll_accept(cx)
            {
                return Poll::Ready(Some(accepted));
            }
            waited = true;
            Poll::Pending
        })
        .await;
        burst = if waited { 0 } else { burst + 1 };
        match accepted {
            None => return Ok(()),
            Some(Ok((connection, peer))) => {
                exhausted.times = 0;
                if let Spawned::GroupEnded = take(state, connection, peer, &mut begin) {
                    return Ok(());
                }
            }
            Some(Err(error)) => match AcceptErrorKind::of(&error) {
                AcceptErrorKind::Skip => state.counters.accept_skipped.one(),
                AcceptErrorKind::Exhausted => {
                    state.counters.accept_exhausted.one();
                    let mut pause = pin!(sleep(exhausted.pause(&error)));
                    poll_fn(|cx| match stopping.as_mut().poll(cx) {
                        Poll::Ready(()) => Poll::Ready(()),
                        Poll::Pending => pause.as_mut().poll(cx),
                    })
                    .await;
                    if state.serving.stopping().is_set() {
                        return Ok(());
                    }
                }
                _ => {
                    log::accept_failed(&error);
                    return Err(Error::from_io(Operation::Accept, error));
                }
            },
        }
        if burst >= BURST {
            burst = 0;
            yield_now().await;
        }
    }
}

/// Gives a connection a place and a task, or resets it.
fn take<C: Incoming>(
    state: &Arc<State>,
    connection: C,
    peer: Address,
    begin: &mut impl FnMut(C, Entry) -> Spawned,
) -> Spawned {
    let refusal = match state.admit(peer) {
        Ok(entry) => return begin(connection, entry),
        Err(refusal) => refusal,
    };
    match refusal {
        Refusal::PeerFull => state.counters.refused_per_peer.one(),
        Refusal::Full | Refusal::Stopped => state.counters.refused.one(),
    }
    connection.refuse();
    Spawned::Refused
}

/// Whether accepting has stopped for want of places.
struct Full {
    stopped: bool,
    said: Seldom,
}

impl Full {
    fn new() -> Full {
        Full {
            stopped: false,
            said: Seldom::new(1),
        }
    }

    /// Ready while there is a place; notes when there is none any more.
    fn noted(&mut self, state: &State, cx: &mut Context<'_>) -> Poll<()> {
        let room = state.poll_room(cx);
        if room.is_pending() && !self.stopped {
            state.counters.accept_full.one();
            if self.said.ask().is_some() {
                log::accept_full(state.limits.max_connections);
            }
        }
        self.stopped = room.is_pending();
        room
    }
}

/// How often in a row the system had nothing left.
struct Exhausted {
    times: usize,
    said: Seldom,
}

impl Exhausted {
    fn new() -> Exhausted {
        Exhausted {
            times: 0,
            said: Seldom::new(1),
        }
    }

    /// How long to pause after one more failure: from half of the bound to all of it.
    fn pause(&mut self, error: &io::Error) -> Duration {
        self.times += 1;
        if self.said.ask().is_some() {
            log::accept_exhausted(error);
        }
        let half = EXHAUSTED.bound(self.times) / 2;
        let most = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(random_u64() % (most + 1))
    }
}
