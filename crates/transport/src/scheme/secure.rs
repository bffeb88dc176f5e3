//! Whom a URL of `tls` trusts, and the files that it names.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// The keys that were set of those that a configuration of the program's own decides.
    decided: Vec<&'static str>,
}

#[derive(Clone, Debug)]
enum Config {
    Made(TlsClientConfig),
    /// To be made when it is first used.
    Trusting(Arc<Trusting>),
}

/// What a configuration is made of, for which files may have to be read.
#[derive(Debug)]
struct Trusting {
    whom: Whom,
    alpn: Vec<String>,
    close: CloseMode,
    made: Mutex<Option<Made>>,
    /// A server showed a certificate that is not accepted: others may be trusted by now.
    doubted: AtomicBool,
}

#[derive(Clone, Debug)]
struct Made {
    config: TlsClientConfig,
    /// What stood in the file, where there is one.
    text: Option<Arc<str>>,
}

/// The authorities that are trusted.
#[derive(Clone, Debug)]
enum Whom {
    /// Nobody, as nothing says whom: for a configuration of the program's own to say.
    Nobody,
    /// Those in a file.
    File(String),
    /// Mozilla's, which need no reading.
    #[cfg(feature = "webpki-roots")]
    Mozilla,
    /// The system's.
    #[cfg(feature = "native-roots")]
    System,
}

/// Whom programs trust where nothing is said: the first of those there are.
const USUAL: &[Whom] = &[
    #[cfg(feature = "webpki-roots")]
    Whom::Mozilla,
    #[cfg(feature = "native-roots")]
    Whom::System,
];

impl Tls {
    pub(crate) fn with(config: TlsClientConfig) -> Tls {
        Tls {
            config: Config::Made(config),
            name: None,
            decided: Vec::new(),
        }
    }

    /// What these parameters say. No file is read here, where nobody can wait for it.
    pub(super) fn of(params: &Params) -> Result<Tls, Error> {
        let alpn = params.list("alpn").unwrap_or_default();
        let close = CloseMode::of(params)?;
        let whom = match (params.text("ca"), USUAL.first()) {
            (Some(file), _) => Whom::File(file.to_owned()),
            (None, Some(usual)) => usual.clone(),
            (None, None) => Whom::Nobody,
        };
        let decided = [
            ("ca", params.text("ca").is_some()),
            ("alpn", params.list("alpn").is_some()),
            ("close", params.text("close").is_some()),
        ];
        let decided = decided.iter().filter(|(_, set)| *set);
        Ok(Tls {
            name: params.text("sni").map(str::to_owned),
            decided: decided.map(|(key, _)| *key).collect(),
            ..Tls::trusting(whom, alpn, close)
        })
    }

    /// The configuration that the program has `given`, for a URL that says this: what both say is refused,
    /// as one of them would be ignored.
    pub(super) fn replaced_by(&self, given: &Tls) -> Result<Tls, Error> {
        let names = matches!(&given.config, Config::Made(config) if config.names_server());
        let name = self.name.as_ref().filter(|_| names).map(|_| "sni");
        if let Some(key) = self.decided.first().copied().or(name) {
            return Err(wrong(format!(
                "the key `{key}` cannot be set where the program has a TLS configuration of its own, which \
                 decides that"
            )));
        }
        Ok(Tls {
            name: self.name.clone(),
            ..given.clone()
        })
    }

    /// Whether somebody is trusted, where the program has no configuration of its own.
    pub(super) fn trusts(&self) -> Result<(), Error> {
        match &self.config {
            Config::Trusting(trusting) if matches!(trusting.whom, Whom::Nobody) => {
                Err(untrusting())
            }
            _ => Ok(()),
        }
    }

    fn trusting(whom: Whom, alpn: &[String], close: CloseMode) -> Tls {
        let trusting = Trusting {
            whom,
            alpn: alpn.to_vec(),
            close,
            made: Mutex::default(),
            doubted: AtomicBool::new(false),
        };
        Tls {
            config: Config::Trusting(Arc::new(trusting)),
            name: None,
            decided: Vec::new(),
        }
    }

    /// The configuration; what it is made of is read for the first one, and a file again once it is in
    /// doubt.
    pub(super) async fn config(&self) -> Result<TlsClientConfig, Error> {
        let trusting = match &self.config {
            Config::Made(config) => return Ok(config.clone()),
            Config::Trusting(trusting) => trusting,
        };
        let former = trusting.made().clone();
        let Some(former) = former else {
            let made = trusting.make().await?;
            // Of two that were made at once all take the one that was first: it knows the tickets.
            return Ok(trusting.made().get_or_insert(made).config.clone());
        };
        // A file that takes for ever costs one attempt, and not all of them.
        if !trusting.doubted.swap(false, Ordering::Relaxed) {
            return Ok(former.config);
        }
        let made = trusting.remake(&former).await;
        *trusting.made() = Some(made.clone());
        Ok(made.config)
    }

