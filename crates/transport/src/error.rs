//! What can go wrong between two programs, and what can be done about it.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use bowline_backend::stream::Address;
use bowline_codec::{DecodeError, EncodeError, EncodeErrorKind};

/// A failure of a transport.
///
/// [`kind`](Error::kind) says what to do now, [`delivery`](Error::delivery) whether the peer may
/// have received the message concerned, [`source`](std::error::Error::source) what lay beneath:
/// errors of codecs and of the system are kept whole, never flattened into text.
///
/// # Examples
///
/// ```
/// use bowline_transport::{Break, Error, ErrorKind, Operation};
///
/// let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
/// let error = Error::from_io(Operation::Recv, reset);
/// assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset));
/// assert!(error.is_connection() && !error.is_retryable());
/// assert_eq!(error.to_string(), "recv: the connection is broken: reset by the peer");
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: Operation,
    peer: Option<Address>,
    delivery: Delivery,
    unsent_frames: usize,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What an [`Error`] is about, by what the program can do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nobody listens there.
    Refused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The peer cannot be reached.
    Connect,
    /// There is no connection.
    NotConnected,
    /// We said that no more will come.
    Closed,
    /// The peer said that no more will come.
    Ended,
    /// The connection failed.
    Broken(Break),
    /// The codec refused the message; nothing was sent and the transport is usable.
    Encode,
    /// The codec refused what came; whether reading can go on is the codec error's to say.
    Decode,
    /// The message is above the limit; nothing was sent and the transport is usable.
    TooLarge {
        /// The most that is allowed, in bytes.
        limit: usize,
    },
    /// The operation was not done in time.
    Elapsed,
    /// Another task is doing the same.
    Busy,
    /// The address is in use, not ours, or malformed.
    Address,
    /// The system has no descriptors, buffers or memory left.
    Resource,
    /// The system does not allow it.
    Permission,
    /// This transport or backend cannot do it.
    Unsupported,
}

/// How a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Break {
    /// The peer, or something between us, reset it.
    Reset,
    /// It ended inside a frame; the source has the numbers.
    Truncated,
    /// The stream took no byte of a write that was not empty.
    WriteZero,
    /// The peer took no byte of what waited for it, for longer than is allowed.
    Stalled,
    /// The byte stream below panicked in a write.
    Panicked,
    /// Anything else; the source says what.
    Other,
}

/// Whether the peer may have received the message that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// No byte of it was handed to the stream.
    NotSent,
    /// Some or all of it was.
    MaybeSent,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Making a connection.
    Connect,
    /// Waiting for room, encoding or queueing a message.
    Send,
    /// Waiting for a message.
    Recv,
    /// Waiting until all that was queued is written.
    Flush,
    /// Ending the sending side.
    Shutdown,
    /// Closing the transport.
    Close,
    /// Handing the byte stream to another protocol.
    Upgrade,
}

impl Error {
    /// An error of this kind, [`NotSent`](Delivery::NotSent) and without a source.
    pub fn new(operation: Operation, kind: ErrorKind) -> Self {
        Error(Box::new(Inner {
            kind,
            operation,
            peer: None,
            delivery: Delivery::NotSent,
            unsent_frames: 0,
            source: None,
        }))
    }

    /// The error of a byte stream, classified by its [`io::ErrorKind`].
    ///
    /// While connecting nothing can have been sent; otherwise it may have been.
    pub fn from_io(operation: Operation, error: io::Error) -> Self {
        let connecting = operation == Operation::Connect;
        let this = Error::new(operation, classify(operation, error.kind())).with_source(error);
        if connecting {
            this
        } else {
            this.with_delivery(Delivery::MaybeSent)
        }
    }

    /// The refusal of an encoder: nothing was sent.
    pub fn from_encode(error: EncodeError) -> Self {
        let kind = match (error.kind(), error.limit()) {
            (EncodeErrorKind::TooLong { .. }, Some(limit)) => ErrorKind::TooLarge { limit },
            _ => ErrorKind::Encode,
        };
        Error::new(Operation::Send, kind).with_source(error)
    }

    /// The refusal of a decoder.
    pub fn from_decode(error: DecodeError) -> Self {
        Error::new(Operation::Recv, ErrorKind::Decode)
            .with_delivery(Delivery::MaybeSent)
            .with_source(error)
    }

    /// Keeps what lay beneath.
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Says who was at the other end.
    pub fn with_peer(mut self, peer: Option<Address>) -> Self {
        self.0.peer = peer;
        self
    }

