//! Where a broker listens and connects: when it starts, and from then on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_backend::stream::Address;
use bowline_channel::{OneshotReceiver, oneshot};
use bowline_concurrency::{CancelHandle, CancelScope, timeout};

use super::attempt::{Attempt, Dial, Reach};
use super::dial::dial;
use super::listen::accept;
use super::wires::{Door, Way};
use super::{Endpoint, Shared, TcpBroker};
use crate::{Error, ErrorKind};

/// The places of one broker.
#[derive(Default)]
pub(super) struct Places {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listening: Vec<Endpoint>,
    /// The scopes of the tasks that accept, and what tells that their listener is closed.
    accepting: Vec<(CancelHandle, OneshotReceiver<()>)>,
    /// What is connected to, and the last [`GIVEN_UP`] of what is so no longer.
    connecting: Vec<(Endpoint, Arc<Attempt>)>,
}

/// Endpoints that nobody connects to any more, but that are told why.
const GIVEN_UP: usize = 64;

impl Places {
    /// Accepts no more; what this gives waits until all listeners are closed.
    pub(super) fn stop_accepting(&self) -> impl Future<Output = ()> + Send + use<> {
        let accepting = std::mem::take(&mut self.state().accepting);
        for (scope, _) in &accepting {
            scope.cancel("the broker takes no new connections");
        }
        async move {
            for (_, closed) in accepting {
                let _ = closed.await;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Accepts at `door`.
    pub(super) fn open_door(self: &Arc<Self>, door: Door) -> Result<Endpoint, Error> {
        let endpoint = door
            .endpoint()
            .map_err(|error| Error::transport("a listener has no address", error))?;
        let scope = CancelScope::new();
        let mut state = self.places.state();
        let (open, closed) = oneshot();
        state.accepting.push((scope.handle(), closed));
        state.listening.push(endpoint.clone());
        drop(state);
        if self.routes.is_closing() {
            drop(self.places.stop_accepting());
        }
        let accepting = scope.run(accept(self.clone(), door));
        drop(self.group.spawn_ok(async move {
            drop(accepting.await);
            drop(open);
        }));
        Ok(endpoint)
    }

    /// Keeps a connection to `endpoint` up, which may be so already; what is to be waited for.
    pub(super) fn keep_connected(
        self: &Arc<Self>,
        endpoint: Endpoint,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let attempt = self.attempt(&endpoint);
        let most = self.connect_timeout;
        async move {
            match timeout(most, attempt.settled()).await {
                Ok(outcome) => outcome,
                Err(_) => match &*attempt.reach() {
                    Reach::Connected => Ok(()),
                    Reach::GivenUp { failure } => Err(failure.clone()),
                    Reach::Trying {
                        last_failure: Some(failure),
                    } => Err(failure.clone()),
                    Reach::Trying { last_failure: None } => {
                        let message = format!("no connection to {endpoint} within {most:?}");
                        Err(Error::new(ErrorKind::Transport, message))
                    }
                },
            }
        }
    }

    fn attempt(self: &Arc<Self>, endpoint: &Endpoint) -> Arc<Attempt> {
        let mut state = self.places.state();
        let mut known = state.connecting.iter();
        if let Some((_, attempt)) = known.find(|(at, it)| at == endpoint && !it.is_given_up()) {
            return attempt.clone();
        }
        let attempt = Attempt::new();
        let connecting = &mut state.connecting;
        let mut former = connecting
            .extract_if(.., |(at, _)| at == endpoint)
            .collect::<Vec<_>>();
        let given_up = |(_, it): &(_, Arc<Attempt>)| it.is_given_up();
        if connecting.iter().filter(|one| given_up(one)).count() > GIVEN_UP
            && let Some(oldest) = connecting.iter().position(given_up)
        {
            former.push(connecting.remove(oldest));
        }
        connecting.push((endpoint.clone(), attempt.clone()));
        drop(state);
        drop(former);
        let task = dial(self.clone(), endpoint.clone(), attempt.trying());
        drop(self.group.spawn_ok(task));
        attempt
    }
}

impl TcpBroker {
    /// The internet addresses it listens at, in the order they were given.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let state = self.shared.places.state();
        let inet = |endpoint: &Endpoint| endpoint.address().and_then(|at| Address::as_inet(&at));
        state.listening.iter().filter_map(inet).collect()
    }

    /// Where it listens, in the order it was told to, with the ports the system chose: what others
    /// [connect](Self::connect) to.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.shared.places.state().listening.clone()
    }

    /// Listens at `at` as well, and says where that is: at each of its addresses.
    ///
    /// # Errors
    /// It is no address, or could not be bound.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub async fn listen(&self, at: impl Into<Endpoint> + Send) -> Result<Vec<Endpoint>, Error> {
        let at = at.into();
        let doors = self.shared.wires.bind(&at).await?;
        if self.shared.routes.is_closing() {
            return Err(Error::cancelled());
        }
        doors
            .into_iter()
            .map(|door| self.shared.open_door(door))
            .collect()
    }

    /// Where it connects to, and how far each connection is, in the order it was told to. Of those it
    /// has [given up](Reach::GivenUp), the last few.
    pub fn dials(&self) -> Vec<Dial> {
        let state = self.shared.places.state();
        let all = state.connecting.iter().map(|(endpoint, attempt)| Dial {
            endpoint: endpoint.clone(),
            reach: Reach::clone(&attempt.reach()),
        });
        all.collect()
    }

    /// Connects to `to` as well, and again whenever the connection is lost; waits until the peer has
    /// told its methods. Where it connects to already, it only waits until there is a connection.
    ///
    /// # Errors
    /// It is no address, or no connection came about within the
    /// [`connect_timeout`](super::TcpBrokerBuilder::connect_timeout), or never will. In the first case
    /// and the last nobody tries any longer; else the broker goes on trying. [`dials`](Self::dials)
    /// tells what becomes of it.
    ///
    /// # Cancel safety
    /// The broker goes on connecting.
    pub async fn connect(&self, to: impl Into<Endpoint> + Send) -> Result<(), Error> {
        let to = to.into();
        self.shared.wires.check(&to, Way::Out)?;
        if self.shared.routes.is_closing() {
            return Err(Error::cancelled());
        }
        self.shared.keep_connected(to).await
    }
}
