//! Clients and URLs that reach servers over TLS, and over the paths of Unix.
#![cfg(feature = "tls")]

mod strangers;

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpListener;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{
    AnyError, Backoff, GroupError, Root, TaskGroup, now, task_group, timeout,
};
use bowline_transport::{
    CertStore, Client, Error, ErrorKind, Extra, Peer, Server, TcpConnector, TlsClientConfig,
    TlsInfo, TlsServerConfig, Transport, TransportRegistry,
};

fn line() -> Framed<Lines, Text> {
    Lines::lf().text()
}

struct Served {
    at: SocketAddr,
    certificate: String,
}

/// A server at a port of its own that says every line twice, for as long as `ask` takes.
fn with_server<F>(ask: fn(Served) -> F)
where
    F: Future<Output = Result<(), AnyError>> + Send + 'static,
{
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let all = task_group(move |group: TaskGroup<AnyError>| async move {
            let made =
                rcgen::generate_simple_self_signed(["there", "localhost"].map(str::to_owned))?;
            let certificate = made.cert.pem();
            let store = CertStore::new(&certificate, &made.signing_key.serialize_pem())?;
            let config = TlsServerConfig::builder(&store).build()?;
            let server = Server::tcp(("127.0.0.1", 0)).codec(line).tls(config);
            let bound = server.bind().await?;
            let at = bound.local_addrs()[0].as_inet().unwrap();
            let handle = bound.handle();
            group.spawn(async move {
                let twice = |peer: Peer<_>, line: String| async move {
                    peer.send(&format!("{line}{line}")).await
                };
                Ok(bound.serve_each(twice).await?)
            });
            ask(Served { at, certificate }).await?;
            handle.drain(Duration::from_secs(10)).await;
            Ok(())
        });
        let ended: Result<(), GroupError<AnyError>> = Root::new().backend(backend).block_on(all);
        ended.unwrap();
    }
}

// T2, CL1
#[test]
fn a_client_that_dials_over_tls_is_answered() {
    with_server(|served| async move {
        let trusting = TlsClientConfig::builder().root_pem(&*served.certificate);
        let trusting = trusting.build()?;
        let client = Client::new(("localhost", served.at.port()), line).tls(trusting.clone());
        assert_eq!(client.call(&"ha".to_owned()).await?, "haha");
        assert!(client.extra::<TlsInfo>().is_some());
        client.close().await?;

        // The certificate is for a name, and not for the address.
        let client = Client::new(served.at, line).tls(trusting);
        let refused = client.call(&"ha".to_owned()).await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Tls(_)), "{refused}");
        Ok(())
    });
}

/// A file of its own, gone with this.
struct Pem(PathBuf);

impl Pem {
    fn new(served: &Served) -> Pem {
        let name = format!("bowline-ca-{}-{}.pem", std::process::id(), served.at.port());
        Pem(std::env::temp_dir().join(name))
    }
}

impl Drop for Pem {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a `Config` error says beneath.
fn why(result: Result<(), Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    std::error::Error::source(&error).unwrap().to_string()
}

// TR11
#[test]
fn a_url_names_whom_to_trust_and_who_answers() {
    with_server(|served| async move {
        let file = Pem::new(&served);
        let (at, ca) = (served.at, file.0.display());
        let registry = TransportRegistry::with_builtin(line);
        let mut named = registry.open(&format!("tls://{at}?ca={ca}&sni=there&reconnect=yes"))?;
        let mut nameless = registry.open(&format!("tls://{at}?ca={ca}"))?;
        // It is read when it is needed, and once.
        std::fs::write(&file.0, &served.certificate)?;
        let refused = nameless.send(&"ha".to_owned()).await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Tls(_)), "{refused}");
        named.send(&"ha".to_owned()).await?;
        assert_eq!(named.recv().await?.as_deref(), Some("haha"));
        named.close().await?;
        Ok(())
    });
}

// TR11
#[test]
fn files_that_cannot_be_read_are_told_by_the_first_use() {
    with_server(|served| async move {
        let file = Pem::new(&served);
        let url = format!("tls://{}?ca={}&sni=there", served.at, file.0.display());
        let registry = TransportRegistry::with_builtin(line);
        let mut transport = registry.open(&url)?;
        let said = why(transport.connect().await);
        assert!(
            said.starts_with("the file of the key `ca` cannot be read: "),
            "{said}"
        );
        std::fs::write(&file.0, "no certificate")?;
        why(transport.connect().await);
        std::fs::write(&file.0, vec![b'x'; 1024 * 1024 + 1])?;
        let said = why(transport.connect().await);
        assert!(said.ends_with("it is longer than 1048576 bytes"), "{said}");
        std::fs::write(&file.0, &served.certificate)?;
        transport.connect().await?;
        transport.close().await?;
        Ok(())
    });
}

/// A pipe that nobody writes to is as good as a file that takes for ever.
// TR11
#[cfg(unix)]
#[test]
fn a_file_that_takes_for_ever_stops_nobody() {
    with_server(|served| async move {
        let file = Pem::new(&served);
        let made = std::process::Command::new("mkfifo").arg(&file.0).status()?;
        assert!(made.success());
        let (at, pem) = (served.at, file.0.display());
        let registry = TransportRegistry::with_builtin(line);
        let url = format!("tls://{at}?ca={pem}&connect_timeout=50ms");
        let late = registry.open(&url)?.connect().await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::ConnectTimeout);
        let url = format!("tls://127.0.0.1:0?cert={pem}&key={pem}");
        let bind = Server::url(&url[..]).codec(line).bind();
        let bound = timeout(Duration::from_millis(50), bind).await;
        assert!(bound.is_err(), "it was read");
        // The threads that wait go on, and end.
        let writers = || std::fs::OpenOptions::new().write(true).open(&file.0);
        drop((writers()?, writers()?));
        Ok(())
    });
}