    /// Notes that a server was refused that showed its certificate: where it is trusted by what stands in a
    /// file, that may have changed.
    pub(super) fn doubt(&self) {
        if let Config::Trusting(trusting) = &self.config {
            let in_file = matches!(trusting.whom, Whom::File(_));
            trusting.doubted.store(in_file, Ordering::Relaxed);
        }
    }
}

impl Trusting {
    fn made(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self) -> Result<Made, Error> {
        let config = match &self.whom {
            Whom::Nobody => Err(untrusting()),
            Whom::File(file) => return self.made_of(read_file("ca", file).await?),
            #[cfg(feature = "webpki-roots")]
            Whom::Mozilla => {
                let builder = TlsClientConfig::builder().webpki_roots();
                self.speaking(builder).build()
            }
            #[cfg(feature = "native-roots")]
            Whom::System => {
                let builder = TlsClientConfig::builder().native_roots();
                let builder = self.speaking(builder);
                // A hundred files and more.
                let built = spawn_blocking(move || builder.build()).await;
                built.unwrap_or_else(|error| {
                    let why = format!("the authorities of the system cannot be read: {error}");
                    Err(wrong(why))
                })
            }
        };
        config.map(|config| Made { config, text: None })
    }

    /// Of what stands in the file now, if that is something else and good.
    async fn remake(&self, former: &Made) -> Made {
        let Whom::File(file) = &self.whom else {
            return former.clone();
        };
        match read_file("ca", file).await {
            Ok(text) if former.text.as_deref() != Some(&text[..]) => {
                self.made_of(text).unwrap_or_else(|_| former.clone())
            }
            _ => former.clone(),
        }
    }

    fn made_of(&self, text: String) -> Result<Made, Error> {
        let builder = TlsClientConfig::builder().root_pem(text.clone());
        Ok(Made {
            config: self.speaking(builder).build()?,
            text: Some(text.into()),
        })
    }

    fn speaking(&self, builder: TlsClientBuilder) -> TlsClientBuilder {
        let protocols = self.alpn.iter().map(String::as_bytes);
        protocols
            .fold(builder, TlsClientBuilder::alpn)
            .close_mode(self.close)
    }
}

fn untrusting() -> Error {
    wrong(
        "the key `ca` is missing: a file with the authorities that are trusted (PEM); with the feature \
         `webpki-roots` or `native-roots` there are others"
            .to_owned(),
    )
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

#[cfg(all(test, feature = "native-roots", unix))]
mod tests {
    use std::env;
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    use bowline_backend::Backend;
    use futures_util::future::join;

    use super::*;
    use crate::error::ErrorKind;

    /// Runs the test of this name once more, in a process to which the system trusts what is in `file`.
    fn as_told_by(file: &PathBuf, test: &str) {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("scheme::secure::tests::{test}")])
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR")
            .env("BOWLINE_TOLD", "1")
            .status();
        fs::remove_file(file).unwrap();
        assert!(status.unwrap().success());
    }

    fn is_told() -> Option<String> {
        env::var("BOWLINE_TOLD").ok()?;
        Some(env::var("SSL_CERT_FILE").unwrap())
    }

    fn file(name: &str) -> PathBuf {
        env::temp_dir().join(format!("bowline-{name}-{}.pem", std::process::id()))
    }

    const BACKENDS: [Backend; 3] = [Backend::Tokio, Backend::Smol, Backend::AsyncStd];

    // T2
    #[test]
    fn the_authorities_of_the_system_are_read_once_and_where_nobody_waits() {
        let Some(pipe) = is_told() else {
            // To open it waits for who writes, which begins below once the reader has been asked.
            let pipe = file("pipe");
            assert!(
                Command::new("mkfifo")
                    .arg(&pipe)
                    .status()
                    .unwrap()
                    .success()
            );
            return as_told_by(
                &pipe,
                "the_authorities_of_the_system_are_read_once_and_where_nobody_waits",
            );
        };
        for backend in BACKENDS {
            let tls = Tls::trusting(Whom::System, &[], CloseMode::Strict);
            let made = rcgen::generate_simple_self_signed(["there".to_owned()]).unwrap();
            let (pipe, text) = (pipe.clone(), made.cert.pem());
            backend.block_on(async {
                // Were it read here, nobody would come to write.
                let written = async { spawn_blocking(move || fs::write(pipe, text)).await };
                let (first, written) = join(tls.config(), written).await;
                first.unwrap();
                written.unwrap().unwrap();
                // Nobody writes again.
                tls.clone().config().await.unwrap();
            });
        }
    }

    // T2, TR12
    #[test]
    fn a_system_that_trusts_nobody_is_an_error_of_the_first_use() {
        if is_told().is_none() {
            let empty = file("empty");
            fs::write(&empty, "").unwrap();
            return as_told_by(
                &empty,
                "a_system_that_trusts_nobody_is_an_error_of_the_first_use",
            );
        }
        for backend in BACKENDS {
            let tls = Tls::trusting(Whom::System, &[], CloseMode::Strict);
            // Nothing is kept of it.
            for _ in 0..2 {
                let error = backend.block_on(tls.config()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config);
                let why = std::error::Error::source(&error).unwrap().to_string();
                assert_eq!(why, "the system trusts no authority");
            }
        }
    }
}
