//! Our side of `cargo xtask interop`: an echo server, and a client of one, for each form.
//!
//! `interop certificate DIRECTORY`, `interop serve TRANSPORT FORM DIRECTORY`,
//! `interop ask TRANSPORT FORM DIRECTORY PORT`

use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use bowline::backend::stream::Address;
use bowline::codec::{Codec, Decode, Json, Lines, MessageCodec, Msgpack, Struct};
use bowline::concurrency::AnyError;
use bowline::transport::{
    Break, CertStore, CloseMode, DatagramEndpoint, DatagramTransport, Error, ErrorKind, Extra,
    LocalAddr, MessageStream, Messages, Peer, Server, TcpConnector, TlsClientConfig,
    TlsServerConfig, Transport,
};
use bowline_tests::messages::{Named, Order, named, orders, texts};

#[bowline::main]
async fn main() -> Result<(), AnyError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["certificate", directory] => make_certificate(Path::new(directory)),
        ["serve", "udp", "json", _] => answer_anybody(Json::<Order>::new()).await,
        ["serve", "udp", "msgpack", _] => answer_anybody(Msgpack::<Order>::new()).await,
        ["serve", "udp", "struct", _] => answer_anybody(Struct::<Named>::new()).await,
        ["serve", transport, form, directory] => {
            let tls = secure(transport, directory)?;
            match form {
                "lines" => serve(|| Lines::lf().text(), tls, Talk::OverAndOver).await,
                "one-line" => serve(|| Lines::lf().text(), tls, Talk::Once).await,
                "json" => serve(|| Json::<Order>::new().lines(), tls, Talk::OverAndOver).await,
                "struct" => serve(|| Struct::<Named>::new().framed(), tls, Talk::OverAndOver).await,
                other => panic!("no form is called {other}"),
            }
        }
        ["ask", "udp", form, _, port] => {
            let at = SocketAddr::from(([127, 0, 0, 1], port.parse()?));
            match form {
                "json" => ask(DatagramTransport::udp(at, Json::new())?, orders()).await,
                "msgpack" => ask(DatagramTransport::udp(at, Msgpack::new())?, orders()).await,
                "struct" => ask(DatagramTransport::udp(at, Struct::<Named>::new())?, named()).await,
                other => panic!("no form is called {other}"),
            }
        }
        ["ask", transport, form, directory, port] => {
            let dial = Dial {
                port: port.parse()?,
                certificate: match transport {
                    "tls" => Some(fs::read_to_string(format!("{directory}/certificate.pem"))?),
                    _ => None,
                },
            };
            match form {
                "lines" => dial.ask(Lines::lf().text(), texts()).await,
                "json" => dial.ask(Json::new().lines(), orders()).await,
                "struct" => dial.ask(Struct::<Named>::new().framed(), named()).await,
                "clean" => dial.hear_end(Ok(())).await,
                "cut" => {
                    dial.hear_end(Err(ErrorKind::Broken(Break::TruncatedTls)))
                        .await
                }
                other => panic!("no form is called {other}"),
            }
        }
        _ => panic!("see the first lines of this program for its arguments"),
    }
}

fn make_certificate(directory: &Path) -> Result<(), AnyError> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(directory.join("certificate.pem"), made.cert.pem())?;
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem())?;
    Ok(())
}

fn secure(transport: &str, directory: &str) -> Result<Option<TlsServerConfig>, AnyError> {
    if transport != "tls" {
        return Ok(None);
    }
    let chain = fs::read_to_string(format!("{directory}/certificate.pem"))?;
    let key = fs::read_to_string(format!("{directory}/key.pem"))?;
    let store = CertStore::new(&chain, &key)?;
    Ok(Some(TlsServerConfig::builder(&store).build()?))
}

/// How long a connection talks.
#[derive(Clone, Copy, PartialEq)]
enum Talk {
    OverAndOver,
    Once,
}

