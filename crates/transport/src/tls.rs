//! Secure streams: TLS 1.2 and 1.3 by rustls, driven over memory buffers, so that they run over any
//! byte stream on any backend.

mod cert_store;
mod client;
mod exporter;
mod failure;
mod handshake;
mod info;
mod issuer;
mod listener;
mod manner;
#[cfg(feature = "native-roots")]
mod native_roots;
mod pem;
mod records;
mod server;
mod session;
mod stream;
mod verify;

pub use cert_store::CertStore;
pub use client::{TlsClientBuilder, TlsClientConfig};
pub use exporter::{KeyExportError, KeyExporter, TlsExporter};
pub(crate) use failure::wants_certificate;
pub use handshake::TlsHandshake;
pub use info::{TlsDetails, TlsInfo};
pub use listener::TlsListener;
pub use manner::CloseMode;
pub use server::{ClientCertificates, TlsServerBuilder, TlsServerConfig};
pub use stream::{TlsReadHalf, TlsStream, TlsWriteHalf};

use std::sync::Arc;

use bowline_backend::time;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// The cryptography that is used; named here, for a default of the process could be anybody's.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The wall clock of the backend, by which certificates are judged.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(time::unix_time()))
    }
}
