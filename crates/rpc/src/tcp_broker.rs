//! A broker over byte streams: any number of listening sockets and connections, either side of which
//! calls, executes or both.

mod attempt;
mod balance;
mod builder;
mod dedupe;
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
mod offering;
mod offers;
mod places;
mod prefix;
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

use bowline_backend::time;
use bowline_concurrency::{Backoff, TaskGroup, sleep};
use bytes::Bytes;

use crate::broker::{Ending, UnknownMethod, encode_arguments, typed, without_key};
use crate::connection::{Flow, InFlight, Mailbox};
use crate::executor::{Attachment, Executor, NullExecutor};
use crate::offers::Offers;
use crate::proto::{CallKind, CodecId, Config, MethodId, MethodOptions, Open, Target};
use crate::retry::{Attempts, Budget};
use crate::span::{self, CallSpan};
use crate::stream::Outcome;
use crate::{
    Addressed, Broker, Call, CallError, CallOptions, CallType, Certainty, CloseCause, Code,
    DrainReport, Limits, MethodName, MethodTable, OutCall, RawStream, Registry, RegistryError,
    Reply,
};
use dedupe::Dedupe;
use here::Here;
use places::Places;
use routes::{Destination, Found, Key, Routes, Watching, find_peer};
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

/// What kind of call it is.
#[derive(Clone, Copy, Default)]
struct Sent {
    kind: CallKind,
    /// The hash of the types of its arguments and its reply.
    schema: Option<u64>,
}

impl Sent {
    fn of(named: bool, kind: CallKind) -> Self {
        let names = if named {
            CallKind::NAMED_ARGUMENTS
        } else {
            CallKind::UNARY
        };
        Self {
            kind: CallKind(kind.0 | names.0),
            schema: None,
        }
    }
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

    /// Sends an encoded call to a peer that offers its method, and to another where that fails and may
    /// be done. `repeatable` says that it may run twice, whatever its peer says.
    async fn call_peer(
        &self,
        key: Key<'_>,
        body: Bytes,
        sent: Sent,
        options: &CallOptions,
        repeatable: bool,
    ) -> Result<Reply, CallError> {
        let repeatable = repeatable || options.extensions.idempotency_key().is_some();
        let mut attempts = Attempts::new(options.retry);
        loop {
            let found = match self.shared.routes.pick(key, options.hash) {
                Some(found) => Ok(found),
                None => self.wait_for_peer(key, body.len(), options).await,
            };
            let (outcome, repeatable) = match found {
                Ok(found) => {
                    let declared = found.options.contains(MethodOptions::IDEMPOTENT);
                    let calling = self.call_found(found, key, body.clone(), sent, options);
                    let outcome = calling.await;
                    (outcome, repeatable || declared)
                }
                Err(error) => (Err(error), repeatable),
            };
            match outcome {
                Ok(body) => {
                    self.shared.budget.earn();
                    return Ok(Reply::new(body));
                }
                Err(error) => {
                    if self.shared.routes.is_closing() {
                        attempts.give_up();
                    }
                    let left = options.deadline.saturating_duration_since(time::now());
                    let pause = attempts.failed(error, repeatable, left, &self.shared.budget)?;
                    sleep(pause).await;
                }
            }
        }
    }

    async fn call_found(
        &self,
        found: Found,
        key: Key<'_>,
        body: Bytes,
        sent: Sent,
        options: &CallOptions,
    ) -> Result<Bytes, CallError> {
        let outcome = match &found.to {
            Destination::Peer(mailbox) => {
                span::goes_to(mailbox.peer(), None);
                let at = (mailbox, found.method);
                match self.send(at, body, sent, options, None) {
                    Ok(call) => call.await,
                    Err(error) => Err(error),
                }
            }
            Destination::Here(broker) => {
                let call = here::out_call(key.name(), body, sent, options);
                // Most calls go to others, and have no room for this.
                Box::pin(here::call(broker, call, sent.kind)).await
            }
        };
        watched(found.watching, outcome)
    }