    /// Says whether the message may have arrived.
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = delivery;
        self
    }

    /// Says how many queued frames were not wholly written.
    pub fn with_unsent_frames(mut self, frames: usize) -> Self {
        self.0.unsent_frames = frames;
        self
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// Who was at the other end, where known.
    pub fn peer(&self) -> Option<&Address> {
        self.0.peer.as_ref()
    }

    /// Whether the peer may have received the message concerned.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// How many queued frames had not wholly been written when the connection broke.
    pub fn unsent_frames(&self) -> usize {
        self.0.unsent_frames
    }

    /// Whether the connection could not be made, or is gone.
    pub fn is_connection(&self) -> bool {
        use ErrorKind::*;
        matches!(
            self.kind(),
            Refused | ConnectTimeout | Connect | NotConnected | Closed | Ended | Broken(_)
        )
    }

    /// Whether it is about one message, and not about the connection.
    pub fn is_message(&self) -> bool {
        use ErrorKind::*;
        matches!(self.kind(), Encode | Decode | TooLarge { .. })
    }

    /// Whether a time limit passed.
    pub fn is_timeout(&self) -> bool {
        use ErrorKind::*;
        matches!(
            self.kind(),
            ConnectTimeout | Elapsed | Broken(Break::Stalled)
        )
    }

    /// Whether we closed the transport ourselves.
    pub fn is_closed(&self) -> bool {
        self.kind() == ErrorKind::Closed
    }

    /// Whether the same again may work, and cannot do anything twice.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::*;
        match self.kind() {
            Refused | ConnectTimeout | Connect | Resource => true,
            Broken(_) => self.delivery() == Delivery::NotSent,
            _ => false,
        }
    }
}

fn classify(operation: Operation, kind: io::ErrorKind) -> ErrorKind {
    use io::ErrorKind as Io;
    match kind {
        Io::ConnectionRefused => ErrorKind::Refused,
        Io::TimedOut if operation == Operation::Connect => ErrorKind::ConnectTimeout,
        Io::NotFound | Io::HostUnreachable | Io::NetworkUnreachable => ErrorKind::Connect,
        Io::NotConnected => ErrorKind::NotConnected,
        Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe => {
            ErrorKind::Broken(Break::Reset)
        }
        Io::WriteZero => ErrorKind::Broken(Break::WriteZero),
        Io::UnexpectedEof => ErrorKind::Broken(Break::Truncated),
        Io::AddrInUse | Io::AddrNotAvailable | Io::InvalidInput => ErrorKind::Address,
        Io::OutOfMemory => ErrorKind::Resource,
        Io::PermissionDenied => ErrorKind::Permission,
        Io::Unsupported => ErrorKind::Unsupported,
        _ if operation == Operation::Connect => ErrorKind::Connect,
        _ => ErrorKind::Broken(Break::Other),
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("peer", &self.0.peer)
            .field("delivery", &self.0.delivery)
            .field("unsent_frames", &self.0.unsent_frames)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.kind)?;
        if let Some(peer) = &self.0.peer {
            write!(f, " (peer {peer})")?;
        }
        if self.0.unsent_frames > 0 {
            write!(f, ", {} frames unsent", self.0.unsent_frames)?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Connect => "connect",
            Operation::Send => "send",
            Operation::Recv => "recv",
            Operation::Flush => "flush",
            Operation::Shutdown => "shutdown",
            Operation::Close => "close",
            Operation::Upgrade => "upgrade",
        })
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::Refused => "the connection was refused",
            ErrorKind::ConnectTimeout => "the connection was not made in time",
            ErrorKind::Connect => "the peer cannot be reached",
            ErrorKind::NotConnected => "there is no connection",
            ErrorKind::Closed => "the transport is closed",
            ErrorKind::Ended => "the peer has ended",
            ErrorKind::Broken(how) => return write!(f, "the connection is broken: {how}"),
            ErrorKind::Encode => "the message cannot be encoded",
            ErrorKind::Decode => "what came cannot be decoded",
            ErrorKind::TooLarge { limit } => {
                return write!(f, "the message is above the limit of {limit} bytes");
            }
            ErrorKind::Elapsed => "it was not done in time",
            ErrorKind::Busy => "another task is doing the same",
            ErrorKind::Address => "the address is in use, not ours, or malformed",
            ErrorKind::Resource => "the system has no resources left",
            ErrorKind::Permission => "the system does not allow it",
            ErrorKind::Unsupported => "it is not supported here",
        })
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Break::Reset => "reset by the peer",
            Break::Truncated => "it ended inside a frame",
            Break::WriteZero => "no more bytes are taken",
            Break::Stalled => "the peer took nothing for too long",
            Break::Panicked => "the stream panicked",
            Break::Other => "the stream failed",
        })
    }
}
