//! What errors of rustls are about.

use std::error::Error as _;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as Rustls};

use crate::error::{Break, Error, ErrorKind, Operation, TlsFailure};

/// The error of a handshake.
pub(super) fn of_handshake(error: Rustls) -> Error {
    let failure = match &error {
        Rustls::InvalidCertificate(_)
        | Rustls::InvalidCertRevocationList(_)
        | Rustls::NoCertificatesPresented => TlsFailure::Certificate,
        Rustls::AlertReceived(_) => TlsFailure::Refused,
        _ => TlsFailure::Protocol,
    };
    Error::new(Operation::Handshake, ErrorKind::Tls(failure)).with_source(error)
}

/// Whether the handshake would fail so at any time, with what both sides are: nobody whom we trust
/// answers for the peer, it is somebody else, or it wants a certificate and we have none. Where nothing
/// tells why a certificate is not accepted that counts too.
pub(crate) fn is_lasting(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(now) = cause {
        if let Some(error) = now.downcast_ref::<Rustls>() {
            return matches!(
                error,
                Rustls::InvalidCertificate(
                    CertificateError::UnknownIssuer
                        // Of another authority of a name that is trusted.
                        | CertificateError::BadSignature
                        | CertificateError::NotValidForName
                        | CertificateError::NotValidForNameContext { .. }
                ) | Rustls::AlertReceived(AlertDescription::CertificateRequired)
            );
        }
        cause = now.source();
    }
    error.kind() == ErrorKind::Tls(TlsFailure::Certificate)
}

/// Whether the peer is known to be content with the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    /// A server that asks for a certificate says what it thinks of ours only after our side of the
    /// handshake is done (TLS 1.3).
    NotYet,
    Yes,
}

/// The error of a connection that was secure.
pub(super) fn of_session(error: Rustls, accepted: Accepted) -> Error {
    match error {
        Rustls::AlertReceived(_) if accepted == Accepted::NotYet => of_handshake(error),
        error => Error::new(Operation::Recv, ErrorKind::Broken(Break::Other)).with_source(error),
    }
}

/// The error of keys that were to be derived.
pub(super) fn of_export(error: Rustls) -> Error {
    let kind = match &error {
        Rustls::HandshakeNotComplete => ErrorKind::NotConnected,
        _ => ErrorKind::Broken(Break::Other),
    };
    Error::new(Operation::Handshake, kind).with_source(error)
}

/// The first bytes were none of TLS.
pub(super) fn plaintext() -> Error {
    let kind = ErrorKind::Tls(TlsFailure::Plaintext);
    Error::new(Operation::Handshake, kind)
}

/// The stream below ended without a `close_notify`.
pub(super) fn truncated() -> Error {
    Error::new(Operation::Recv, ErrorKind::Broken(Break::TruncatedTls))
}

/// The same before there was a secure connection.
pub(super) fn truncated_handshake() -> Error {
    let kind = ErrorKind::Broken(Break::TruncatedTls);
    Error::new(Operation::Handshake, kind)
}

/// The peer wants nothing more to be sent.
pub(super) fn ended() -> Error {
    Error::new(Operation::Send, ErrorKind::Ended)
}

/// The peer did not take our last word in time.
pub(super) fn stalled() -> Error {
    Error::new(Operation::Close, ErrorKind::Broken(Break::Stalled))
}

/// An error of ours as one of a byte stream; [`Error::from_io`] finds it again.
pub(super) fn to_io(error: &Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::Broken(Break::TruncatedTls) => io::ErrorKind::UnexpectedEof,
        ErrorKind::Broken(Break::Stalled) => io::ErrorKind::TimedOut,
        ErrorKind::Ended => io::ErrorKind::BrokenPipe,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error.clone())
}

/// Whether `first` can begin a record of TLS: change cipher spec, alert, handshake, data.
pub(super) fn begins_record(first: u8) -> bool {
    (20..=23).contains(&first)
}
