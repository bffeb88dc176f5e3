//! Starting a [`TcpBroker`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::entropy;
#[cfg(unix)]
use bowline_backend::net::UnixStream;
use bowline_concurrency::{Backoff, TaskGroup};
use bowline_transport::MemoryNetwork;

#[cfg(unix)]
use super::attempt::Attempt;
#[cfg(unix)]
use super::dial::keep;
use super::drain::EndSignals;
use super::here::Here;
use super::network::Network;
use super::places::Places;
use super::routes::Routes;
use super::statistics::Counters;
use super::wires::{Way, Wires};
use super::{Balance, Endpoint, Shared, TcpBroker};
use crate::broker::Ending;
use crate::executor::{Attachment, Executor, Internals};
use crate::lifetime::{nested, scoped};
use crate::memory_broker::Parts;
use crate::offers::Offers;
#[cfg(unix)]
use crate::proto::Side;
use crate::proto::{Config, MAX_KEY_ID, MAX_PROJECT};
use crate::retry::Budget;
use crate::{BadLimit, DynBroker, Error, ErrorKind, Limits, Peer, Registry, Right, Secret};

/// How long the first connection to an address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The pauses between attempts to connect again.
const RECONNECT: Backoff =
    Backoff::exponential(Duration::from_millis(50)).max(Duration::from_secs(30));

/// A [`TcpBroker`] that does not run yet.
#[must_use = "a broker exists once it is run or started"]
#[derive(Debug)]
pub struct TcpBrokerBuilder {
    executor: Arc<dyn Executor>,
    registry: Registry,
    limits: Limits,
    listen: Vec<Endpoint>,
    connect: Vec<Endpoint>,
    secret: Option<Secret>,
    key_id: Arc<str>,
    keys: Vec<(Arc<str>, Secret)>,
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
            listen: Vec::new(),
            connect: Vec::new(),
            secret: None,
            key_id: "".into(),
            keys: Vec::new(),
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

    /// Other limits than the default ones.
    ///
    /// # Errors
    /// The limit that does not fit the others.
    pub fn limits(mut self, limits: Limits) -> Result<Self, BadLimit> {
        limits.check()?;
        self.limits = limits;
        Ok(self)
    }

