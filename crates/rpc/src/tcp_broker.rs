//! A broker over TCP: any number of listening sockets and connections, either side of which
//! calls, executes or both.

mod builder;
mod dial;
mod endpoint;
mod link;
mod listen;
mod prefix;
mod routes;
mod statistics;

pub use builder::TcpBrokerBuilder;
pub use endpoint::Endpoint;
pub use statistics::{AcceptErrors, BrokerStatistics, Strangers};

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_concurrency::{CancelHandle, TaskGroup, timeout, timeout_at};
use bytes::Bytes;

use crate::broker::{UnknownMethod, encode_arguments, typed};
use crate::executor::{Attachment, Executor, NullExecutor};
use crate::proto::{CodecId, Config, Open, Target};
use crate::{
    Broker, Call, CallError, CallOptions, Certainty, Code, Limits, MethodName, OutCall, Registry,
    RegistryError, Reply,
};
use routes::{FindPeer, Key, Routes};
use statistics::Counters;

/// How long connections may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// Calls go to peers over TCP, and calls of peers to the broker's executor.
///
/// Either side of a connection calls, executes or both; who offers which methods is all that
/// distinguishes a server from a client. A call goes to the peers that offer its method in turn.
/// While none does, it waits until one does or its deadline ends it with
/// [`NoPeer`](Code::NoPeer); with `.fail_fast()` it ends at once with
/// [`UnknownMethod`](Code::UnknownMethod), or with `NoPeer` while there is no peer at all. Once the
/// broker is closed it ends with [`Cancelled`](Code::Cancelled). A connection that is lost ends every call in flight on
/// it at once, saying whether it may have run; connections this side made are made again.
///
/// A handle, made by [`run`](TcpBrokerBuilder::run) or [`start`](TcpBrokerBuilder::start); clones
/// are the same broker.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{Caller, Error, Registry, TcpBroker, executor::AsyncExecutor};
///
/// let registry = Registry::new("example");
/// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
/// let server = TcpBroker::builder(AsyncExecutor::new(registry, 4)).listen("127.0.0.1:0");
/// let sum = Backend::Tokio.block_on(server.run(async |server| -> Result<i64, Error> {
///     let client = TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
///     client.run(async |c| Ok(c.call_named::<i64>("add", (2, 3)).await?)).await
/// }))?;
/// assert_eq!(sum, 5);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct TcpBroker {
    shared: Arc<Shared>,
}

/// What all tasks of one broker share.
struct Shared {
    registry: Registry,
    executor: Arc<dyn Executor>,
    attachment: Arc<Attachment>,
    config: Arc<Config>,
    limits: Limits,
    routes: Arc<Routes>,
    counters: Counters,
    /// The scopes of the tasks that accept.
    accepting: Vec<CancelHandle>,
    group: TaskGroup<Infallible>,
    local: Vec<SocketAddr>,
}

impl TcpBroker {
    /// A broker that runs the handlers of `executor`.
    pub fn builder(executor: impl Executor) -> TcpBrokerBuilder {
        TcpBrokerBuilder::new(Arc::new(executor))
    }

    /// A broker that only calls.
    pub fn caller() -> TcpBrokerBuilder {
        TcpBrokerBuilder::new(Arc::new(NullExecutor::new(Registry::new(""))))
    }

