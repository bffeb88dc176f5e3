use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::incoming::Incoming;
use crate::error::Error;
use crate::listener::Listener;
use crate::listeners::{Listeners, ListenersBuilder};
use crate::memory::{MemoryListener, MemoryNetwork};
#[cfg(feature = "tls")]
use crate::tls::{TlsListener, TlsServerConfig};

/// A place to listen at, before anybody does.
pub trait Bind: Send {
    /// What listens there.
    type Listener: Listener<Connection: Incoming> + 'static;

    /// Listens.
    ///
    /// # Errors
    ///
    /// Why that is not possible.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    fn bind(self) -> impl Future<Output = Result<Self::Listener, Error>> + Send;

    /// The same place, for a server that lets a peer take nothing for so long, `None` for ever
    /// ([`write_stall_timeout`](crate::MessageStreamBuilder::write_stall_timeout)): no system is to give
    /// up sooner who is accepted there. A server says so before it binds.
    ///
    /// As it was by default: for places that set no such limit.
    #[must_use = "this returns the changed place"]
    fn stalling(self, most: Option<Duration>) -> Self
    where
        Self: Sized,
    {
        let _ = most;
        self
    }
}

impl Bind for ListenersBuilder {
    type Listener = Listeners;

    fn bind(self) -> impl Future<Output = Result<Listeners, Error>> + Send {
        ListenersBuilder::bind(self.for_messages())
    }

    fn stalling(self, most: Option<Duration>) -> Self {
        ListenersBuilder::stalling(self, most)
    }
}

/// A name of a network in memory.
#[derive(Clone, Debug)]
pub struct MemoryPlace {
    pub(super) network: MemoryNetwork,
    pub(super) name: Arc<str>,
}

impl Bind for MemoryPlace {
    type Listener = MemoryListener;

    async fn bind(self) -> Result<MemoryListener, Error> {
        self.network.listen(self.name)
    }
}

/// A listener that was made already.
#[derive(Debug)]
pub struct Listening<L>(pub(super) L);

impl<L: Listener<Connection: Incoming> + 'static> Bind for Listening<L> {
    type Listener = L;

    async fn bind(self) -> Result<L, Error> {
        Ok(self.0)
    }
}

/// A place at which every connection becomes secure.
#[cfg(feature = "tls")]
#[derive(Clone, Debug)]
pub struct Secure<B> {
    pub(super) place: B,
    pub(super) config: TlsServerConfig,
}

#[cfg(feature = "tls")]
impl<B> Bind for Secure<B>
where
    B: Bind,
    <B::Listener as Listener>::Connection: bowline_backend::stream::ByteStream + crate::Extra,
{
    type Listener = TlsListener<B::Listener>;

    async fn bind(self) -> Result<Self::Listener, Error> {
        let listener = self.place.bind().await?;
        Ok(TlsListener::new(listener, self.config))
    }

    fn stalling(self, most: Option<Duration>) -> Self {
        Secure {
            place: self.place.stalling(most),
            config: self.config,
        }
    }
}
