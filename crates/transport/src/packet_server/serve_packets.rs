use std::error::Error as _;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bowline_backend::accept_error::AcceptErrorKind;
use bowline_codec::MessageCodec;
use bowline_concurrency::{Backoff, SpawnError, TaskGroup, sleep, yield_now};

use super::handle::PacketServerHandle;
use super::handler::PacketHandler;
use super::limits::PacketLimits;
use super::link::Link;
use super::log;
use super::packets::Packets;
use super::peer::PacketPeer;
use super::state::{Entry, State};
use crate::datagram::{DatagramEndpoint, DatagramSocket, Descriptors, Packet, UnnamedSender};
use crate::error::Error;
use crate::server::{Caught, Panicked};

/// After so many packets without waiting, the task yields to its siblings.
const BURST: usize = 32;

/// After so many failures in a row, receiving pauses whatever they are.
const FAILURES: usize = 32;

/// Pauses while the system has no memory.
const EXHAUSTED: Backoff =
    Backoff::exponential(Duration::from_millis(100)).max(Duration::from_secs(1));

/// Receives packets and runs `handler` for each peer as a task of `group`: nothing but receiving,
/// limits, and what to do when a receive fails.
///
/// A packet of a peer that has no task begins one; those that come while it runs wait for it, in
/// their order, within the [limits](PacketLimits). The task has a cancel scope of its own, by which
/// [`drain`](PacketServerHandle::drain) ends those that are late. What fails or panics is counted.
///
/// Awaited, it returns once [`stop_accepting`](PacketServerHandle::stop_accepting) or `drain` was
/// called, or the group has ended; the tasks are the group's.
/// [`on_start`](PacketHandler::on_start) is not called.
///
/// # Errors
///
/// What broke the socket.
///
/// # Cancel safety
///
/// No more is received; handlers get what waits and then `None`.
pub fn serve_packets<S, C, H, E>(
    endpoint: DatagramEndpoint<S, C>,
    group: &TaskGroup<E>,
    handler: H,
) -> ServePackets<S, C, H, E>
where
    S: DatagramSocket,
    C: MessageCodec,
    H: PacketHandler<S, C>,
    E: Send + 'static,
{
    let local_addrs = endpoint.local_addr().cloned().into_iter().collect();
    ServePackets {
        state: Arc::new(State::new(PacketLimits::new(), local_addrs)),
        endpoint,
        handler,
        group: group.clone(),
    }
}

/// Receiving that has not begun; made by [`serve_packets`].
#[must_use = "nothing is received until this is awaited"]
pub struct ServePackets<S, C, H, E> {
    state: Arc<State>,
    endpoint: DatagramEndpoint<S, C>,
    handler: H,
    group: TaskGroup<E>,
}

impl<S, C, H, E> ServePackets<S, C, H, E> {
    /// Other limits than the default ones. To be called before [`handle`](ServePackets::handle).
    pub fn limits(mut self, limits: PacketLimits) -> Self {
        let local_addrs = self.state.local_addrs.clone();
        self.state = Arc::new(State::new(limits, local_addrs));
        self
    }

    /// What ends it, and knows how many peers there are.
    pub fn handle(&self) -> PacketServerHandle {
        PacketServerHandle::new(self.state.clone())
    }
}

impl<S, C, H, E> IntoFuture for ServePackets<S, C, H, E>
where
    S: DatagramSocket,
    C: MessageCodec<Sent: Sync, Received: Send> + 'static,
    H: PacketHandler<S, C> + 'static,
    E: Send + 'static,
{
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let service = Arc::new(Service {
            state: self.state,
            endpoint: Arc::new(self.endpoint),
            handler: self.handler,
        });
        let group = self.group;
        Box::pin(async move { service.receive_all(&group).await })
    }
}

impl<S, C, H, E> fmt::Debug for ServePackets<S, C, H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServePackets")
            .field("local", &self.state.local_addrs)
            .finish_non_exhaustive()
    }
}

/// What all peers of a server have in common.
pub(super) struct Service<S, C, H> {
    pub(super) state: Arc<State>,
    pub(super) endpoint: Arc<DatagramEndpoint<S, C>>,
    pub(super) handler: H,
}