    fn send(
        &self,
        (mailbox, method): (&Arc<Mailbox>, MethodId),
        body: Bytes,
        sent: Sent,
        options: &CallOptions,
        flow: Option<Box<Flow>>,
    ) -> Result<InFlight, CallError> {
        let said = options.extensions.metadata_bytes();
        let limit = self.shared.limits.max_metadata;
        if said > usize::from(limit) {
            let actual = u32::try_from(said).unwrap_or(u32::MAX);
            let error = CallError::new(Code::TooLarge, Certainty::NeverSent);
            return Err(error.with_sizes(limit.into(), actual));
        }
        let bytes = body.len();
        let codec = CodecId(options.codec.id());
        let open = Open::new(Target::Method(method), codec, body)
            .deadline(options.deadline)
            .hops(options.hops)
            .priority(options.priority)
            .kind(sent.kind);
        let open = open.extensions(match sent.schema {
            None => options.extensions.clone(),
            Some(hash) => options.extensions.with_schema(hash),
        });
        let call = mailbox.open(open, bytes, flow)?;
        self.shared.counters.calls_sent.add(1);
        Ok(call)
    }

    async fn wait_for_peer(
        &self,
        key: Key<'_>,
        bytes: usize,
        options: &CallOptions,
    ) -> Result<Found, CallError> {
        let routes = &self.shared.routes;
        if options.unknown == UnknownMethod::FailFast {
            let error = CallError::new(routes.why_nobody(), Certainty::NeverSent);
            return Err(error.with_message(key.name()));
        }
        find_peer(routes, key, options.hash, bytes, options.deadline).await
    }
}

/// Tells the table what a call of interest came to.
fn watched<T>(watching: Option<Watching>, outcome: Result<T, CallError>) -> Result<T, CallError> {
    if let Some(watching) = watching {
        watching.ended(&outcome);
    }
    outcome
}

impl Broker for TcpBroker {
    async fn submit(&self, call: OutCall) -> Result<Reply, CallError> {
        let sent = Sent::of(call.named, CallKind::UNARY);
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
        let sent = Sent::of(call.named, CallKind::NOTIFY);
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
        let body = encode_arguments(options.codec, &call.into_args())?;
        let sent = Sent {
            kind: CallKind::UNARY,
            schema: C::SPEC.is_strict_schema().then(|| C::SPEC.schema_hash()),
        };
        let key = Key::Call(id, &name);
        let repeatable = C::SPEC.is_idempotent();
        let calling = self.call_peer(key, body, sent, &options, repeatable);
        let outcome = CallSpan::new(&name).around(calling).await;
        typed::<C>(options.codec, outcome)
    }

    async fn submit_each(&self, call: OutCall) -> Result<Vec<Addressed>, CallError> {
        let OutCall {
            method,
            body,
            named,
            options,
            ..
        } = call;
        let kind = Sent::of(named, CallKind::UNARY);
        let key = Key::Name(&method);
        loop {
            let peers = self.shared.routes.pick_all(key);
            if peers.is_empty() {
                let found = self.wait_for_peer(key, body.len(), &options).await?;
                if let Some(watching) = found.watching {
                    watching.unused();
                }
                continue;
            }
            let each = peers.into_iter().map(|(peer, found)| {
                let watching = found.watching;
                let outcome: Outcome = match found.to {
                    Destination::Peer(mailbox) => {
                        let at = (&mailbox, found.method);
                        let sent = self.send(at, body.clone(), kind, &options, None);
                        Box::pin(async move {
                            let outcome = match sent {
                                Ok(call) => call.await,
                                Err(error) => Err(error),
                            };
                            watched(watching, outcome).map(Reply::new)
                        })
                    }
                    Destination::Here(broker) => {
                        let call = here::out_call(&method, body.clone(), kind, &options);
                        Box::pin(async move { broker.carry(call).await.map(Reply::new) })
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
        self.shared.registry.name_of_call(call)
    }

    /// As [`Broker::drain`], and what [`run`](TcpBrokerBuilder::run) does at its end: it takes no new
    /// connections either, and says goodbye to every peer. Calls that are cancelled have
    /// [`cancel_grace`](Limits::cancel_grace).
    ///
    /// Connections without a call close at once. Calls of this side that were not sent yet end with
    /// [`NeverSent`](Certainty::NeverSent).
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
