//! The connection to one endpoint, as those see it who wait for it or look.

use std::sync::Arc;

use bowline_channel::{WatchReceiver, WatchSender, watch};

use super::Endpoint;
use crate::Error;

/// An endpoint that a broker connects to; from [`TcpBroker::dials`](super::TcpBroker::dials).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dial {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How far the connection is.
    pub reach: Reach,
}

/// How far the connection to an endpoint is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reach {
    /// It is up, and the peer has told its methods.
    Connected,
    /// There is none, and the broker goes on trying.
    Trying {
        /// Why there is none, once an attempt has failed or the connection was lost.
        last_failure: Option<Error>,
    },
    /// There is none, and nobody tries any longer: the next attempt would have ended the same way.
    GivenUp {
        /// What that is.
        failure: Error,
    },
}

/// The connection to one endpoint, over all attempts.
pub(super) struct Attempt {
    reach: (WatchSender<Reach>, WatchReceiver<Reach>),
}

impl Attempt {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            reach: watch(Reach::Trying { last_failure: None }),
        })
    }

    /// For who tries; whatever becomes of that, those who wait hear of it.
    pub(super) fn trying(self: &Arc<Self>) -> Trying {
        Trying(self.clone())
    }

    pub(super) fn reach(&self) -> Arc<Reach> {
        self.reach.0.latest()
    }

    pub(super) fn is_given_up(&self) -> bool {
        matches!(*self.reach(), Reach::GivenUp { .. })
    }

    /// The peer's methods are known.
    pub(super) fn connected(&self) {
        self.say(Reach::Connected);
    }

    /// There is no connection, for the time being.
    pub(super) fn failed(&self, error: Error) {
        let last_failure = Some(error);
        self.say(Reach::Trying { last_failure });
    }

    /// There is none and will be none.
    pub(super) fn give_up(&self, failure: Error) {
        if !self.is_given_up() {
            self.say(Reach::GivenUp { failure });
        }
    }

    fn say(&self, reach: Reach) {
        // There is a receiver: ours.
        let _ = self.reach.0.send(reach);
    }

    /// Completes when there is a connection, or never will be.
    pub(super) async fn settled(&self) -> Result<(), Error> {
        let mut changes = self.reach.0.subscribe();
        let mut now = changes.latest();
        loop {
            match &*now {
                Reach::Connected => return Ok(()),
                Reach::GivenUp { failure } => return Err(failure.clone()),
                Reach::Trying { .. } => {}
            }
            now = changes.changed().await.map_err(|_| Error::cancelled())?;
        }
    }
}

/// Gives an attempt up when it is dropped, as one who is cancelled cannot.
pub(super) struct Trying(pub(super) Arc<Attempt>);

impl Drop for Trying {
    fn drop(&mut self) {
        self.0.give_up(Error::cancelled());
    }
}
