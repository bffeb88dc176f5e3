//! Where a broker listens and connects: when it starts, and from then on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_backend::stream::Address;
use bowline_channel::{OneshotReceiver, oneshot};
use bowline_concurrency::{CancelHandle, CancelScope, timeout};

use super::dial::{Attempt, dial};
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
    connecting: Vec<Endpoint>,
}

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

    /// Keeps a connection to `endpoint` up, unless that is done already; what is to be waited for.
    pub(super) fn keep_connected(
        self: &Arc<Self>,
        endpoint: Endpoint,
    ) -> Option<impl Future<Output = Result<(), Error>> + Send + use<>> {
        let mut state = self.places.state();
        if state.connecting.contains(&endpoint) {
            return None;
        }
        state.connecting.push(endpoint.clone());
        drop(state);
        let (attempt, connected) = Attempt::new();
        let task = dial(self.clone(), endpoint.clone(), attempt.clone());
        drop(self.group.spawn_ok(task));
        let shared = self.clone();
        let most = self.connect_timeout;
        Some(async move {
            let outcome = match timeout(most, connected).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(Error::cancelled()),
                Err(_) => Err(attempt.last_failure().unwrap_or_else(|| {
                    let message = format!("no connection to {endpoint} within {most:?}");
                    Error::new(ErrorKind::Transport, message)
                })),
            };
            if outcome.as_ref().is_err_and(Error::is_final) {
                // Nobody connects there any more, so it may be asked for again.
                let mut state = shared.places.state();
                state.connecting.retain(|known| *known != endpoint);
            }
            outcome
        })
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

    /// Connects to `to` as well, and again whenever the connection is lost; waits until the peer has
    /// told its methods. Where it connects to already, this changes nothing.
    ///
    /// # Errors
    /// It is no address, or no connection came about within the
    /// [`connect_timeout`](super::TcpBrokerBuilder::connect_timeout), or never will. In the first case
    /// and the last nobody tries any longer; else the broker goes on trying.
    ///
    /// # Cancel safety
    /// The broker goes on connecting.
    pub async fn connect(&self, to: impl Into<Endpoint> + Send) -> Result<(), Error> {
        let to = to.into();
        self.shared.wires.check(&to, Way::Out)?;
        if self.shared.routes.is_closing() {
            return Err(Error::cancelled());
        }
        match self.shared.keep_connected(to) {
            Some(connected) => connected.await,
            None => Ok(()),
        }
    }
}
