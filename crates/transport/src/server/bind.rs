use std::future::Future;
use std::sync::Arc;

#[cfg(unix)]
use bowline_backend::net::UnixListener;
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;

use super::incoming::Incoming;
use crate::error::Error;
#[cfg(unix)]
use crate::error::Operation;
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
}

impl Bind for ListenersBuilder {
    type Listener = Listeners;

    fn bind(self) -> impl Future<Output = Result<Listeners, Error>> + Send {
        ListenersBuilder::bind(self)
    }
}

/// The path of a Unix socket.
#[cfg(unix)]
#[derive(Clone, Debug)]
pub struct UnixPlace(pub(super) std::path::PathBuf);

#[cfg(unix)]
impl Bind for UnixPlace {
    type Listener = UnixListener;

    async fn bind(self) -> Result<UnixListener, Error> {
        let address = UnixAddress::from_path(self.0);
        let bound = address.and_then(|address| UnixListener::bind(&address));
        bound.map_err(|error| Error::from_io(Operation::Bind, error))
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
}
