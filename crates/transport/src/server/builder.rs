use std::fmt;
use std::sync::Arc;

use bowline_codec::Codec;
use bowline_concurrency::Root;

use super::bind::Bind;
#[cfg(feature = "tls")]
use super::bind::Secure;
use super::bound::{Bound, Served};
use super::handler::ConnectionHandler;
use super::limits::ServerLimits;
use super::state::State;
use crate::error::{Error, Operation};
use crate::listener::Listener;
use crate::message_stream::MessageStreamBuilder;
#[cfg(feature = "tls")]
use crate::tls::TlsServerConfig;

/// What a server speaks that was not told: it has no codec, and cannot be bound.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NoCodec;

/// A server of messages over byte streams that does not listen yet; made by
/// [`Server`](crate::Server).
#[derive(Clone)]
#[must_use = "a server does nothing until it is bound and served"]
pub struct StreamServer<B, F = fn() -> NoCodec> {
    place: B,
    codec: F,
    limits: ServerLimits,
    stream: MessageStreamBuilder,
}

impl<B> StreamServer<B> {
    pub(super) fn at(place: B) -> Self {
        StreamServer {
            place,
            codec: || NoCodec,
            limits: ServerLimits::new(),
            stream: MessageStreamBuilder::default(),
        }
    }

    /// Speaks what `codec` makes, a codec for each connection.
    pub fn codec<F, C>(self, codec: F) -> StreamServer<B, F>
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Codec,
    {
        StreamServer {
            place: self.place,
            codec,
            limits: self.limits,
            stream: self.stream,
        }
    }
}

impl<B, F> StreamServer<B, F> {
    /// Makes every connection secure. The handshake goes on in the connection's own task.
    #[cfg(feature = "tls")]
    pub fn tls(self, config: TlsServerConfig) -> StreamServer<Secure<B>, F> {
        StreamServer {
            place: Secure {
                place: self.place,
                config,
            },
            codec: self.codec,
            limits: self.limits,
            stream: self.stream,
        }
    }

    /// What the server takes at most.
    pub fn limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Limits of each connection: how much may wait to be sent, and for how long. The
    /// [`idle_timeout`](ServerLimits::idle_timeout) and the
    /// [`frame_timeout`](ServerLimits::frame_timeout) of the server, where there are, and its
    /// [`linger`](ServerLimits::linger) count instead of those of the stream.
    pub fn stream(mut self, stream: MessageStreamBuilder) -> Self {
        self.stream = stream;
        self
    }

    /// Listens: afterwards the addresses are known, and who connects waits to be accepted. Where the
    /// server was not told what to [speak](StreamServer::codec) the compiler says that
    /// `NoCodec` is no codec:
    ///
    /// ```compile_fail,E0277
    /// # async fn wrong() -> Result<(), bowline_transport::Error> {
    /// bowline_transport::Server::tcp("127.0.0.1:0").bind().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Why it cannot listen there.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    pub async fn bind<C>(self) -> Result<Bound<B::Listener, F>, Error>
    where
        B: Bind,
        F: Fn() -> C,
        C: Codec,
    {
        let place = self.place.stalling(self.stream.stall());
        let listener = place.bind().await?;
        let local_addrs = listener.local_addrs();
        let local_addrs = local_addrs.map_err(|error| Error::from_io(Operation::Bind, error))?;
        let stream = self.stream.linger(self.limits.linger);
        let stream = match self.limits.idle_timeout {
            Some(most) => stream.read_idle_timeout(most),
            None => stream,
        };
        let stream = match self.limits.frame_timeout {
            Some(most) => stream.frame_timeout(most),
            None => stream,
        };
        Ok(Bound {
            state: Arc::new(State::new(self.limits, local_addrs)),
            listener,
            codec: self.codec,
            stream,
        })
    }
}

impl<B, F, C> StreamServer<B, F>
where
    B: Bind,
    F: Fn() -> C + Send + Sync + 'static,
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    /// Listens and serves on the current backend, in this thread, until the server is stopped or
    /// drained: by the handle that [`on_start`](ConnectionHandler::on_start) gets.
    ///
    /// # Errors
    ///
    /// As [`bind`](StreamServer::bind) and [`serve`](Bound::serve).
    ///
    /// # Panics
    ///
    /// Where a backend runs on this thread already, and with no backend compiled in. As
    /// [`serve`](Bound::serve).
    pub fn serve_blocking<H>(self, handler: H) -> Result<(), Error>
    where
        H: ConnectionHandler<Served<B::Listener, C>> + 'static,
    {
        Root::new().block_on(async { self.bind().await?.serve(handler).await })
    }
}

impl<B: fmt::Debug, F> fmt::Debug for StreamServer<B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamServer")
            .field("place", &self.place)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
