//! What errors of rustls are about.

use std::error::Error as _;
use std::io;

use rustls::{AlertDescription, Error as Rustls};

use super::verify::Refused;
use crate::error::{Break, Error, ErrorKind, Operation, TlsFailure};

/// A certificate that we do not accept.
#[derive(Debug, thiserror::Error)]
#[error("asked for `{}`, {}: {why}", .refused.name, issued(.refused))]
struct Stranger {
    refused: Refused,
    #[source]
    why: Rustls,
}

fn issued(refused: &Refused) -> String {
    match &refused.issuer {
        Some(issuer) => format!("the certificate is issued by `{issuer}`"),
        None => "the issuer of the certificate has no name".to_owned(),
    }
}

/// An alert of a peer that has proved who it is: anybody can send one before that.
#[derive(Debug, thiserror::Error)]
#[error("it wants a certificate, and was shown none")]
struct Uncertified(#[source] Rustls);

/// The error of a handshake, in which this certificate was refused, if one was.
pub(super) fn of_handshake(error: Rustls, refused: Option<Refused>) -> Error {
    let failure = match &error {
        Rustls::InvalidCertificate(_)
        | Rustls::InvalidCertRevocationList(_)
        | Rustls::NoCertificatesPresented => TlsFailure::Certificate,
        Rustls::AlertReceived(_) => TlsFailure::Refused,
        _ => TlsFailure::Protocol,
    };
    let failed = Error::new(Operation::Handshake, ErrorKind::Tls(failure));
    match refused.filter(|_| failure == TlsFailure::Certificate) {
        Some(refused) => failed.with_source(Stranger {
            refused,
            why: error,
        }),
        None => failed.with_source(error),
    }
}

/// Whether the peer wants a certificate and was shown none, and it was the peer that said so.
pub(crate) fn wants_certificate(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(now) = cause {
        if now.is::<Uncertified>() {
            return true;
        }
        cause = now.source();
    }
    false
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
        Rustls::AlertReceived(alert) if accepted == Accepted::NotYet => match alert {
            AlertDescription::CertificateRequired => {
                let kind = ErrorKind::Tls(TlsFailure::Refused);
                Error::new(Operation::Handshake, kind).with_source(Uncertified(error))
            }
            _ => of_handshake(error, None),
        },
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
