//! One call to every peer.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use bowline_concurrency::{Completed, as_completed};

use crate::broker::{encoded, named, typed};
use crate::caller::Request;
use crate::{Broker, Call, CallError, CallOptions, CallType, Codec, Peer, Reply, Streaming};

/// What becomes of a call at one peer.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send>>;

/// A call on its way to one peer.
#[must_use = "dropping it cancels the call"]
pub struct Addressed {
    /// Who got it.
    pub peer: Peer,
    /// What becomes of it.
    pub outcome: Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send>>,
}

impl fmt::Debug for Addressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addressed")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// A call that is a value, to every peer, as a [`Request`].
#[derive(Debug)]
pub struct ToAll<C>(pub(crate) C);

impl<C: Call> Request for ToAll<C> {
    type Reply = Broadcast<C>;
    type Error = C::Error;

    fn named<E>(&self, broker: &impl Broker, error: CallError<E>) -> CallError<E> {
        named(broker, CallType::of::<C>(), error)
    }

    async fn send<B: Broker>(
        self,
        broker: B,
        options: CallOptions,
    ) -> Result<Broadcast<C>, CallError<C::Error>> {
        let codec = options.codec;
        let mut call = encoded(&broker, self.0, options)?;
        let method = call.method.clone();
        // Each replies, and has no items.
        call.streaming = Streaming::No;
        let sent = broker.submit_each(call).await.or_else(|error| {
            let error = error.of_method(method.clone());
            typed::<C>(codec, Err(error)).map(|_| Vec::new())
        })?;
        let (peers, outcomes): (Vec<_>, Vec<_>) = sent
            .into_iter()
            .map(|addressed| (addressed.peer, addressed.outcome))
            .unzip();
        Ok(Broadcast {
            method,
            peers,
            codec,
            outcomes: as_completed(outcomes),
            call: PhantomData,
        })
    }
}

/// The outcomes of a call at every peer, as they arrive; from
/// [`broadcast`](crate::Caller::broadcast). Dropping it cancels those to come.
#[must_use = "dropping it cancels the calls"]
pub struct Broadcast<C> {
    method: Arc<str>,
    peers: Vec<Peer>,
    codec: Codec,
    outcomes: Completed<Outcome>,
    call: PhantomData<fn() -> C>,
}

impl<C: Call> Broadcast<C> {
    /// Waits for the next outcome: whose, and what. None when every peer's was given.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub async fn next(&mut self) -> Option<(Peer, Result<C::Reply, CallError<C::Error>>)> {
        let (at, outcome) = self.outcomes.next().await?;
        let outcome = typed::<C>(self.codec, outcome);
        let outcome = outcome.map_err(|error| error.of_method(self.method.clone()));
        Some((self.peers[at].clone(), outcome))
    }

    /// The peers it went to.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }
}

impl<C> fmt::Debug for Broadcast<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}
