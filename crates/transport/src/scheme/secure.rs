//! Whom a URL of `tls` trusts, and the files that it names.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, OnceLock};

use bowline_backend::blocking::spawn_blocking;

use super::wrong;
use crate::error::Error;
use crate::params::Params;
use crate::tls::{CloseMode, TlsClientBuilder, TlsClientConfig};

/// The longest file that a key names.
const LONGEST_FILE: usize = 1024 * 1024;

/// How a stream that was dialled becomes secure.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    config: Config,
    /// Whom the certificate has to be for, where that is not the host.
    pub(crate) name: Option<String>,
}

#[derive(Clone, Debug)]
enum Config {
    Made(TlsClientConfig),
    /// To be made when it is first used.
    Trusting(Arc<Trusting>),
}

/// Trusts the authorities in a file.
#[derive(Debug)]
struct Trusting {
    file: String,
    alpn: Vec<String>,
    close: CloseMode,
    made: OnceLock<TlsClientConfig>,
}

impl Tls {
    pub(crate) fn with(config: TlsClientConfig) -> Tls {
        Tls {
            config: Config::Made(config),
            name: None,
        }
    }

    /// What these parameters say. No file is read here, where nobody can wait for it.
    pub(super) fn of(params: &Params) -> Result<Tls, Error> {
        let alpn = params.list("alpn").unwrap_or_default();
        let close = CloseMode::of(params)?;
        let config = match params.text("ca") {
            Some(file) => Config::Trusting(Arc::new(Trusting {
                file: file.to_owned(),
                alpn: alpn.to_vec(),
                close,
                made: OnceLock::new(),
            })),
            None => {
                let builder = trusting_usual(TlsClientConfig::builder())?;
                Config::Made(speaking(builder, alpn, close).build()?)
            }
        };
        Ok(Tls {
            config,
            name: params.text("sni").map(str::to_owned),
        })
    }

    /// The configuration; the file of authorities is read for the first one that is made of it.
    pub(super) async fn config(&self) -> Result<TlsClientConfig, Error> {
        let trusting = match &self.config {
            Config::Made(config) => return Ok(config.clone()),
            Config::Trusting(trusting) => trusting,
        };
        if let Some(config) = trusting.made.get() {
            return Ok(config.clone());
        }
        let roots = read_file("ca", &trusting.file).await?;
        let builder = TlsClientConfig::builder().root_pem(roots);
        let config = speaking(builder, &trusting.alpn, trusting.close).build()?;
        // Of two that were made at once all take the one that was first: it knows the tickets.
        Ok(trusting.made.get_or_init(|| config).clone())
    }
}

fn speaking(builder: TlsClientBuilder, alpn: &[String], close: CloseMode) -> TlsClientBuilder {
    let protocols = alpn.iter().map(String::as_bytes);
    protocols
        .fold(builder, TlsClientBuilder::alpn)
        .close_mode(close)
}

impl CloseMode {
    /// What the key `close` says.
    pub(crate) fn of(params: &Params) -> Result<CloseMode, Error> {
        match params.text("close") {
            None | Some("strict") => Ok(CloseMode::Strict),
            Some("lenient") => Ok(CloseMode::Lenient),
            Some(_) => Err(wrong("`close` has to be `strict` or `lenient`".to_owned())),
        }
    }
}

/// Trusts whom programs trust where nothing is said: Mozilla's authorities, or the system's.
fn trusting_usual(builder: TlsClientBuilder) -> Result<TlsClientBuilder, Error> {
    #[cfg(feature = "webpki-roots")]
    return Ok(builder.webpki_roots());
    #[cfg(all(feature = "native-roots", not(feature = "webpki-roots")))]
    return Ok(builder.native_roots());
    #[cfg(not(any(feature = "webpki-roots", feature = "native-roots")))]
    {
        let _ = builder;
        let missing = "the key `ca` is missing: a file with the authorities that are trusted (PEM); with \
                       the feature `webpki-roots` or `native-roots` there are others";
        Err(wrong(missing.to_owned()))
    }
}

/// The text of the file that a key names, read on a thread that may block.
pub(crate) async fn read_file(key: &'static str, path: &str) -> Result<String, Error> {
    let path = path.to_owned();
    let read = spawn_blocking(move || read_at_most(&path, LONGEST_FILE)).await;
    let read = read.map_err(|error| io::Error::other(error.to_string()));
    read.flatten().map_err(|error| {
        wrong(format!(
            "the file of the key `{key}` cannot be read: {error}"
        ))
    })
}

fn read_at_most(path: &str, most: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > most {
        let why = format!("it is longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