impl<S, C, H> Service<S, C, H>
where
    S: DatagramSocket,
    C: MessageCodec<Sent: Sync, Received: Send> + 'static,
    H: PacketHandler<S, C> + 'static,
{
    /// Receives until the server is to stop, its group has ended or the socket is broken.
    pub(super) async fn receive_all<E: Send + 'static>(
        self: &Arc<Self>,
        group: &TaskGroup<E>,
    ) -> Result<(), Error> {
        let state = &self.state;
        let _receiving = state.serving.begin_taking();
        let _newcomers = Newcomers(state);
        let mut stopping = pin!(state.serving.stopping().wait());
        let (mut burst, mut failures) = (0, 0);
        loop {
            let mut waited = false;
            let mut receiving = pin!(self.endpoint.recv_packet(Descriptors::Kept));
            let received = poll_fn(|cx| {
                if stopping.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if let Poll::Ready(entry) = state.poll_newcomer(cx) {
                    return Poll::Ready(Some(Came::Newcomer(entry)));
                }
                let received = receiving.as_mut().poll(cx);
                waited |= received.is_pending();
                received.map(|received| Some(Came::Packet(received)))
            })
            .await;
            burst = if waited { 0 } else { burst + 1 };
            match received {
                None => return Ok(()),
                Some(Came::Newcomer(entry)) => {
                    if !self.begin(group, entry) {
                        return Ok(());
                    }
                }
                Some(Came::Packet(Ok(packet))) => {
                    failures = 0;
                    if let Some(entry) = state.admit(packet)
                        && !self.begin(group, entry)
                    {
                        return Ok(());
                    }
                }
                Some(Came::Packet(Err(error))) => {
                    failures += 1;
                    let pauses = match meaning(&error, self.endpoint.is_connected()) {
                        Failure::Skip => {
                            state.counters.skipped.one();
                            failures > FAILURES
                        }
                        Failure::Exhausted => {
                            state.counters.exhausted.one();
                            true
                        }
                        Failure::Fatal => {
                            log::receiving_failed(&error);
                            return Err(error);
                        }
                    };
                    let mut pause = pin!(sleep(EXHAUSTED.bound(failures)));
                    poll_fn(|cx| match stopping.as_mut().poll(cx) {
                        Poll::Pending if pauses => pause.as_mut().poll(cx),
                        _ => Poll::Ready(()),
                    })
                    .await;
                }
            }
            if burst >= BURST {
                burst = 0;
                yield_now().await;
            }
        }
    }

    /// Begins the task of a peer. False once the group has ended.
    fn begin<E: Send + 'static>(self: &Arc<Self>, group: &TaskGroup<E>, mut entry: Entry) -> bool {
        let service = self.clone();
        let scope = entry.take_scope();
        let spawned = group.named("peer").try_spawn(async move {
            let _ = scope.run(service.converse(&mut entry)).await; // cancelled or not, the entry goes
            Ok(())
        });
        !matches!(spawned, Err(SpawnError::Closed(_)))
    }

    /// Runs the handler for as long as packets are left that began none.
    async fn converse(&self, entry: &mut Entry) {
        loop {
            let link = entry.link().clone();
            let mut run = Run {
                returned: false,
                number: link.begin_run(),
                link: &link,
                state: &self.state,
            };
            let peer = PacketPeer::new(&self.endpoint, link.clone());
            let mut packets = Packets::new(peer.clone(), self.state.clone(), run.number);
            // It may panic before it gives its future: it is called where that is caught.
            let handle = async { self.handler.handle(&peer, &mut packets).await };
            let handled = Caught::new(handle).await;
            run.returned = true;
            drop(run);
            let counters = &self.state.counters;
            match handled {
                Ok(Ok(())) => counters.completed.one(),
                Ok(Err(error)) if link.take_undecoded() => {
                    counters.undecoded.one();
                    log::undecoded(&link.address, &error);
                }
                Ok(Err(error)) => {
                    counters.failed.one();
                    if let Some(left_out) = self.state.failures.ask() {
                        log::handler_failed(&link.address, &error, left_out);
                    }
                }
                Err(Panicked(message)) => {
                    counters.panicked.one();
                    if let Some(left_out) = self.state.failures.ask() {
                        log::handler_panicked(&link.address, &message, left_out);
                    }
                }
            }
            if entry.retire() {
                return;
            }
            yield_now().await; // other peers have packets too
        }
    }
}

/// What the task that receives has waited for.
enum Came {
    Packet(Result<Packet, Error>),
    /// There is a place for one who came before.
    Newcomer(Entry),
}

/// Newcomers that wait, for the time that somebody receives.
struct Newcomers<'a>(&'a State);

impl Drop for Newcomers<'_> {
    fn drop(&mut self) {
        self.0.refuse_newcomers();
    }
}

/// One run of the handler; dropped, it is over.
struct Run<'a> {
    /// It was not cut.
    returned: bool,
    number: u64,
    link: &'a Link,
    state: &'a State,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let untaken = self.link.end_run();
        self.state.counters.unhandled.add(untaken);
        if !self.returned {
            self.state.counters.cancelled.one();
        }
    }
}

/// What a failed receive means to the server.
enum Failure {
    Skip,
    Exhausted,
    Fatal,
}

fn meaning(error: &Error, connected: bool) -> Failure {
    let Some(source) = error.source() else {
        return Failure::Fatal;
    };
    if let Some(unnamed) = source.downcast_ref::<UnnamedSender>() {
        log::unnamed(unnamed);
        return Failure::Skip;
    }
    match source.downcast_ref::<io::Error>().map(AcceptErrorKind::of) {
        // Of a connected socket it is the peer that failed, and there is no other.
        Some(AcceptErrorKind::Skip) if !connected => Failure::Skip,
        Some(AcceptErrorKind::Exhausted) => Failure::Exhausted,
        _ => Failure::Fatal,
    }
}
