//! Starting a [`TcpBroker`].

use std::convert::Infallible;
use std::sync::Arc;

use bowline_backend::entropy;
use bowline_backend::net::TcpListener;
use bowline_concurrency::{CancelScope, TaskGroup, timeout};

use super::dial::{Attempt, CONNECT_TIMEOUT, dial};
use super::listen::accept;
use super::routes::Routes;
use super::statistics::Counters;
use super::{Endpoint, Shared, TcpBroker};
use crate::executor::{Attachment, Executor};
use crate::lifetime::{nested, scoped};
use crate::proto::{Config, MAX_PROJECT};
use crate::{BadLimit, Error, ErrorKind, Limits, Registry};

/// A [`TcpBroker`] that does not run yet.
#[must_use = "a broker exists once it is run or started"]
#[derive(Debug)]
pub struct TcpBrokerBuilder {
    executor: Arc<dyn Executor>,
    registry: Registry,
    limits: Limits,
    listen: Vec<Endpoint>,
    connect: Vec<Endpoint>,
    /// A setting that does not go with the others.
    misused: Option<&'static str>,
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
            misused: None,
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

    async fn open(self, group: TaskGroup<Infallible>) -> Result<TcpBroker, Error> {
        self.check_project()?;
        for endpoint in self.listen.iter().chain(&self.connect) {
            endpoint.check()?;
        }
        let mut local = Vec::new();
        let mut listeners = Vec::new();
        for endpoint in &self.listen {
            for address in endpoint.addresses().await? {
                let failed =
                    |error| Error::transport(format_args!("{address} was not bound"), error);
                let listener = TcpListener::bind(address).map_err(failed)?;
                local.push(listener.local_addr().map_err(failed)?);
                listeners.push(listener);
            }
        }
        self.executor.registry().lock();
        let mut instance = [0; 16];
        entropy::fill(&mut instance);
        let config = Config::new(self.registry.project(), instance).limits(self.limits.clone());
        let scopes: Vec<_> = listeners.iter().map(|_| CancelScope::new()).collect();
        let shared = Arc::new(Shared {
            registry: self.registry,
            attachment: Attachment::open(&group, &self.executor),
            executor: self.executor,
            config: Arc::new(config),
            limits: self.limits,
            routes: Arc::new(Routes::new()),
            counters: Counters::default(),
            accepting: scopes.iter().map(CancelScope::handle).collect(),
            group: group.clone(),
            local,
        });
        for (listener, scope) in listeners.into_iter().zip(scopes) {
            let accepting = scope.run(accept(shared.clone(), listener));
            drop(group.spawn_ok(async move { drop(accepting.await) }));
        }
        let mut attempts = Vec::new();
        for endpoint in self.connect {
            let (attempt, connected) = Attempt::new();
            drop(group.spawn_ok(dial(shared.clone(), endpoint.clone(), attempt.clone())));
            attempts.push((endpoint, attempt, connected));
        }
        for (endpoint, attempt, connected) in attempts {
            match timeout(CONNECT_TIMEOUT, connected).await {
                Ok(Ok(outcome)) => outcome?,
                Ok(Err(_)) => return Err(Error::cancelled()),
                Err(_) => {
                    return Err(attempt.last_failure().unwrap_or_else(|| {
                        Error::new(
                            ErrorKind::Transport,
                            format!("no connection to {endpoint} within 10 s"),
                        )
                    }));
                }
            }
        }
        Ok(TcpBroker { shared })
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
