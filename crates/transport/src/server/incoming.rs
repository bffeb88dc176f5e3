use std::future::{Future, ready};

use bowline_backend::stream::ByteStream;

use crate::attribute::Extra;
use crate::error::Error;
#[cfg(feature = "tls")]
use crate::tls::{TlsHandshake, TlsStream};

/// What a [`Listener`](crate::Listener) of a server hands out: a byte stream, or what becomes one
/// after a handshake.
///
/// Every byte stream is one as it is.
pub trait Incoming: Send {
    /// What it becomes.
    type Stream: ByteStream + Extra;

    /// Waits until the peer has said something, where [`establish`](Self::establish) needs it to: a server
    /// gives nobody who is silent one of the places for handshakes.
    ///
    /// # Errors
    ///
    /// Why it never will.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    fn heard(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        ready(Ok(()))
    }

    /// Makes it ready for messages. A server calls it in the task of the connection.
    ///
    /// # Errors
    ///
    /// Why there is no stream, say [`Tls`](crate::ErrorKind::Tls).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the connection.
    fn establish(self) -> impl Future<Output = Result<Self::Stream, Error>> + Send;

    /// Gives the connection up; a TCP peer sees a reset.
    fn refuse(self);
}

impl<S: ByteStream + Extra> Incoming for S {
    type Stream = S;

    fn establish(self) -> impl Future<Output = Result<S, Error>> + Send {
        ready(Ok(self))
    }

    fn refuse(self) {
        self.abort();
    }
}

#[cfg(feature = "tls")]
impl<S: ByteStream + Extra> Incoming for TlsHandshake<S> {
    type Stream = TlsStream<S>;

    fn heard(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        TlsHandshake::heard(self)
    }

    fn establish(self) -> impl Future<Output = Result<TlsStream<S>, Error>> + Send {
        self.into_future()
    }

    fn refuse(self) {
        self.abort();
    }
}
