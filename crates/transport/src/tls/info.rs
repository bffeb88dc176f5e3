use std::sync::Arc;

use rustls::{Connection, ProtocolVersion};

use crate::attribute::Attribute;

/// What was agreed upon in the handshake of a secure stream.
#[derive(Debug)]
pub enum TlsInfo {}

impl Attribute for TlsInfo {
    type Value = Arc<TlsDetails>;
}

/// What was agreed upon in a handshake; the answer to [`TlsInfo`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsDetails {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by the name that IANA gave it, where rustls knows it.
    pub cipher: Option<&'static str>,
    /// The protocol that both speak, if they talked about it (ALPN).
    pub alpn: Option<Vec<u8>>,
    /// The name that the client asked for (SNI): known to the server alone.
    pub sni: Option<String>,
    /// The certificates of the peer as it sent them, its own first, in DER; empty where it has
    /// none.
    pub peer_certificates: Vec<Vec<u8>>,
}

impl TlsDetails {
    /// Of a connection whose handshake is done.
    pub(super) fn of(tls: &Connection) -> TlsDetails {
        let sni = match tls {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        let certificates = tls.peer_certificates().unwrap_or_default();
        let version = match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let suite = tls.negotiated_cipher_suite();
        TlsDetails {
            version,
            cipher: suite.and_then(|suite| suite.suite().as_str()),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            sni,
            peer_certificates: certificates.iter().map(|one| one.to_vec()).collect(),
        }
    }
}
