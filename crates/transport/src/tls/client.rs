use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::stream::ByteStream;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};

use super::handshake::TlsHandshake;
use super::manner::{CloseMode, Manner, takes_manner};
use super::verify::{AcceptAnybody, Noting};
use super::{WallClock, pem, provider};
use crate::attribute::Extra;
use crate::error::{Error, Operation};

/// How a client makes streams secure. Clones share what it remembers of former connections, by
/// which later handshakes are shorter.
///
/// # Examples
///
/// ```no_run
/// # async fn connect(authority: &str) -> Result<(), bowline_transport::Error> {
/// use bowline_transport::{TcpConnector, TlsClientConfig};
///
/// let tls = TlsClientConfig::builder().root_pem(authority).alpn("echo/1").build()?;
/// let stream = TcpConnector::new(("example.org", 443)).connect().await?;
/// let stream = tls.handshake(stream, "example.org")?.await?;
/// # drop(stream);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsClientConfig {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    manner: Manner,
}

impl TlsClientConfig {
    /// What is to be trusted, and the rest.
    pub fn builder() -> TlsClientBuilder {
        TlsClientBuilder {
            roots: Vec::new(),
            #[cfg(feature = "webpki-roots")]
            webpki_roots: false,
            #[cfg(feature = "native-roots")]
            native_roots: false,
            identity: None,
            alpn: Vec::new(),
            manner: Manner::default(),
            server_name: None,
            skip_verification: false,
        }
    }

    /// For what the builder does not offer. How a stream ends is [`CloseMode::Strict`], and a
    /// handshake takes at most 60 s.
    pub fn from_rustls(config: Arc<ClientConfig>) -> Self {
        TlsClientConfig {
            config,
            server_name: None,
            manner: Manner::default(),
        }
    }

    /// Whether the name of the server is known, whatever is dialled.
    pub(crate) fn names_server(&self) -> bool {
        self.server_name.is_some()
    }

    /// Begins the handshake with the server at the other end of `stream`, whose certificate is to
    /// be for `name`: the host that was dialled, by name or by address. A
    /// [`server_name`](TlsClientBuilder::server_name) of this configuration counts instead.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where `name` can be no name of a server.
    pub fn handshake<S>(&self, stream: S, name: &str) -> Result<TlsHandshake<S>, Error>
    where
        S: ByteStream + Extra,
    {
        let server_name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(name).map_err(|error| error.of(Operation::Handshake))?,
        };
        let tls = ClientConnection::new(self.config.clone(), server_name);
        let failed = |error| pem::config_error(error).of(Operation::Handshake);
        let tls = Connection::Client(tls.map_err(failed)?);
        Ok(TlsHandshake::new(stream, tls, &self.manner))
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    // A scope says where an address of IPv6 can be reached from here: nothing of the server.
    let name = name.split_once('%').map_or(name, |(address, _)| address);
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(ServerName::IpAddress(address.into())),
        Err(_) => ServerName::try_from(name.to_owned()).map_err(pem::config_error),
    }
}

impl fmt::Debug for TlsClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClientConfig")
            .field("manner", &self.manner)
            .finish_non_exhaustive()
    }
}

/// How a [`TlsClientConfig`] is made.
#[must_use = "a builder does nothing until `build` is called"]
pub struct TlsClientBuilder {
    roots: Vec<String>,
    #[cfg(feature = "webpki-roots")]
    webpki_roots: bool,
    #[cfg(feature = "native-roots")]
    native_roots: bool,
    identity: Option<(String, String)>,
    alpn: Vec<Vec<u8>>,
    manner: Manner,
    server_name: Option<String>,
    skip_verification: bool,
}

impl TlsClientBuilder {
    /// Trusts the authorities whose certificates are in `text` (PEM); may be called for several.
    pub fn root_pem(mut self, text: impl Into<String>) -> Self {
        self.roots.push(text.into());
        self
    }

    /// Trusts the authorities that Mozilla does, as they were when the program was built; with the
    /// feature `webpki-roots`.
    #[cfg(feature = "webpki-roots")]
    pub fn webpki_roots(mut self) -> Self {
        self.webpki_roots = true;
        self
    }

    /// Trusts the authorities that the system does; with the feature `native-roots`.
    /// [`build`](TlsClientBuilder::build) reads them, from a hundred files or more: in a task, let
    /// [`spawn_blocking`](bowline_backend::blocking::spawn_blocking) do it. It refuses a system that
    /// trusts none.
    #[cfg(feature = "native-roots")]
    pub fn native_roots(mut self) -> Self {
        self.native_roots = true;
        self
    }

    /// Shows this certificate, a chain and its private key as PEM, to a server that asks for one.
    pub fn certificate(mut self, chain: impl Into<String>, key: impl Into<String>) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// Speaks this protocol (ALPN); may be called for several, the preferred one first.
    pub fn alpn(mut self, protocol: impl Into<Vec<u8>>) -> Self {
        self.alpn.push(protocol.into());
        self
    }

    /// What the certificate of the server is to be for, and what it is told (SNI), instead of the host
    /// that is dialled: a name, or an address in digits.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Accepts any certificate, whoever shows it: what is sent is secret, but who reads it is not
    /// known. For tests against servers without a certificate that anybody trusts.
    pub fn danger_skip_verification(mut self) -> Self {
        self.skip_verification = true;
        self
    }

    /// All that are trusted.
    fn root_store(&self) -> Result<RootCertStore, Error> {
        #[allow(unused_mut, reason = "changed where a feature adds to it")]
        let mut roots = pem::root_store(&self.roots)?;
        #[cfg(feature = "webpki-roots")]
        if self.webpki_roots {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        #[cfg(feature = "native-roots")]
        if self.native_roots {
            super::native_roots::add(&mut roots)?;
        }
        Ok(roots)
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where nobody is trusted, where a text has no
    /// certificate or key in it, where a key is not that of its certificate, or where
    /// [`server_name`](TlsClientBuilder::server_name) can be no name of a server.
    pub fn build(self) -> Result<TlsClientConfig, Error> {
        let provider = provider();
        let builder = ClientConfig::builder_with_details(provider.clone(), Arc::new(WallClock));
        let versions = builder.with_safe_default_protocol_versions();
        let builder = versions.map_err(pem::config_error)?;
        let builder = if self.skip_verification {
            let anybody = Arc::new(AcceptAnybody(provider.clone()));
            builder
                .dangerous()
                .with_custom_certificate_verifier(anybody)
        } else {
            let roots = self.root_store()?;
            if roots.is_empty() {
                return Err(pem::wrong(
                    "a client that trusts no authority accepts no server",
                ));
            }
            let roots = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
            let verifier = Noting(roots.build().map_err(pem::config_error)?);
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let (chain, key) = (pem::certificates(chain)?, pem::private_key(key)?);
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(pem::config_error)?
            }
        };
        config.alpn_protocols = self.alpn;
        Ok(TlsClientConfig {
            config: Arc::new(config),
            server_name: self.server_name.as_deref().map(server_name).transpose()?,
            manner: self.manner,
        })
    }
}

takes_manner!(TlsClientBuilder);

impl fmt::Debug for TlsClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never a key.
        f.debug_struct("TlsClientBuilder")
            .field("roots", &self.roots.len())
            .field("certificate", &self.identity.is_some())
            .field("alpn", &self.alpn)
            .field("manner", &self.manner)
            .field("server_name", &self.server_name)
            .field("skip_verification", &self.skip_verification)
            .finish()
    }
}
