//! What an error is about, in closed sets.

use std::fmt;

/// What an [`Error`](crate::Error) is about, by what the program can do now.
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
    /// The codec refused one message that came; the next `recv` goes on with what comes after it.
    Decode,
    /// So many messages came unasked, were received by nobody and made room for later ones; the next
    /// `recv` goes on with those.
    Lagged {
        /// How many are missing.
        missed: usize,
    },
    /// The message is above the limit; nothing was sent and the transport is usable.
    TooLarge {
        /// The most that is allowed, in bytes.
        limit: usize,
    },
    /// The operation was not done in time.
    Elapsed,
    /// Another task is doing the same, or has to do something first that the source names.
    Busy,
    /// No secure connection came about: the handshake failed.
    Tls(TlsFailure),
    /// The address is in use, not ours, or malformed.
    Address,
    /// The system has no descriptors, buffers, memory or ports to connect from left.
    Resource,
    /// The system does not allow it.
    Permission,
    /// What was asked for makes no sense: a key, a value, a certificate, a scheme; the source says
    /// which. Nothing was tried.
    Config,
    /// This transport or backend cannot do it.
    Unsupported,
    /// A transport has an error of its own, for which there is no kind here.
    Specific {
        /// The name of the transport.
        transport: &'static str,
        /// Its number for what went wrong.
        code: i64,
    },
    /// Code that was called panicked; the source has the text.
    Panic,
}

/// How a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Break {
    /// The peer, or something between us, reset it.
    Reset,
    /// It ended inside a frame; the source has the numbers.
    Truncated,
    /// The peer ended without saying so in TLS: somebody between us may have cut the end off.
    TruncatedTls,
    /// The stream took no byte of a write that was not empty.
    WriteZero,
    /// The peer took no byte of what waited for it for longer than is allowed, or the system gave it up, for it
    /// acknowledged nothing, not even a probe.
    Stalled,
    /// A frame of the peer's had begun and was not whole in time.
    SlowFrame,
    /// The codec refused what came and cannot tell where the next message begins; the source has its
    /// error. Nothing can be received any more; what is sent still goes out.
    Undecodable,
    /// The byte stream below panicked in a write.
    Panicked,
    /// Anything else; the source says what.
    Other,
}

/// Why a TLS handshake failed. The source has the words of the TLS library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailure {
    /// We do not accept the peer's certificate, or it has none; the peer was told by an alert.
    Certificate,
    /// The peer refused by an alert: it does not accept our certificate, or cannot agree with us on
    /// a name or protocol.
    Refused,
    /// What came is no TLS: the peer speaks another protocol.
    Plaintext,
    /// It was not done in time.
    Timeout,
    /// We cannot agree, or the peer broke the protocol; it was told by an alert.
    Protocol,
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
    /// Making a configuration.
    Setup,
    /// Making a connection.
    Connect,
    /// Taking an address to listen or receive at.
    Bind,
    /// Waiting for a connection.
    Accept,
    /// Serving connections.
    Serve,
    /// Making a connection secure.
    Handshake,
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

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Setup => "setup",
            Operation::Connect => "connect",
            Operation::Bind => "bind",
            Operation::Accept => "accept",
            Operation::Serve => "serve",
            Operation::Handshake => "handshake",
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
            ErrorKind::Lagged { missed: 1 } => {
                "1 message that nobody received was dropped for a later one"
            }
            ErrorKind::Lagged { missed } => {
                return write!(
                    f,
                    "{missed} messages that nobody received were dropped for later ones"
                );
            }
            ErrorKind::TooLarge { limit } => {
                return write!(f, "the message is above the limit of {limit} bytes");
            }
            ErrorKind::Elapsed => "it was not done in time",
            ErrorKind::Busy => "another task is doing the same",
            ErrorKind::Tls(how) => return write!(f, "the TLS handshake failed: {how}"),
            ErrorKind::Config => "it is not set up correctly",
            ErrorKind::Address => "the address is in use, not ours, or malformed",
            ErrorKind::Resource => "the system has no resources left",
            ErrorKind::Permission => "the system does not allow it",
            ErrorKind::Unsupported => "it is not supported here",
            ErrorKind::Specific { transport, code } => {
                return write!(f, "the transport {transport} failed with code {code}");
            }
            ErrorKind::Panic => "it panicked",
        })
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Break::Reset => "reset by the peer",
            Break::Truncated => "it ended inside a frame",
            Break::TruncatedTls => "it ended without a close_notify of TLS",
            Break::WriteZero => "no more bytes are taken",
            Break::Stalled => "the peer took nothing for too long",
            Break::SlowFrame => "a frame took the peer too long",
            Break::Undecodable => "what came cannot be decoded, nor what follows it",
            Break::Panicked => "the stream panicked",
            Break::Other => "the stream failed",
        })
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsFailure::Certificate => "the certificate of the peer is not accepted",
            TlsFailure::Refused => "the peer refused",
            TlsFailure::Plaintext => "the peer does not speak TLS",
            TlsFailure::Timeout => "it was not done in time",
            TlsFailure::Protocol => "no agreement",
        })
    }
}
