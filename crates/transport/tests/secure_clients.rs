//! Clients and URLs that reach servers over TLS, and over the paths of Unix.
#![cfg(feature = "tls")]

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpListener;
use bowline_backend::stream::ByteStreamExt;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{
    AnyError, Backoff, GroupError, Root, TaskGroup, now, task_group, timeout,
};
use bowline_transport::{
    CertStore, Client, Error, ErrorKind, Extra, MessageStream, Peer, Server, TcpConnector,
    TlsClientConfig, TlsInfo, TlsServerConfig, Transport, TransportRegistry,
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

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

// CL2, T2
#[test]
fn a_fault_of_a_server_that_passes_is_not_the_end_of_a_client() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        Root::new().backend(backend).block_on(async {
            let names = || CertificateParams::new(["there".to_owned()]).unwrap();
            let mut expired = names();
            expired.not_after = date_time_ymd(1991, 1, 1);
            let mut trusted = TlsClientConfig::builder().server_name("there");
            let mut configs = Vec::new();
            for params in [expired, names()] {
                let key = KeyPair::generate().unwrap();
                let certificate = params.self_signed(&key).unwrap().pem();
                let store = CertStore::new(&certificate, &key.serialize_pem()).unwrap();
                configs.push(TlsServerConfig::builder(&store).build().unwrap());
                trusted = trusted.root_pem(certificate);
            }
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let at = listener.local_addr().unwrap();
            let soon = Backoff::exponential(Duration::from_millis(1));
            let client = Client::new(at, line).tls(trusted.build().unwrap());
            let client = client.reconnect(soon);
            let server = async {
                // What a balancer says whose servers are away, then an alert (`internal_error`).
                for said in [&b"HTTP/1.1 503 \r\n\r\n"[..], &[21, 3, 3, 0, 2, 2, 80]] {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    stream.write_all(said).await.unwrap();
                    stream.shutdown().await.unwrap();
                    let mut rest = bytes::BytesMut::new();
                    while let Ok(1..) = stream.read_into(&mut rest, 1024.try_into().unwrap()).await
                    {
                    }
                }
                let (stream, _) = listener.accept().await.unwrap();
                let expired = configs[0].handshake(stream).unwrap().await;
                assert!(expired.is_err(), "it was taken");
                let (stream, _) = listener.accept().await.unwrap();
                let stream = configs[1].handshake(stream).unwrap().await.unwrap();
                let mut peer = MessageStream::new(stream, line());
                let asked = peer.recv().await.unwrap().unwrap();
                peer.send(&asked).await.unwrap();
                peer.flush().await.unwrap();
            };
            let asking = timeout(Duration::from_secs(30), async {
                client.call(&"still there".to_owned()).await
            });
            let (reply, ()) = futures_util::future::join(asking, server).await;
            assert_eq!(reply.unwrap().unwrap(), "still there");
        });
    }
}

// CL2, T2
#[test]
fn whoever_a_server_is_stays_so() {
    with_server(|served| async move {
        let trusting = TlsClientConfig::builder().root_pem(&*served.certificate);
        // An authority of the same name, and one of another.
        let same = rcgen::generate_simple_self_signed(["there".to_owned()])?;
        let mut params = CertificateParams::new(["there".to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let other = params.self_signed(&KeyPair::generate()?)?;
        let stranger = |pem| {
            TlsClientConfig::builder()
                .root_pem(pem)
                .server_name("there")
        };
        for config in [
            trusting.server_name("elsewhere"),
            stranger(same.cert.pem()),
            stranger(other.pem()),
        ] {
            let client = Client::new(served.at, line).tls(config.build()?);
            let client = client.reconnecting().reconnect_attempts(2);
            let error = client.connect().await.unwrap_err();
            assert_eq!(error.gave_up_after(), Some(1), "{error}");
            let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
            assert!(matches!(cause.kind(), ErrorKind::Tls(_)), "{cause}");
        }
        Ok(())
    });
}

// CL2
#[test]
fn an_address_to_connect_from_that_is_gone_may_come_back() {
    with_server(|served| async move {
        let soon = Backoff::exponential(Duration::from_millis(1));
        // Of documentation, and nobody's; then one that cannot reach the other at all.
        for (from, attempts) in [("192.0.2.1:0", 3), ("[::1]:0", 1)] {
            let connector = TcpConnector::new(served.at).bind(from.parse()?);
            let client = Client::new(connector, line).reconnect(soon);
            let error = client.reconnect_attempts(3).connect().await.unwrap_err();
            assert_eq!(error.gave_up_after(), Some(attempts), "{error}");
            let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
            assert_eq!(cause.kind(), ErrorKind::Address);
        }
        Ok(())
    });
}
