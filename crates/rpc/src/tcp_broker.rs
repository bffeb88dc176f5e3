//! A broker over byte streams: any number of listening sockets and connections, either side of which
//! calls, executes or both.

mod attempt;
mod balance;
mod builder;
mod calls;
#[cfg(feature = "tls")]
mod certificate;
mod dial;
mod drain;
mod endpoint;
mod here;
mod insight;
#[cfg(test)]
mod leaks;
mod link;
mod listen;
mod network;
mod notified;
mod offering;
mod offers;
mod places;
mod prefix;
mod pressure;
mod routes;
mod statistics;
mod streaming;
mod table;
mod wires;

pub use attempt::{Dial, Reach};
pub use balance::Balance;
pub use builder::TcpBrokerBuilder;
pub use endpoint::Endpoint;
pub use statistics::{AcceptErrors, BrokerStatistics, Strangers};
#[cfg(feature = "tls")]
pub use wires::TlsConfig;

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_concurrency::{Backoff, TaskGroup};

use crate::broker::{Ending, encode_arguments, typed, without_key};
use crate::dedupe::Dedupe;
use crate::executor::{Attachment, Executor, NullExecutor};
use crate::offers::Offers;
use crate::proto::{CallKind, Config};
use crate::retry::Budget;
use crate::schema::Expected;
use crate::span::{self, CallSpan};
use crate::stream::Outcome;
use crate::{
    Addressed, Broker, Call, CallError, CallOptions, CallType, Certainty, CloseCause, Code, Codec,
    DrainReport, Limits, MethodName, MethodTable, OutCall, RawStream, Registry, RegistryError,
    Reply,
};
use calls::{Sent, told, watched};
use here::Here;
use notified::LeftBehind;
use places::Places;
use pressure::Pressure;
use routes::{Destination, Key, Routes, Wish};
use statistics::Counters;
use wires::Wires;

/// Calls go to peers over TCP, TLS, Unix sockets or memory, and calls of peers to the broker's executor.
///
/// What a connection is made of is a matter of its [`Endpoint`] alone, and one broker may have all kinds.
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

/// A [`TcpBroker`], as programs may call one that uses Unix sockets alone (`unix:/run/shop.sock`): which kind of
/// stream a connection is made of is a matter of its [`Endpoint`].
#[cfg(unix)]
pub type UnixBroker = TcpBroker;

/// A [`TcpBroker`], as programs may call one that uses TLS alone (`tls://shop.example`): which kind of stream a
/// connection is made of is a matter of its [`Endpoint`].
#[cfg(feature = "tls")]
pub type TlsBroker = TcpBroker;

/// What all tasks of one broker share.
struct Shared {
    registry: Registry,
    executor: Arc<dyn Executor>,
    attachment: Arc<Attachment>,
    config: Arc<Config>,
    limits: Limits,
    routes: Arc<Routes>,
    counters: Counters,
    budget: Budget,
    dedupe: Arc<Dedupe>,
    pressure: Pressure,
    left_behind: Arc<LeftBehind>,
    /// The payload formats it has, the preferred one first.
    codecs: Vec<Codec>,
    wires: Wires,
    places: Places,
    offers: Arc<Offers>,
    /// Itself, where its calls may go there.
    here: Option<Here>,
    connect_timeout: Duration,
    reconnect: Backoff,
    retry_permanent: bool,
    weight: u16,
    /// What calls of peers are cut to; `None` if they may run as long as their callers wait.
    longest_call: Option<Duration>,
    group: TaskGroup<Infallible>,
    ending: Ending,
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

    /// How many connections are up now.
    pub fn connections(&self) -> usize {
        self.shared.routes.connections().1
    }

    /// What it counted since it started, and what is open now.
    pub fn statistics(&self) -> BrokerStatistics {
        let connections = self.shared.routes.connections();
        self.shared.counters.snapshot(connections)
    }
}

impl Broker for TcpBroker {
    async fn submit(&self, call: OutCall) -> Result<Reply, CallError> {
        if let Some(error) = self.refuses(&call.options) {
            return Err(error);
        }
        let sent = Sent::of(&call, CallKind::UNARY);
        let key = Key::Name(&call.method);
        let calling = self.call_peer(key, call.body, sent, &call.options, call.idempotent);
        CallSpan::new(&call.method).around(calling).await
    }

    async fn open(&self, call: OutCall) -> Result<RawStream, CallError> {
        let span = CallSpan::new(&call.method);
        span.open(self.open_call(call)).await
    }