/// Says where we listen, and ends the process once nobody holds our standard input open.
fn listening_at(port: u16) {
    println!("{port}");
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

async fn serve<C>(
    codec: impl Fn() -> C + Send + Sync + 'static,
    tls: Option<TlsServerConfig>,
    talk: Talk,
) -> Result<(), AnyError>
where
    C: Codec<Sent = <C as Decode>::Item> + 'static,
    C::Item: Send + Sync + 'static,
{
    let server = Server::tcp(("127.0.0.1", 0)).codec(codec);
    match tls {
        None => {
            let server = server.bind().await?;
            listening_at(port_of(server.local_addrs()));
            let served = server.serve_fn(move |peer, messages| echo(peer, messages, talk));
            Ok(served.await?)
        }
        Some(config) => {
            let server = server.tls(config).bind().await?;
            listening_at(port_of(server.local_addrs()));
            let served = server.serve_fn(move |peer, messages| echo(peer, messages, talk));
            Ok(served.await?)
        }
    }
}

fn port_of(addresses: &[Address]) -> u16 {
    addresses[0].as_inet().expect("it is TCP").port()
}

async fn echo<T, M>(peer: Peer<T>, mut messages: Messages<T>, talk: Talk) -> Result<(), Error>
where
    T: Transport<Sent = M, Received = M> + 'static,
    M: Send + Sync,
{
    while let Some(message) = messages.recv().await? {
        peer.send(&message).await?;
        if talk == Talk::Once {
            break;
        }
    }
    Ok(())
}

async fn answer_anybody<C>(codec: C) -> Result<(), AnyError>
where
    C: MessageCodec<Sent = <C as MessageCodec>::Received> + Send + Sync + 'static,
    C::Received: Send + Sync + 'static,
{
    let server = DatagramEndpoint::udp("127.0.0.1:0".parse()?, codec)?;
    let at = server.extra::<LocalAddr>().expect("it is bound");
    listening_at(port_of(&[at]));
    loop {
        let (message, peer) = server.recv_from().await?;
        server.send_to(&message, &peer).await?;
    }
}

/// Whom to ask.
struct Dial {
    port: u16,
    certificate: Option<String>,
}

impl Dial {
    async fn ask<C>(self, codec: C, messages: Vec<C::Item>) -> Result<(), AnyError>
    where
        C: Codec<Sent = <C as Decode>::Item> + 'static,
        C::Item: Debug + PartialEq + Send + Sync + 'static,
    {
        let stream = TcpConnector::new(("127.0.0.1", self.port))
            .connect()
            .await?;
        match self.certificate {
            None => ask(MessageStream::new(stream, codec), messages).await,
            Some(certificate) => {
                let tls = TlsClientConfig::builder().root_pem(certificate).build()?;
                let stream = tls.handshake(stream, "localhost")?.await?;
                ask(MessageStream::new(stream, codec), messages).await
            }
        }
    }

    /// Asks once, and sees how the server ends: as a strict client, and as one that forgives.
    async fn hear_end(self, end: Result<(), ErrorKind>) -> Result<(), AnyError> {
        let certificate = self.certificate.expect("only TLS has such an end");
        for (mode, expected) in [(CloseMode::Strict, end), (CloseMode::Lenient, Ok(()))] {
            let tls = TlsClientConfig::builder().root_pem(certificate.clone());
            let tls = tls.close_mode(mode).build()?;
            let stream = TcpConnector::new(("127.0.0.1", self.port))
                .connect()
                .await?;
            let stream = tls.handshake(stream, "localhost")?.await?;
            let mut server = MessageStream::new(stream, Lines::lf().text());
            server.send(&"hello".to_owned()).await?;
            assert_eq!(server.recv().await?.as_deref(), Some("hello"));
            let ended = server.recv().await;
            let heard = ended.map(|ended| assert_eq!(ended, None));
            assert_eq!(heard.map_err(|error| error.kind()), expected, "{mode:?}");
            // Whoever ended in good order waits for the same from us; who cut us off is gone.
            let closed = server.close().await;
            assert!(closed.is_ok() || end.is_err(), "{closed:?}");
        }
        Ok(())
    }
}

async fn ask<T, M>(mut server: T, messages: Vec<M>) -> Result<(), AnyError>
where
    T: Transport<Sent = M, Received = M>,
    M: Debug + PartialEq + Send + Sync,
{
    for message in messages {
        server.send(&message).await?;
        assert_eq!(server.recv().await?, Some(message));
    }
    Ok(server.close().await?)
}
