//! What a [`TcpBroker`](crate::TcpBroker) is to be before it runs.

mod opening;
mod trust;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[cfg(unix)]
use bowline_backend::net::UnixStream;
use bowline_concurrency::Backoff;
use bowline_transport::MemoryNetwork;

use super::wires::Wires;
use super::{Balance, Endpoint};
use crate::executor::{Executor, Internals};
#[cfg(unix)]
use crate::proto::Side;
use crate::{BadLimit, Codec, DynBroker, Limits, Registry, Right, Secret, TcpBroker};

/// How long the first connection to an address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The pauses between attempts to connect again.
const RECONNECT: Backoff =
    Backoff::exponential(Duration::from_millis(50)).max(Duration::from_secs(30));

/// A [`TcpBroker`](crate::TcpBroker) that does not run yet.
#[must_use = "a broker exists once it is run or started"]
#[derive(Debug)]
pub struct TcpBrokerBuilder {
    executor: Arc<dyn Executor>,
    registry: Registry,
    limits: Limits,
    codecs: Vec<Codec>,
    listen: Vec<Endpoint>,
    connect: Vec<Endpoint>,
    secret: Option<Secret>,
    key_id: Arc<str>,
    keys: Vec<(Arc<str>, Secret)>,
    #[cfg(feature = "tls")]
    certificates: bool,
    #[cfg(unix)]
    users: Vec<u32>,
    rules: Vec<(Arc<str>, Arc<str>, Right)>,
    insecure_network: bool,
    wires: Wires,
    connect_timeout: Duration,
    reconnect: Backoff,
    retry_permanent: bool,
    weight: u16,
    allow_unbounded: bool,
    internals: Internals,
    drain_on_signals: bool,
    prefer_local: bool,
    balance: Balance,
    balances: BTreeMap<Arc<str>, Balance>,
    /// A setting that does not go with the others.
    misused: Option<&'static str>,
    /// What its handlers find of it.
    introduced: fn(TcpBroker) -> DynBroker,
    /// Its one connection, where it has neither listeners nor endpoints.
    #[cfg(unix)]
    adopted: Option<(UnixStream, Side)>,
}

impl TcpBrokerBuilder {
    pub(super) fn new(executor: Arc<dyn Executor>) -> Self {
        let registry = executor.registry().clone();
        Self {
            executor,
            registry,
            limits: Limits::default(),
            codecs: vec![Codec::Postcard, Codec::MessagePack, Codec::Json],
            listen: Vec::new(),
            connect: Vec::new(),
            secret: None,
            key_id: "".into(),
            keys: Vec::new(),
            #[cfg(feature = "tls")]
            certificates: false,
            #[cfg(unix)]
            users: Vec::new(),
            rules: Vec::new(),
            insecure_network: false,
            wires: Wires::default(),
            connect_timeout: CONNECT_TIMEOUT,
            reconnect: RECONNECT,
            retry_permanent: false,
            weight: 1,
            allow_unbounded: false,
            internals: Internals::Hidden,
            drain_on_signals: false,
            prefer_local: false,
            balance: Balance::default(),
            balances: BTreeMap::new(),
            misused: None,
            introduced: DynBroker::new,
            #[cfg(unix)]
            adopted: None,
        }
    }

    /// The project whose names it calls, for a broker that only calls; one with an executor has
    /// the project of its registry, and does not start if it is given another here.
    pub fn project(mut self, project: impl Into<Arc<str>>) -> Self {
        let project = project.into();
        if self.only_calls() {
            let registry = Registry::new(project);
            self.registry = if self.registry.is_strict() {
                registry.strict()
            } else {
                registry
            };
        } else if *project != *self.registry.project() {
            self.misused = Some("project() is for a broker that only calls");
        }
        self
    }

    /// Calls go by names that end in the digest of their function, as a
    /// [strict](Registry::strict) registry gives them. For a broker that only calls; one with an
    /// executor is as strict as its registry, and does not start if that is not.
    pub fn strict(mut self) -> Self {
        if self.only_calls() {
            self.registry = self.registry.strict();
        } else if !self.registry.is_strict() {
            self.misused = Some("strict() is for a broker that only calls");
        }
        self
    }

    fn only_calls(&self) -> bool {
        self.executor.capacity().max_workers == 0
    }

    /// The payload formats that this broker takes and sends, the preferred one first; postcard, MessagePack and
    /// JSON unless told otherwise. A connection has those that both sides have, and if there are none it fails
    /// with [`Unsupported`](crate::ErrorKind::Unsupported). A call in another one fails with
    /// [`Unsupported`](crate::Code::Unsupported): typed calls are in postcard and those by name in
    /// MessagePack, unless they [say otherwise](crate::CallBuilder::codec). Handlers in child processes are called
    /// in these three, and in those of [their registry](crate::Registry::codecs).
    ///
    /// The start fails if there are none, more than 16, or two of one number.
    pub fn codecs(mut self, codecs: impl IntoIterator<Item = Codec>) -> Self {
        self.codecs = codecs.into_iter().collect();
        self
    }