    /// The addresses it listens at, in the order they were given.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.shared.local
    }

    /// How many connections are up now.
    pub fn connections(&self) -> usize {
        self.shared.routes.connections().1
    }

    /// What it counted since it started, and what is open now.
    pub fn statistics(&self) -> BrokerStatistics {
        let connections = self.shared.routes.connections();
        self.shared.counters.snapshot(connections)
    }

    /// Sends an encoded call to a peer that offers its method.
    async fn call_peer(
        &self,
        key: Key<'_>,
        body: Bytes,
        options: &CallOptions,
    ) -> Result<Reply, CallError> {
        let routes = &self.shared.routes;
        let (mailbox, method) = match routes.pick(key) {
            Some(peer) => peer,
            None if options.unknown == UnknownMethod::FailFast => {
                return Err(CallError::new(routes.why_nobody(), Certainty::NeverSent)
                    .with_message(key.name()));
            }
            None => {
                let found = FindPeer::new(routes, key);
                let found = match options.deadline {
                    Instant::NEVER => found.await,
                    deadline => match timeout_at(deadline, found).await {
                        Ok(found) => found,
                        Err(_) => {
                            return Err(CallError::new(Code::NoPeer, Certainty::NeverSent)
                                .with_message(key.name()));
                        }
                    },
                };
                found.map_err(|code| {
                    CallError::new(code, Certainty::NeverSent).with_message(key.name())
                })?
            }
        };
        let bytes = body.len();
        let open = Open::new(Target::Method(method), CodecId(options.codec.id()), body)
            .deadline(options.deadline);
        let call = mailbox.open(open, bytes)?;
        self.shared.counters.calls_sent.add(1);
        call.await.map(Reply::new)
    }

    /// Takes no new calls, waits for those in flight, cancels the rest, says goodbye to every peer
    /// and ends every task.
    async fn shut_down(&self) {
        for accepting in &self.shared.accepting {
            accepting.cancel("the broker takes no new connections");
        }
        let (routes, limits) = (&self.shared.routes, &self.shared.limits);
        routes.drain(limits.drain);
        if timeout(limits.drain, routes.fewer_than(1)).await.is_err() {
            routes.cancel_calls();
            if timeout(limits.cancel_grace, routes.fewer_than(1))
                .await
                .is_err()
            {
                routes.close("");
                // A peer that does not end its side in time is left.
                let _ = timeout(FAREWELL, routes.fewer_than(1)).await;
            }
        }
        self.close();
    }
}

impl Broker for TcpBroker {
    async fn submit(&self, call: OutCall) -> Result<Reply, CallError> {
        self.call_peer(Key::Name(&call.method), call.body, &call.options)
            .await
    }

    async fn submit_typed<C: Call>(
        &self,
        call: C,
        options: CallOptions,
    ) -> Result<C::Reply, CallError<C::Error>> {
        let id = TypeId::of::<C>();
        let name = match self.shared.routes.name_of(id) {
            Some(name) => name,
            None => {
                let name = self.name_of::<C>().map_err(|error| {
                    CallError::new(Code::UnknownMethod, Certainty::NeverSent).with_cause(error)
                })?;
                self.shared.routes.remember(id, &name);
                name.shared().clone()
            }
        };
        let body = encode_arguments(options.codec, &call.into_args())?;
        let outcome = self.call_peer(Key::Call(id, &name), body, &options).await;
        typed::<C>(options.codec, outcome)
    }

    fn name_of<C: Call>(&self) -> Result<MethodName, RegistryError> {
        self.shared.registry.name_of_call::<C>()
    }

    fn close(&self) {
        self.shared.routes.close("");
        self.shared.group.cancel("the broker was closed");
    }

    async fn closed(&self) {
        self.shared.attachment.over().await;
    }
}

impl fmt::Debug for TcpBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpBroker")
            .field("project", &self.shared.config.project())
            .field("local_addrs", &self.shared.local)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use bowline_backend::Backend;
    use bowline_concurrency::{Root, task_group};

    use super::*;
    use crate::executor::AsyncExecutor;
    use crate::{Caller, Error};

    #[test]
    fn whoever_stops_waiting_for_the_end_leaves_no_task() {
        Root::new().backend(Backend::Sim).block_on(async {
            let ended = task_group(|group: TaskGroup<Error>| async move {
                let registry = Registry::new("example");
                registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
                let server = TcpBroker::builder(AsyncExecutor::new(registry, 4))
                    .listen("127.0.0.1:0")
                    .start(&group)
                    .await?;
                let tasks = server.shared.group.statistics();
                for _ in 0..1000 {
                    let mut closed = Box::pin(server.closed());
                    let polled = closed
                        .as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()));
                    assert!(polled.is_pending());
                }
                assert_eq!(server.shared.group.statistics(), tasks);
                TcpBroker::caller()
                    .project("example")
                    .connect(server.local_addrs()[0])
                    .run(async |client| -> Result<(), Error> {
                        assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                        Ok(())
                    })
                    .await?;
                server.close();
                let closed = timeout(Duration::from_secs(10), server.closed());
                assert!(closed.await.is_ok(), "it does not hear of the end");
                Ok(())
            });
            ended.await.expect("nothing fails");
        });
    }
}
