//! What can go wrong between two programs, and what can be done about it.

mod attempt;
mod kind;
mod text;
mod time_limit;

pub use attempt::Attempt;
pub use kind::{Break, Delivery, ErrorKind, Operation, TlsFailure};
pub(crate) use time_limit::TimeLimit;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::accept_error::AcceptErrorKind;
use bowline_backend::stream::Address;
use bowline_codec::{DecodeError, EncodeError, EncodeErrorKind};

use crate::params::ParamError;
use crate::url::UrlError;

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
    place: Option<Arc<str>>,
    delivery: Delivery,
    unsent_frames: usize,
    attempts: Arc<[Attempt]>,
    given_up: Option<(usize, Duration)>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind, [`NotSent`](Delivery::NotSent) and without a source.
    pub fn new(operation: Operation, kind: ErrorKind) -> Self {
        Error(Box::new(Inner {
            kind,
            operation,
            peer: None,
            place: None,
            delivery: Delivery::NotSent,
            unsent_frames: 0,
            attempts: Arc::default(),
            given_up: None,
            source: None,
        }))
    }

    /// The error of a byte stream or socket, by the [`ErrorKind`] of an error of ours inside it,
    /// else by the system's code or by its [`io::ErrorKind`].
    ///
    /// Before there is a connection nothing can have been sent; otherwise it may have been.
    pub fn from_io(operation: Operation, error: io::Error) -> Self {
        use Operation::{Accept, Bind, Connect, Handshake};
        let this = Error::new(operation, classify(operation, &error)).with_source(error);
        match operation {
            Connect | Bind | Accept | Handshake => this,
            _ => this.with_delivery(Delivery::MaybeSent),
        }
    }

    /// What failed attempts come to: what they have in common, if they do. Connections were to be
    /// made `from` an address, or from any.
    pub(crate) fn of_attempts(
        operation: Operation,
        attempts: Vec<Attempt>,
        from: Option<SocketAddr>,
    ) -> Self {
        let kind_of = |attempt: &Attempt| match attempt.error().kind() {
            io::ErrorKind::AddrNotAvailable if from.is_some() => ErrorKind::Address,
            _ => classify(operation, attempt.error()),
        };
        let mut kinds = attempts.iter().map(kind_of);
        let first = kinds.next().unwrap_or(ErrorKind::Connect);
        let kind = match kinds.all(|kind| kind == first) {
            true => first,
            false => ErrorKind::Connect,
        };
        let mut error = Error::new(operation, kind);
        if let Some(last) = attempts.last() {
            error = error.with_source(last.clone());
        }
        // Where we would listen is nobody else's address.
        if let [only] = &attempts[..]
            && operation != Operation::Bind
        {
            error = error.with_peer(Some(only.address().clone()));
        }
        error.with_attempts(attempts)
    }

    /// The error that an [`io::Error`] of a byte stream of ours holds.
    pub(crate) fn inside(error: &io::Error) -> Option<&Error> {
        error.get_ref()?.downcast_ref()
    }

    /// The refusal of an encoder: nothing was sent.
    pub fn from_encode(error: EncodeError) -> Self {
        let kind = match (error.kind(), error.limit()) {
            (EncodeErrorKind::TooLong { .. }, Some(limit)) => ErrorKind::TooLarge { limit },
            _ => ErrorKind::Encode,
        };
        Error::new(Operation::Send, kind).with_source(error)
    }

    /// The refusal of a decoder: [`Decode`](ErrorKind::Decode) where it goes on with the next frame,
    /// else [`Broken`](ErrorKind::Broken) as [`Undecodable`](Break::Undecodable).
    pub fn from_decode(error: DecodeError) -> Self {
        let kind = match error.is_recoverable() {
            true => ErrorKind::Decode,
            false => ErrorKind::Broken(Break::Undecodable),
        };
        Error::new(Operation::Recv, kind)
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

    /// Says what it is about where that is no peer: an address of ours, a name or a URL.
    pub fn with_place(mut self, place: impl fmt::Display) -> Self {
        self.0.place = Some(place.to_string().into());
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

    /// Says what was tried to make the connection.
    pub fn with_attempts(mut self, attempts: impl Into<Arc<[Attempt]>>) -> Self {
        self.0.attempts = attempts.into();
        self
    }

    /// Says after how many attempts, and after how long, there will be no other.
    pub(crate) fn given_up_after(mut self, attempts: usize, span: Duration) -> Self {
        self.0.given_up = Some((attempts, span));
        self
    }

    /// The same of another operation, on behalf of which it was found.
    pub(crate) fn of(mut self, operation: Operation) -> Self {
        self.0.operation = operation;
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

    /// What it is about where that is no peer: the address or path that was to be listened at, the
    /// name that was to be looked up, the URL that was to be read. Of a URL it is what comes before the
    /// query, without user info, which may be secrets.
    pub fn place(&self) -> Option<&str> {
        self.0.place.as_deref()
    }

    /// Whether the peer may have received the message concerned.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// How many queued frames had not wholly been written when the connection broke.
    pub fn unsent_frames(&self) -> usize {
        self.0.unsent_frames
    }

    /// The attempts to make the connection that failed, in the order in which they did; of one
    /// that was not to be made over several addresses it is empty.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// After how many attempts without a connection that lasts a client gave up; of its last one
    /// [`attempts`](Error::attempts) has the addresses.
    pub fn gave_up_after(&self) -> Option<usize> {
        self.0.given_up.map(|(attempts, _)| attempts)
    }

    /// Whether the connection could not be made, or is gone.
    pub fn is_connection(&self) -> bool {
        use ErrorKind::*;
        matches!(
            self.kind(),
            Refused | ConnectTimeout | Connect | NotConnected | Closed | Ended | Broken(_)
        )
    }

    /// Whether it is about messages, and not about the connection: the next one can be sent, or
    /// received, as if nothing had happened. False of what leaves nothing to receive, such as
    /// [`Undecodable`](Break::Undecodable): who asks on after it gets no other answer.
    pub fn is_message(&self) -> bool {
        use ErrorKind::*;
        matches!(
            self.kind(),
            Encode | Decode | TooLarge { .. } | Lagged { .. }
        )
    }

    /// Whether exactly one message came, which the codec refused: what follows is not that one any more.
    pub(crate) fn is_of_one_that_came(&self) -> bool {
        let cause = self.0.source.as_ref();
        let cause = cause.and_then(|cause| cause.downcast_ref::<DecodeError>());
        self.kind() == ErrorKind::Decode && cause.is_some_and(DecodeError::is_in_frame)
    }

    /// Whether a time limit passed.
    pub fn is_timeout(&self) -> bool {
        use ErrorKind::*;
        matches!(
            self.kind(),
            ConnectTimeout
                | Elapsed
                | Broken(Break::Stalled | Break::SlowFrame)
                | Tls(TlsFailure::Timeout)
        )
    }

    /// Whether the connection is over with it: it is not about one message, or one try.
    pub(crate) fn is_final(&self) -> bool {
        match self.kind() {
            ErrorKind::Elapsed | ErrorKind::Busy => false,
            _ => !self.is_message(),
        }
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

impl From<UrlError> for Error {
    /// Of a transport that was to be made by it.
    fn from(error: UrlError) -> Self {
        Error::new(Operation::Connect, ErrorKind::Config).with_source(error)
    }
}

impl From<ParamError> for Error {
    /// Of a transport that was to be made with it.
    fn from(error: ParamError) -> Self {
        Error::new(Operation::Connect, ErrorKind::Config).with_source(error)
    }
}

/// What the error of a write or read below is about.
pub(crate) fn classify(operation: Operation, error: &io::Error) -> ErrorKind {
    use io::ErrorKind as Io;
    if let Some(inside) = Error::inside(error) {
        return inside.kind();
    }
    match error.kind() {
        Io::ConnectionRefused => ErrorKind::Refused,
        Io::TimedOut if operation == Operation::Connect => ErrorKind::ConnectTimeout,
        // The system gave up a peer that answered nothing: no acknowledgement, no probe.
        Io::TimedOut => ErrorKind::Broken(Break::Stalled),
        Io::NotFound | Io::HostUnreachable | Io::NetworkUnreachable => ErrorKind::Connect,
        Io::NotConnected => ErrorKind::NotConnected,
        Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe => {
            ErrorKind::Broken(Break::Reset)
        }
        Io::WriteZero => ErrorKind::Broken(Break::WriteZero),
        Io::UnexpectedEof => ErrorKind::Broken(Break::Truncated),
        // The system chooses where we connect from: it has no port left for that.
        Io::AddrNotAvailable if operation == Operation::Connect => ErrorKind::Resource,
        Io::AddrInUse | Io::AddrNotAvailable | Io::InvalidInput => ErrorKind::Address,
        Io::PermissionDenied => ErrorKind::Permission,
        Io::Unsupported => ErrorKind::Unsupported,
        _ if AcceptErrorKind::of(error) == AcceptErrorKind::Exhausted => ErrorKind::Resource,
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
            .field("place", &self.0.place)
            .field("delivery", &self.0.delivery)
            .field("unsent_frames", &self.0.unsent_frames)
            .field("attempts", &self.0.attempts)
            .field("given_up", &self.0.given_up)
            .field("source", &self.0.source)
            .finish()
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
