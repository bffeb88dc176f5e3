//! From a builder to a broker that runs.

use std::convert::Infallible;
use std::sync::Arc;

use bowline_backend::entropy;
use bowline_concurrency::TaskGroup;

use super::TcpBrokerBuilder;
use crate::broker::Ending;
use crate::executor::Attachment;
use crate::lifetime::{nested, scoped};
use crate::memory_broker::Parts;
use crate::offers::Offers;
use crate::proto::MAX_PROJECT;
use crate::retry::Budget;
#[cfg(unix)]
use crate::tcp_broker::attempt::Attempt;
#[cfg(unix)]
use crate::tcp_broker::dial::keep;
use crate::tcp_broker::drain::EndSignals;
use crate::tcp_broker::here::Here;
use crate::tcp_broker::network::Network;
use crate::tcp_broker::notified::LeftBehind;
use crate::tcp_broker::places::Places;
use crate::tcp_broker::pressure::Pressure;
use crate::tcp_broker::routes::Routes;
use crate::tcp_broker::statistics::Counters;
use crate::tcp_broker::wires::Way;
use crate::tcp_broker::{Shared, TcpBroker};
use crate::{Error, ErrorKind, Peer};

impl TcpBrokerBuilder {
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

    fn check_codecs(&self) -> Result<(), Error> {
        let count = self.codecs.len();
        if !(1..=16).contains(&count) {
            let message = format!("{count} codecs; a broker has 1 to 16");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        for (at, codec) in self.codecs.iter().enumerate() {
            let (before, id) = (&self.codecs[..at], codec.id());
            if let Some(twin) = before.iter().find(|twin| twin.id() == id) {
                let message = format!("two codecs of number {id}: {twin:?} and {codec:?}");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
        }
        Ok(())
    }

    async fn open(mut self, group: TaskGroup<Infallible>) -> Result<TcpBroker, Error> {
        self.check_project()?;
        self.check_trust()?;
        self.check_codecs()?;
        self.wires.plain = Network {
            insecure: self.insecure_network,
            #[cfg(feature = "tls")]
            strangers: self.lets_strangers_in(),
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
            left_behind: LeftBehind::new(self.limits.notify_window as usize),
            limits: self.limits,
            routes: Arc::new(routes),
            counters: Counters::default(),
            budget: Budget::default(),
            dedupe: Arc::default(),
            pressure: Pressure::default(),
            codecs: self.codecs,
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
        let introduced = (self.introduced)(broker.clone());
        shared.attachment.introduce(introduced);
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