    /// Other limits than the default ones.
    ///
    /// # Errors
    /// The limit that does not fit the others.
    pub fn limits(mut self, limits: Limits) -> Result<Self, BadLimit> {
        limits.check()?;
        self.limits = limits;
        Ok(self)
    }

    /// Listens there, once started; port 0 is any free port. As often as wanted.
    pub fn listen(mut self, at: impl Into<Endpoint>) -> Self {
        self.listen.push(at.into());
        self
    }

    /// Connects there, once started, and again whenever the connection is lost. As often as
    /// wanted.
    pub fn connect(mut self, to: impl Into<Endpoint>) -> Self {
        self.connect.push(to.into());
        self
    }

    /// Takes `stream` as its one connection, and is closed when that ends.
    #[cfg(unix)]
    pub(crate) fn adopt(mut self, stream: UnixStream, side: Side) -> Self {
        self.adopted = Some((stream, side));
        self
    }

    /// Its handlers find what `made` makes of it as their broker.
    #[cfg(unix)]
    pub(crate) fn introduced_as(mut self, made: fn(TcpBroker) -> DynBroker) -> Self {
        self.introduced = made;
        self
    }

    /// Where the names of `mem://` addresses are: those of one network are connected with each other.
    pub fn network(mut self, network: &MemoryNetwork) -> Self {
        self.wires.network = Some(network.clone());
        self
    }

    /// How long the start, and [`connect`](crate::TcpBroker::connect), wait for the first connection to an
    /// address; 10 s unless told otherwise.
    pub fn connect_timeout(mut self, most: Duration) -> Self {
        self.connect_timeout = most;
        self
    }

    /// The pauses between attempts to connect again: up to 50 ms at first, doubling to 30 s, unless
    /// told otherwise. After 30 s of connection they begin anew.
    pub fn reconnect(mut self, backoff: Backoff) -> Self {
        self.reconnect = backoff;
        self
    }

    /// Connects again even where that would end the same way, as far as can be told: where the peer
    /// belongs to another project, speaks another version, or does not trust this side.
    pub fn retry_permanent(mut self) -> Self {
        self.retry_permanent = true;
        self
    }

    /// Calls of peers run as long as their callers wait: those without a deadline without one, instead of
    /// being cut to [`max_deadline`](Limits::max_deadline). A caller that is lost still ends its calls. For
    /// peers that are trusted.
    pub fn allow_unbounded(mut self) -> Self {
        self.allow_unbounded = true;
        self
    }

    /// Callers whose handler [panicked](crate::Code::Panic) are told the text of the panic, at most 4 KiB
    /// with control characters escaped; otherwise only that it did, as such a text may hold what is nobody's
    /// business.
    pub fn expose_internals(mut self) -> Self {
        self.internals = Internals::Exposed;
        self
    }

    /// The broker drains at `SIGTERM` or `SIGINT` (Ctrl-C), as at its end: the program ends in good
    /// order where its body waits for [`closed`](crate::Broker::closed). At the second one it closes at
    /// once.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn serve(registry: bowline_rpc::Registry) -> Result<(), bowline_rpc::Error> {
    /// use bowline_rpc::{Broker, TcpBroker, executor::AsyncExecutor};
    ///
    /// TcpBroker::builder(AsyncExecutor::new(registry, 64))
    ///     .listen("0.0.0.0:15383")
    ///     .drain_on_signals()
    ///     .run(async |server| {
    ///         server.closed().await;
    ///         Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    pub fn drain_on_signals(mut self) -> Self {
        self.drain_on_signals = true;
        self
    }

    /// Calls of this broker may go to its own executor as well, which is one of the peers that offer a
    /// method: it has its turn like the others, and calls of methods that nobody else offers run here. Without
    /// this calls go to other brokers alone.
    ///
    /// Calls that run here are not sent, and otherwise as those that peers make: they wait for a worker of the
    /// executor while its queue has room, and where it has none they are refused, and go to another peer.
    /// Notifications wait.
    ///
    /// # Examples
    /// ```
    /// use bowline_backend::Backend;
    /// use bowline_rpc::{Caller, Error, Registry, TcpBroker, executor::AsyncExecutor};
    ///
    /// let registry = Registry::new("example");
    /// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
    /// let alone = TcpBroker::builder(AsyncExecutor::new(registry, 4)).prefer_local();
    /// let sum = Backend::Tokio.block_on(alone.run(async |broker| -> Result<i64, Error> {
    ///     Ok(broker.call_named("add", (2, 3)).await?)
    /// }))?;
    /// assert_eq!(sum, 5);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn prefer_local(mut self) -> Self {
        self.prefer_local = true;
        self
    }

    /// How one of several peers is chosen; each in turn unless told otherwise.
    pub fn balance(mut self, balance: Balance) -> Self {
        self.balance = balance;
        self
    }

    /// The same for the method with this full name alone.
    pub fn balance_of(mut self, method: impl Into<Arc<str>>, balance: Balance) -> Self {
        self.balances.insert(method.into(), balance);
        self
    }

    /// The share of calls that callers that choose by [`Balance::PowerOfTwo`] give this broker: with 3 it
    /// counts as having a third of what it has to do. 1 unless told otherwise; 0 counts as 1.
    pub fn weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }
}
