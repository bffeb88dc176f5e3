//! Where the broker is, and how it is reached.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bowline::rpc::{Secret, TcpBroker, TcpBrokerBuilder};
use bowline::transport::TlsClientConfig;

use crate::failure::Failure;

/// Where the broker is unless something is said.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:15383";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the command line says of the connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) address: String,
    pub(crate) project: String,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) key_id: String,
    pub(crate) tls: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) certificate_key_file: Option<PathBuf>,
    pub(crate) insecure_network: bool,
    pub(crate) connect_timeout: Duration,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            address: DEFAULT_ADDRESS.into(),
            project: String::new(),
            secret_file: None,
            key_id: String::new(),
            tls: false,
            ca_file: None,
            certificate_file: None,
            certificate_key_file: None,
            insecure_network: false,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

impl Connection {
    /// A broker that calls there.
    pub(crate) fn builder(&self) -> Result<TcpBrokerBuilder, Failure> {
        let mut builder = TcpBroker::caller()
            .project(&*self.project)
            .connect_timeout(self.connect_timeout);
        if let Some(file) = &self.secret_file {
            let secret = Secret::new(read(file)?.trim_end_matches(['\r', '\n']))?;
            builder = builder.secret(secret).key_id(&*self.key_id);
        }
        if self.insecure_network {
            builder = builder.allow_insecure_network();
        }
        let is_tls = self.tls || self.address.starts_with("tls://");
        if is_tls {
            builder = builder.tls(self.tls_config()?);
        }
        let address = match self.address.contains("://") || self.address.starts_with("unix:") {
            false if is_tls => format!("tls://{}", self.address),
            _ => self.address.clone(),
        };
        Ok(builder.connect(address))
    }

    fn tls_config(&self) -> Result<TlsClientConfig, Failure> {
        let mut tls = TlsClientConfig::builder();
        if let Some(file) = &self.ca_file {
            tls = tls.root_pem(read(file)?);
        }
        if let (Some(chain), Some(key)) = (&self.certificate_file, &self.certificate_key_file) {
            tls = tls.certificate(read(chain)?, read(key)?);
        }
        tls.build()
            .map_err(|error| Failure::Usage(error.to_string()))
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}