    /// The secret that this broker shares with its peers. Each side of a connection proves to the other
    /// that it has it, and whoever does not have it is not let in, on either side.
    ///
    /// It proves who opened a connection and does not hide what is sent on it: on a network that others
    /// can write to, use TLS.
    ///
    /// # Examples
    /// ```
    /// use bowline_backend::Backend;
    /// use bowline_rpc::{Caller, Error, ErrorKind, Registry, Secret, TcpBroker, executor::AsyncExecutor};
    ///
    /// let registry = Registry::new("example");
    /// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
    /// let secret = Secret::new(*b"a secret that nobody can guess..")?;
    /// let server = TcpBroker::builder(AsyncExecutor::new(registry, 4))
    ///     .secret(secret.clone())
    ///     .listen("127.0.0.1:0");
    /// Backend::Tokio.block_on(server.run(async |server| -> Result<(), Error> {
    ///     let client = || TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
    ///     let sum = client().secret(secret).run(async |c| -> Result<i64, Error> {
    ///         Ok(c.call_named("add", (2, 3)).await?)
    ///     }).await?;
    ///     assert_eq!(sum, 5);
    ///     let stranger = client().run(async |_| -> Result<(), Error> { Ok(()) }).await;
    ///     assert_eq!(stranger.unwrap_err().kind(), ErrorKind::Unauthenticated);
    ///     Ok(())
    /// }))?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// The name of [`secret`](Self::secret), at most 64 bytes: what peers look it up by and know this
    /// broker as. Without it the name is empty.
    pub fn key_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.key_id = id.into();
        self
    }

    /// More secrets, each with its name, by which peers that connect here may prove themselves: one for
    /// each of them, or the former and the next one while they are being changed.
    pub fn keys<I: Into<Arc<str>>>(mut self, keys: impl IntoIterator<Item = (I, Secret)>) -> Self {
        self.keys
            .extend(keys.into_iter().map(|(id, secret)| (id.into(), secret)));
        self
    }

    /// Gives `principal` a right to methods. Both may be a name, or the beginning of one and `*`: `*`
    /// alone is everybody, or every method. A peer's principal is the name of the key it proved itself
    /// by; that of one that proved nothing is empty.
    ///
    /// From the first rule for a right on, nobody has it whom no rule names; without a rule everybody
    /// that is let in has it. A method that a peer may not call is not offered to it, and a call of it
    /// all the same is answered with [`PermissionDenied`](crate::Code::PermissionDenied). What a peer may
    /// not execute is not sent to it.
    pub fn allow(
        mut self,
        principal: impl Into<Arc<str>>,
        methods: impl Into<Arc<str>>,
        right: Right,
    ) -> Self {
        self.rules.push((principal.into(), methods.into(), right));
        self
    }

    /// Listens at and connects to addresses that are not loopback, though what is sent there is not
    /// encrypted: whoever is on the way can read and change it. Without this such addresses fail the
    /// start, or the connection, with [`InsecureNetwork`](ErrorKind::InsecureNetwork).
    pub fn allow_insecure_network(mut self) -> Self {
        self.insecure_network = true;
        self
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

    /// Where the names of `mem://` addresses are: those of one network are connected with each other.
    pub fn network(mut self, network: &MemoryNetwork) -> Self {
        self.wires.network = Some(network.clone());
        self
    }

    /// What makes `tls://` addresses secure: a [`TlsServerConfig`](bowline_transport::TlsServerConfig)
    /// for those it listens at, a [`TlsClientConfig`](bowline_transport::TlsClientConfig) for those it
    /// connects to; a broker that does both is given both.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: impl Into<super::TlsConfig>) -> Self {
        match config.into() {
            super::TlsConfig::Server(config) => self.wires.server = Some(config),
            super::TlsConfig::Client(config) => self.wires.client = Some(config),
        }
        self
    }

    /// How long the start, and [`connect`](TcpBroker::connect), wait for the first connection to an
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
    /// Calls that run here are not sent: they wait for a place of the executor, as those of a
    /// [`MemoryBroker`](crate::MemoryBroker) do.
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

    /// Runs the broker for as long as `body` takes. Then it takes no new connections and calls,
    /// waits for the calls in flight, in both directions, for
    /// [`drain`](crate::Limits::drain) at most, and closes. When this returns, the peers have been
    /// told, every socket is closed and every handler has ended.
    ///
    /// Starting locks the registry for good, and waits until the peer behind every
    /// [`connect`](Self::connect) has told its methods.
    ///
    /// # Errors
    /// What `body` returns. Before that [`Error`]: the project is longer than 255 bytes, an address is
    /// none or could not be bound, or no connection came about within 10 s, or never will. Instead of that, of kind `Cancelled` and with the
    /// cause: the broker was closed, or a listener broke, before `body` was done.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropped, it drops the body, every connection and every handler.
    pub async fn run<T, E, F, Fut>(self, body: F) -> Result<T, E>
    where
        F: FnOnce(TcpBroker) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        scoped(|group| async move {
            let broker = self.open(group).await?;
            let result = body(broker.clone()).await;
            broker.shut_down().await;
            result
        })
        .await
    }

    /// Starts the broker as a child of `group`, which stays open until the broker is closed by
    /// `close()` or the group is cancelled.
    ///
    /// # Errors
    /// As [`run`](Self::run) before its body; kind `Cancelled` if the group is closed.
    ///
    /// # Cancel safety
    /// *Nothing happened*: the broker is closed again.
    pub async fn start<E: Send + 'static>(self, group: &TaskGroup<E>) -> Result<TcpBroker, Error> {
        let group = CancelUnlessKept(Some(nested(group).await?));
        let broker = self
            .open(group.0.clone().expect("it is kept below"))
            .await?;
        group.keep();
        Ok(broker)
    }

    fn check_project(&self) -> Result<(), Error> {
        if let Some(misused) = self.misused {
            let message =
                format!("{misused}; one with an executor has the setting of its registry");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let length = self.registry.project().len();
        if length > MAX_PROJECT {
            let message = format!("a project of {length} bytes; {MAX_PROJECT} at most");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), Error> {
        let ids = self.keys.iter().map(|(id, _)| id);
        let longest = ids.chain([&self.key_id]).map(|id| id.len()).max();
        match longest {
            Some(length) if length > MAX_KEY_ID => {
                let message = format!("a key id of {length} bytes; {MAX_KEY_ID} at most");
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
            _ => Ok(()),
        }
    }

    /// What all connections have in common.
    fn config(&self, instance: [u8; 16]) -> Config {
        let mut config = Config::new(self.registry.project(), instance).limits(self.limits.clone());
        for (id, secret) in &self.keys {
            config = config.key(id.clone(), secret.clone());
        }
        if let Some(secret) = &self.secret {
            config = config.secret(self.key_id.clone(), secret.clone());
        }
        for (principal, methods, right) in &self.rules {
            config = config.allow(principal.clone(), methods.clone(), *right);
        }
        config
    }

    async fn open(mut self, group: TaskGroup<Infallible>) -> Result<TcpBroker, Error> {
        self.check_project()?;
        self.check_keys()?;
        self.wires.plain = Network {
            insecure: self.insecure_network,
        };
        if let Err(bad) = self.reconnect.check() {
            return Err(Error::new(ErrorKind::InvalidInput, bad.to_string()));
        }
        for endpoint in &self.listen {
            self.wires.check(endpoint, Way::In)?;
        }
        for endpoint in &self.connect {
            self.wires.check(endpoint, Way::Out)?;
        }
        let signals = match self.drain_on_signals {
            true => Some(EndSignals::listen()?),
            false => None,
        };
        let mut doors = Vec::new();
        for endpoint in &self.listen {
            doors.append(&mut self.wires.bind(endpoint).await?);
        }
        self.executor.registry().lock();
        let mut instance = [0; 16];
        entropy::fill(&mut instance);
        let config = self.config(instance);
        let routes = Routes::new(
            self.balance,
            self.balances,
            &self.limits,
            entropy::random_u64(),
        );
        let runs = self.executor.capacity().max_workers > 0;
        let offers = Offers::new(
            self.registry.project(),
            runs.then(|| self.registry.clone()),
            self.limits.max_methods as usize,
        );
        let offers = Arc::new(offers);
        let attachment = Attachment::open(&group, &self.executor, self.internals);
        let here = self.prefer_local.then(|| {
            let parts = Parts {
                executor: self.executor.clone(),
                attachment: attachment.clone(),
                group: group.clone(),
                offers: offers.clone(),
                me: Peer::new(None, instance, "".into()),
            };
            Here::join(parts, self.weight, &routes)
        });
        let longest_call = (!self.allow_unbounded).then_some(self.limits.max_deadline);
        let shared = Arc::new(Shared {
            registry: self.registry,
            attachment,
            executor: self.executor,
            config: Arc::new(config),
            limits: self.limits,
            routes: Arc::new(routes),
            counters: Counters::default(),
            budget: Budget::default(),
            dedupe: Arc::default(),
            wires: self.wires,
            places: Places::default(),
            offers,
            here,
            connect_timeout: self.connect_timeout,
            reconnect: self.reconnect,
            retry_permanent: self.retry_permanent,
            weight: self.weight,
            longest_call,
            group: group.clone(),
            ending: Ending::default(),
        });
        let broker = TcpBroker {
            shared: shared.clone(),
        };
        // Before anybody calls: handlers find it.
        shared.attachment.introduce(DynBroker::new(broker.clone()));
        for door in doors {
            shared.open_door(door)?;
        }
        let connecting: Vec<_> = self
            .connect
            .into_iter()
            .map(|endpoint| shared.keep_connected(endpoint))
            .collect();
        for connected in connecting {
            connected.await?;
        }
        #[cfg(unix)]
        if let Some((stream, side)) = self.adopted {
            let attempt = Attempt::new();
            drop(group.spawn_ok(keep(shared.clone(), stream, side, attempt.trying())));
            attempt.settled().await?;
        }
        shared.executor.prepare(&shared.attachment).await?;
        if let Some(signals) = signals {
            drop(group.spawn_ok(signals.drain(broker.clone())));
        }
        Ok(broker)
    }
}

/// Cancels a group, unless it is kept.
struct CancelUnlessKept(Option<TaskGroup<Infallible>>);

impl CancelUnlessKept {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelUnlessKept {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            group.cancel("the broker did not start");
        }
    }
}