    async fn notify_raw(&self, call: OutCall) -> Result<(), CallError> {
        without_key(&call.options)?;
        if let Some(error) = self.refuses(&call.options) {
            return Err(error);
        }
        let sent = Sent::of(&call, CallKind::NOTIFY);
        let key = Key::Name(&call.method);
        let sending = self.call_peer(key, call.body, sent, &call.options, false);
        let sent = CallSpan::new(&call.method).around(sending).await;
        sent.map(|_| ())
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
                let name = self.name_of(CallType::of::<C>()).map_err(|error| {
                    CallError::new(Code::UnknownMethod, Certainty::NeverSent).with_cause(error)
                })?;
                self.shared.routes.remember(id, &name);
                name.shared().clone()
            }
        };
        if let Some(error) = self.refuses(&options) {
            return Err(error);
        }
        let body = encode_arguments(options.codec, &call.into_args())?;
        let sent = Sent {
            kind: CallKind::UNARY,
            expected: Expected::of::<C>(),
        };
        let key = Key::Call(id, &name);
        let repeatable = C::SPEC.is_idempotent();
        let calling = self.call_peer(key, body, sent, &options, repeatable);
        let outcome = CallSpan::new(&name).around(calling).await;
        typed::<C>(options.codec, outcome)
    }

    async fn submit_each(&self, call: OutCall) -> Result<Vec<Addressed>, CallError> {
        if let Some(error) = self.refuses(&call.options) {
            return Err(error);
        }
        let kind = Sent::of(&call, CallKind::UNARY);
        let OutCall {
            method,
            body,
            options,
            ..
        } = call;
        let key = Key::Name(&method);
        loop {
            let peers = self.shared.routes.pick_all(key);
            if peers.is_empty() {
                let any = Wish::default();
                let found = self.wait_for_peer(key, any, body.len(), &options).await?;
                if let Some(watching) = found.watching {
                    watching.unused();
                }
                continue;
            }
            let each = peers.into_iter().map(|(peer, found)| {
                let (watching, connection) = (found.watching, found.connection);
                let routes = self.shared.routes.clone();
                let span = CallSpan::new(&method);
                let outcome: Outcome = match found.to {
                    Destination::Peer(mailbox) => {
                        let at = (&mailbox, found.method, found.schema);
                        let sent = span.in_scope(|| {
                            span::goes_to(mailbox.peer(), None);
                            self.send(at, body.clone(), kind, &options, None)
                        });
                        Box::pin(span.around(async move {
                            let outcome = match sent {
                                Ok((call, codec)) => call.await.map(|body| Reply::new(codec, body)),
                                Err(error) => Err(error),
                            };
                            told(&routes, connection, watching, outcome)
                        }))
                    }
                    Destination::Here(broker) => {
                        let call = here::out_call(&method, body.clone(), kind, &options);
                        let outcome = async move {
                            told(&routes, connection, watching, broker.carry(call).await)
                        };
                        Box::pin(span.around(outcome))
                    }
                };
                Addressed { peer, outcome }
            });
            return Ok(each.collect());
        }
    }

    fn methods(&self) -> MethodTable {
        MethodTable::live(self.clone(), self.shared.routes.changes())
    }

    fn name_of(&self, call: CallType) -> Result<MethodName, RegistryError> {
        self.shared.registry.declared_name(call)
    }

    /// As [`Broker::drain`], and what [`run`](TcpBrokerBuilder::run) does at its end: it takes no new
    /// connections either, and says goodbye to every peer. Calls that are cancelled have
    /// [`cancel_grace`](Limits::cancel_grace).
    ///
    /// Connections without a call close at once, but those to peers that offer methods stay while handlers run,
    /// and endpoints are connected to. Calls of this side that were not sent yet end with
    /// [`NeverSent`](Certainty::NeverSent), and so do new ones of the program, with
    /// [`Draining`](Code::Draining); those that handlers make which still run are no new ones. Of these, one that
    /// finds nobody does not wait for a peer to come, unless it is being connected to: it ends with
    /// [`NoPeer`](Code::NoPeer).
    async fn drain(&self, most: Duration) -> DrainReport {
        let report = self.end_calls(most).await;
        self.close();
        report
    }

    fn close(&self) {
        self.shared.ending.by(CloseCause::Closed);
        self.shared.routes.close("");
        self.shared.group.cancel("the broker was closed");
    }

    async fn closed(&self) -> CloseCause {
        self.over().await;
        self.shared.ending.cause()
    }
}

impl fmt::Debug for TcpBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpBroker")
            .field("project", &self.shared.config.project())
            .field("endpoints", &self.endpoints())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
