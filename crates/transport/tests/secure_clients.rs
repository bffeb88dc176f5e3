//! Clients and URLs that reach servers over TLS, and over the paths of Unix.
#![cfg(feature = "tls")]

use std::net::SocketAddr;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, task_group};
use bowline_transport::{
    CertStore, Client, ErrorKind, Extra, Peer, Server, TlsClientConfig, TlsInfo, TlsServerConfig,
    Transport, TransportRegistry,
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

// TR11
#[test]
fn a_url_names_whom_to_trust_and_who_answers() {
    with_server(|served| async move {
        let file = format!("bowline-ca-{}-{}.pem", std::process::id(), served.at.port());
        let file = std::env::temp_dir().join(file);
        std::fs::write(&file, &served.certificate)?;
        let (at, ca) = (served.at, file.display());
        let registry = TransportRegistry::with_builtin(line);
        let named = registry.open(&format!("tls://{at}?ca={ca}&sni=there"));
        let nameless = registry.open(&format!("tls://{at}?ca={ca}"));
        std::fs::remove_file(&file)?;

        let mut named = named?;
        named.send(&"ha".to_owned()).await?;
        assert_eq!(named.recv().await?.as_deref(), Some("haha"));
        named.close().await?;
        let refused = nameless?.send(&"ha".to_owned()).await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Tls(_)), "{refused}");
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
