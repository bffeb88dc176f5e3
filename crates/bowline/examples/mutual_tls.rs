//! Mutual TLS: the server shows a certificate and asks each client for one, of an authority that both
//! trust. Who has none, or one of somebody else, does not reach the handler.
//!
//! `cargo run -p bowline --example mutual_tls`

use std::time::Duration;

use bowline::Error;
use bowline::codec::{Framed, Lines, Text};
use bowline::concurrency::{TaskGroup, task_group};
use bowline::transport::{
    self, CertStore, ClientCertificates, ErrorKind, Extra, MessageStream, Messages, Peer, Server,
    TcpConnector, TlsClientBuilder, TlsClientConfig, TlsInfo, TlsServerConfig, Transport,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

#[bowline::main]
async fn main() -> Result<(), Error> {
    let ours = Authority::new("ours");
    let server = ours.certify("localhost");
    let store = CertStore::new(&server.chain, &server.key)?;
    let config = TlsServerConfig::builder(&store)
        .client_roots(ClientCertificates::Require, ours.certificate())
        .build()?;
    let server = Server::tcp(("127.0.0.1", 0))
        .codec(line)
        .tls(config)
        .bind()
        .await?;
    let port = server.local_addrs()[0].as_inet().expect("it is TCP").port();
    let handle = server.handle();

    task_group(|group: TaskGroup<Error>| async move {
        group.spawn(async move { Ok(server.serve_fn(greet).await?) });

        let ada = ours.certify("ada");
        let trusting = || TlsClientConfig::builder().root_pem(ours.certificate());
        let known = trusting().certificate(ada.chain, ada.key);
        println!("ada: {}", ask(port, known).await?);

        let theirs = Authority::new("theirs").certify("mallory");
        for (name, stranger) in [
            ("nobody", trusting()),
            ("mallory", trusting().certificate(theirs.chain, theirs.key)),
        ] {
            let refused = ask(port, stranger).await.expect_err("a stranger");
            assert!(matches!(refused.kind(), ErrorKind::Tls(_)), "{refused}");
            println!("{name}: {refused}");
        }

        let report = handle.drain(Duration::from_secs(5)).await;
        let counters = handle.counters();
        println!("{report:?}, {counters:?}");
        Ok(())
    })
    .await?;
    Ok(())
}

fn line() -> Framed<Lines, Text> {
    Lines::lf().text()
}

/// Tells who is there what TLS knows of them.
async fn greet<T>(peer: Peer<T>, mut messages: Messages<T>) -> Result<(), transport::Error>
where
    T: Transport<Sent = String, Received = String> + 'static,
{
    let tls = peer.extra::<TlsInfo>().expect("every connection is secure");
    let shown = tls.peer_certificates.len();
    while let Some(name) = messages.recv().await? {
        peer.send(&format!("welcome {name}, with {shown} certificate"))
            .await?;
    }
    Ok(())
}

/// Introduces itself.
async fn ask(port: u16, tls: TlsClientBuilder) -> Result<String, transport::Error> {
    let stream = TcpConnector::new(("127.0.0.1", port)).connect().await?;
    let stream = tls.build()?.handshake(stream, "localhost")?.await?;
    let mut server = MessageStream::new(stream, line());
    server.send(&"ada".to_owned()).await?;
    // With TLS 1.3 a client has finished before the server looked at its certificate: what the
    // server thinks of it comes with the first answer.
    let answer = server.recv().await?.unwrap_or_default();
    server.close().await?;
    Ok(answer)
}

/// Who signs certificates. A program gets them from files, and from an authority of its own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

struct Identity {
    chain: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("entropy");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    fn certificate(&self) -> String {
        self.0.pem()
    }

    fn certify(&self, name: &str) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("entropy");
        let certificate = params.signed_by(&key, &*self.0).expect("a certificate");
        Identity {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}
