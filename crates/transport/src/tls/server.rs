use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::stream::ByteStream;
use rustls::server::WebPkiClientVerifier;
use rustls::{Connection, ServerConfig, ServerConnection};

use super::cert_store::CertStore;
use super::handshake::TlsHandshake;
use super::manner::{CloseMode, Manner, takes_manner};
use super::{WallClock, pem, provider};
use crate::attribute::Extra;
use crate::error::{Error, Operation};

/// How a server makes streams secure.
///
/// # Examples
///
/// ```no_run
/// # async fn accept(chain: &str, key: &str) -> Result<(), bowline_transport::Error> {
/// use bowline_transport::{CertStore, Listener, Listeners, TlsListener, TlsServerConfig};
///
/// let certificates = CertStore::new(chain, key)?;
/// let tls = TlsServerConfig::builder(&certificates).alpn("echo/1").build()?;
/// let mut listener = TlsListener::new(Listeners::builder(443).bind().await?, tls);
/// if let Ok((handshake, _peer)) = listener.accept().await {
///     let stream = handshake.await?; // in the task of the connection
/// #   drop(stream);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsServerConfig {
    config: Arc<ServerConfig>,
    clients: Option<ClientCertificates>,
    manner: Manner,
}

/// Whether clients are to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientCertificates {
    /// Whoever has none is refused.
    Require,
    /// Whoever has none is let in; whoever has one that is not trusted is refused.
    Optional,
}

impl TlsServerConfig {
    /// Shows the certificates of this store.
    pub fn builder(certificates: &CertStore) -> TlsServerBuilder {
        TlsServerBuilder {
            certificates: certificates.clone(),
            clients: None,
            roots: Vec::new(),
            alpn: Vec::new(),
            tickets: 0,
            manner: Manner::default(),
        }
    }

    /// For what the builder does not offer. How a stream ends is [`CloseMode::Strict`], and a
    /// handshake takes at most 60 s.
    pub fn from_rustls(config: Arc<ServerConfig>) -> Self {
        TlsServerConfig {
            config,
            clients: None,
            manner: Manner::default(),
        }
    }

    /// Whether a client without a certificate is refused, as far as the builder was told; one made by
    /// [`from_rustls`](Self::from_rustls) is not known to.
    pub fn requires_certificates(&self) -> bool {
        self.clients == Some(ClientCertificates::Require)
    }

    /// Begins the handshake with the client at the other end of `stream`.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where rustls finds a fault in the configuration.
    pub fn handshake<S>(&self, stream: S) -> Result<TlsHandshake<S>, Error>
    where
        S: ByteStream + Extra,
    {
        let tls = ServerConnection::new(self.config.clone());
        let tls = tls.map_err(|error| pem::config_error(error).of(Operation::Handshake))?;
        let tls = Connection::Server(tls);
        Ok(TlsHandshake::new(stream, tls, &self.manner))
    }
}

impl fmt::Debug for TlsServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServerConfig")
            .field("manner", &self.manner)
            .finish_non_exhaustive()
    }
}

/// How a [`TlsServerConfig`] is made.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct TlsServerBuilder {
    certificates: CertStore,
    clients: Option<ClientCertificates>,
    roots: Vec<String>,
    alpn: Vec<Vec<u8>>,
    tickets: usize,
    manner: Manner,
}

impl TlsServerBuilder {
    /// Asks clients for a certificate of one of the authorities in `roots` (PEM). Called for several, all are
    /// trusted, and one is required where any call says so.
    pub fn client_roots(
        mut self,
        certificates: ClientCertificates,
        roots: impl Into<String>,
    ) -> Self {
        self.clients = match self.clients {
            Some(ClientCertificates::Require) => self.clients,
            _ => Some(certificates),
        };
        self.roots.push(roots.into());
        self
    }

    /// Speaks this protocol (ALPN); may be called for several, the preferred one first. A client
    /// that names protocols and none of these is refused.
    pub fn alpn(mut self, protocol: impl Into<Vec<u8>>) -> Self {
        self.alpn.push(protocol.into());
        self
    }

    /// Gives each client of TLS 1.3 so many tickets, by which its later handshakes are shorter;
    /// none by default. They are sent after the handshake, unasked: a client that closes without
    /// having read anything since then resets the connection.
    pub fn session_tickets(mut self, count: usize) -> Self {
        self.tickets = count;
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where a text has no certificate in it.
    pub fn build(self) -> Result<TlsServerConfig, Error> {
        let provider = provider();
        let builder = ServerConfig::builder_with_details(provider.clone(), Arc::new(WallClock));
        let versions = builder.with_safe_default_protocol_versions();
        let builder = versions.map_err(pem::config_error)?;
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let roots = pem::root_store(&self.roots)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = match clients {
                    ClientCertificates::Require => verifier,
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(pem::config_error)?)
            }
        };
        let mut config = builder.with_cert_resolver(self.certificates.resolver());
        config.alpn_protocols = self.alpn;
        config.send_tls13_tickets = self.tickets;
        Ok(TlsServerConfig {
            config: Arc::new(config),
            clients: self.clients,
            manner: self.manner,
        })
    }
}

takes_manner!(TlsServerBuilder);