// TR11
#[cfg(unix)]
#[test]
fn a_url_leads_to_a_path() {
    let path = std::env::temp_dir().join(format!("bowline-url-{}", std::process::id()));
    let all = task_group(|group: TaskGroup<AnyError>| async move {
        let server = Server::unix(path.as_path()).codec(line).bind().await?;
        let handle = server.handle();
        group.spawn(async move {
            let echo = |peer: Peer<_>, line: String| async move { peer.send(&line).await };
            Ok(server.serve_each(echo).await?)
        });
        let registry = TransportRegistry::with_builtin(line);
        let mut transport = registry.open(&format!("unix:{}", path.display()))?;
        transport.send(&"ha".to_owned()).await?;
        assert_eq!(transport.recv().await?.as_deref(), Some("ha"));
        transport.close().await?;
        handle.drain(Duration::from_secs(10)).await;
        Ok(())
    });
    let ended: Result<(), GroupError<AnyError>> = Root::new().backend(Backend::Smol).block_on(all);
    ended.unwrap();
}

// T2
#[test]
fn a_name_that_is_set_counts_instead_of_the_host() {
    with_server(|served| async move {
        let trusting = || TlsClientConfig::builder().root_pem(&*served.certificate);
        // Dialled by address, for which there is no certificate.
        let config = trusting().server_name("there").build()?;
        let client = Client::new(served.at, line).tls(config);
        assert_eq!(client.call(&"so".to_owned()).await?, "soso");
        client.close().await?;

        let config = trusting().server_name("elsewhere").build()?;
        let client = Client::new(("localhost", served.at.port()), line).tls(config);
        let refused = client.connect().await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Tls(_)), "{refused}");

        let wrong = trusting().server_name("no name").build().unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Config);
        Ok(())
    });
}

// T2, TR11
#[test]
fn a_configuration_of_the_program_replaces_what_a_url_trusts() {
    with_server(|served| async move {
        let at = served.at;
        let trusting = || TlsClientConfig::builder().root_pem(&*served.certificate);
        let client =
            |query: &str, config| Client::new(format!("tls://{at}{query}"), line).tls(config);
        // The address is not in the certificate: it is the name that counts.
        let named = client("?sni=there&connect_timeout=5s", trusting().build()?);
        assert_eq!(named.call(&"so".to_owned()).await?, "soso");
        named.close().await?;
        let elsewhere = client("?sni=elsewhere", trusting().build()?);
        let refused = elsewhere.connect().await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Tls(_)), "{refused}");

        // Nothing of what the URL says is lost without a word.
        let named = || trusting().server_name("there");
        for (key, query) in [
            ("ca", "?ca=/nowhere"),
            ("alpn", "?alpn=echo"),
            ("close", "?close=lenient"),
            ("sni", "?sni=there"),
        ] {
            let said = why(client(query, named().build()?).connect().await);
            assert!(said.contains(&format!("the key `{key}` ")), "{said}");
        }
        let plain = client("", named().build()?);
        assert_eq!(plain.call(&"so".to_owned()).await?, "soso");
        plain.close().await?;
        // A URL alone has to say whom it trusts, where nobody is trusted as a matter of course.
        #[cfg(not(any(feature = "webpki-roots", feature = "native-roots")))]
        {
            let registry = TransportRegistry::with_builtin(line);
            let said = why(registry.open(&format!("tls://{at}")).map(drop));
            assert!(said.starts_with("the key `ca` is missing"), "{said}");
            let said = why(Client::new(format!("tls://{at}"), line).connect().await);
            assert!(said.starts_with("the key `ca` is missing"), "{said}");
        }
        Ok(())
    });
}

/// On the simulated clock.
// T2, TR11, CL1
#[test]
fn a_handshake_takes_no_longer_than_connecting_may() {
    Root::new().backend(Backend::Sim).block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = listener.local_addr().unwrap();
        let config = TlsClientConfig::builder().danger_skip_verification();
        let config = config.build().unwrap();
        let short = TcpConnector::new(at).connect_timeout(Duration::from_secs(3));
        // Whoever accepts says nothing.
        for (client, seconds) in [
            (Client::new(at, line), 10),
            (Client::new(short, line), 3),
            (Client::new(format!("tls://{at}"), line), 10),
            (
                Client::new(format!("tls://{at}?connect_timeout=20s"), line),
                20,
            ),
        ] {
            let began = now();
            let late = client.tls(config.clone()).connect().await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::ConnectTimeout, "{late}");
            assert_eq!((now() - began).as_secs(), seconds);
        }
    });
}

// CL2
#[test]
fn an_address_to_connect_from_that_is_gone_may_come_back() {
    with_server(|served| async move {
        let soon = Backoff::exponential(Duration::from_millis(1));
        // Of documentation, and nobody's; then one that cannot reach the other at all.
        for from in ["192.0.2.1:0", "[::1]:0"] {
            let connector = TcpConnector::new(served.at).bind(from.parse()?);
            let client = Client::new(connector, line).reconnect(soon);
            let error = client.reconnect_attempts(3).connect().await.unwrap_err();
            assert_eq!(error.gave_up_after(), Some(3), "{error}");
            let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
            assert_eq!(cause.kind(), ErrorKind::Address);
        }
        Ok(())
    });
}
