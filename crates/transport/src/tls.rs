//! Secure streams: TLS 1.2 and 1.3 by rustls, driven over memory buffers, so that they run over any
//! byte stream on any backend.

mod cert_store;
mod client;
mod exporter;
mod failure;
mod handshake;
mod info;
mod listener;
#[cfg(feature = "native-roots")]
mod native_roots;
mod pem;
mod server;
mod session;
mod stream;
mod verify;

pub use cert_store::CertStore;
pub use client::{TlsClientBuilder, TlsClientConfig};
pub use exporter::{KeyExportError, KeyExporter, TlsExporter};
pub use handshake::TlsHandshake;
pub use info::{TlsDetails, TlsInfo};
pub use listener::TlsListener;
pub use server::{ClientCertificates, TlsServerBuilder, TlsServerConfig};
pub use stream::{TlsReadHalf, TlsStream, TlsWriteHalf};

use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a stream that ends may wait for its peer to take what is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How the end of a secure stream is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CloseMode {
    /// By a `close_notify`. An end without one is
    /// [`Broken(TruncatedTls)`](crate::Break::TruncatedTls): somebody between us may have cut the
    /// end off.
    #[default]
    Strict,
    /// By the end of the stream below: we send no `close_notify`, and need none. For peers that
    /// do not keep to the standard, with protocols that say themselves where a message ends.
    Lenient,
}

/// What client and server have in common.
#[derive(Clone, Debug)]
struct Manner {
    close: CloseMode,
    handshake_timeout: Duration,
    close_timeout: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Manner {
            close: CloseMode::Strict,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            close_timeout: CLOSE_TIMEOUT,
        }
    }
}

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
