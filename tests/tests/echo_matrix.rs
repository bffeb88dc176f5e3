//! Every transport with every kind of codec, on every backend; and what goes over the wire is what
//! EasyNetwork sends.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use bowline::backend::Backend;
use bowline::backend::net::{TcpListener, TcpStream};
#[cfg(unix)]
use bowline::backend::net::{UnixDatagram, UnixStream};
use bowline::backend::stream::{ByteStream, ByteStreamExt};
use bowline::codec::{
    Cbor, CborFraming, Codec, Encoding, FixedStr, Framing, Json, LengthDelimited, Lines,
    MessageCodec, Msgpack, MsgpackFraming, Struct, Text,
};
use bowline::concurrency::{Root, timeout};
use bowline::transport::{
    CertStore, DatagramEndpoint, DatagramRecv, DatagramSocket, DatagramTransport, Error, Extra,
    LocalAddr, MemoryDatagram, MemoryStream, MessageStream, TlsClientConfig, TlsServerConfig,
    TlsStream, Transport,
};
use bowline_tests::messages::{Named, Order, named, orders, texts};
use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::join;
use serde_json::Value;

/// EasyNetwork sends none that is empty.
fn with_an_empty_one(mut texts: Vec<String>) -> Vec<String> {
    texts.insert(1, String::new());
    texts
}

/// What is sent comes back, one by one.
async fn echo<M, T, U>((mut client, mut server): (T, U), messages: Vec<M>)
where
    M: Clone + Debug + PartialEq + Send + Sync,
    T: Transport<Sent = M, Received = M>,
    U: Transport<Sent = M, Received = M>,
{
    let count = messages.len();
    let asking = async {
        for message in messages {
            client.send(&message).await?;
            assert_eq!(client.recv().await?, Some(message));
        }
        Ok::<_, Error>(())
    };
    let answering = async {
        for _ in 0..count {
            let message = server.recv().await?.expect("a message");
            server.send(&message).await?;
        }
        Ok::<_, Error>(())
    };
    let (asked, answered) = join(asking, answering).await;
    asked.unwrap();
    answered.unwrap();
    client.close().await.unwrap();
    server.close().await.unwrap();
}

/// All codecs over a pair of streams, made anew for each.
async fn over_streams<S, P>(pair: impl Fn() -> P)
where
    S: ByteStream + Extra,
    P: Future<Output = (S, S)>,
{
    async fn with<S, C>((here, there): (S, S), codec: impl Fn() -> C, messages: Vec<C::Item>)
    where
        S: ByteStream + Extra,
        C: Codec<Sent = <C as bowline::codec::Decode>::Item> + Send + 'static,
        C::Item: Clone + Debug + PartialEq + Send + Sync + 'static,
        C::Encoder: Unpin,
        C::Decoder: Unpin,
    {
        let pair = (
            MessageStream::new(here, codec()),
            MessageStream::new(there, codec()),
        );
        echo(pair, messages).await;
    }
    with(
        pair().await,
        || Lines::crlf().text(),
        with_an_empty_one(texts()),
    )
    .await;
    with(pair().await, || Json::<Order>::new().lines(), orders()).await;
    let framed = || LengthDelimited::varint().with(Msgpack::<Order>::new());
    with(pair().await, framed, orders()).await;
    with(pair().await, || Struct::<Named>::new().framed(), named()).await;
}

/// All codecs over a pair of connected sockets of datagrams, made anew for each.
async fn over_datagrams<S, P>(pair: impl Fn() -> P)
where
    S: DatagramSocket,
    P: Future<Output = (S, S)>,
{
    async fn with<S, C>((here, there): (S, S), codec: impl Fn() -> C, messages: Vec<C::Received>)
    where
        S: DatagramSocket,
        C: MessageCodec<Sent = <C as MessageCodec>::Received>
            + Clone
            + Send
            + Sync
            + Unpin
            + 'static,
        C::Received: Clone + Debug + PartialEq + Send + Sync + 'static,
    {
        let pair = (
            DatagramTransport::new(here, codec()),
            DatagramTransport::new(there, codec()),
        );
        echo(pair, messages).await;
    }
    with(pair().await, Text::new, with_an_empty_one(texts())).await;
    with(pair().await, Json::<Order>::new, orders()).await;
    with(pair().await, Msgpack::<Order>::new, orders()).await;
    with(pair().await, Struct::<Named>::new, named()).await;
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (connected, accepted) = join(connecting, listener.accept()).await;
    (connected.unwrap(), accepted.unwrap().0)
}

async fn tls() -> (TlsStream<TcpStream>, TlsStream<TcpStream>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let store = CertStore::new(&certificate, &key).unwrap();
    let server = TlsServerConfig::builder(&store).build().unwrap();
    let client = TlsClientConfig::builder().root_pem(certificate).build();
    let (here, there) = tcp().await;
    let ours = client.unwrap().handshake(here, "localhost").unwrap();
    let theirs = server.handshake(there).unwrap();
    let (ours, theirs) = join(ours.into_future(), theirs.into_future()).await;
    (ours.unwrap(), theirs.unwrap())
}

/// A connected socket asks one that answers anybody.
async fn over_udp() {
    async fn with<C>(codec: impl Fn() -> C, messages: Vec<C::Received>)
    where
        C: MessageCodec<Sent = <C as MessageCodec>::Received>
            + Clone
            + Send
            + Sync
            + Unpin
            + 'static,
        C::Received: Clone + Debug + PartialEq + Send + Sync + 'static,
    {
        let server = DatagramEndpoint::udp("127.0.0.1:0".parse().unwrap(), codec()).unwrap();
        let address = server.extra::<LocalAddr>().unwrap().as_inet().unwrap();
        let mut client = DatagramTransport::udp(address, codec()).unwrap();
        for message in messages {
            client.send(&message).await.unwrap();
            let (asked, peer) = server.recv_from().await.unwrap();
            server.send_to(&asked, &peer).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), Some(message));
        }
    }
    with(Text::new, with_an_empty_one(texts())).await;
    with(Json::<Order>::new, orders()).await;
    with(Msgpack::<Order>::new, orders()).await;
    with(Struct::<Named>::new, named()).await;
}

async fn everything() {
    let most = Duration::from_secs(60);
    let all = timeout(most, async {
        over_streams(async || MemoryStream::pair()).await;
        over_streams(tcp).await;
        over_streams(tls).await;
        over_datagrams(async || MemoryDatagram::pair()).await;
        over_udp().await;
        #[cfg(unix)]
        {
            over_streams(async || UnixStream::pair().unwrap()).await;
            over_datagrams(async || UnixDatagram::pair().unwrap()).await;
        }
    });
    all.await.expect("it ends");
}

// CL7
#[test]
fn every_transport_carries_every_codec() {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        Root::new().backend(backend).block_on(everything());
    }
}

/// What EasyNetwork 1.2.0 sends for each packet of `set`, to a stream or as a datagram.
fn fixture(set: &str, form: &str) -> Vec<(Value, Vec<u8>)> {
    let text = include_str!("../../crates/codec/tests/fixtures/easynetwork-serializers.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let rows = all["sets"][set].as_array().unwrap();
    let bytes = |hex: &str| -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    rows.iter()
        .map(|row| {
            let wire = bytes(row[form].as_str().unwrap());
            (row["packet"].clone(), wire)
        })
        .collect()
}

/// What a message stream writes for each packet, and what it makes of it.
fn same_stream<C>(set: &str, codec: impl Fn() -> C, packet: impl Fn(&Value) -> C::Item)
where
    C: Codec<Sent = <C as bowline::codec::Decode>::Item> + Send + 'static,
    C::Item: Debug + PartialEq + Send + Sync + 'static,
{
    for (value, wire) in fixture(set, "stream_hex") {
        let (here, mut raw) = MemoryStream::pair();
        let mut here = MessageStream::new(here, codec());
        let packet = packet(&value);
        here.send(&packet).now_or_never().unwrap().unwrap();
        let (mut written, most) = (BytesMut::new(), wire.len().try_into().unwrap());
        let read = raw.read_into(&mut written, most);
        read.now_or_never().unwrap().unwrap();
        assert_eq!(written, wire[..], "{set}: {value}");
        raw.write_all(&wire).now_or_never().unwrap().unwrap();
        let back = here.recv().now_or_never().unwrap().unwrap();
        assert_eq!(back, Some(packet));
    }
}

/// The same of datagrams.
fn same_packets<C>(set: &str, codec: impl Fn() -> C, packet: impl Fn(&Value) -> C::Received)
where
    C: MessageCodec<Sent = <C as MessageCodec>::Received> + Send + Sync + 'static,
    C::Received: Debug + PartialEq + Send + Sync + 'static,
{
    for (value, wire) in fixture(set, "one_shot_hex") {
        let (here, raw) = MemoryDatagram::pair();
        let mut here = DatagramTransport::new(here, codec());
        let packet = packet(&value);
        here.send(&packet).now_or_never().unwrap().unwrap();
        let mut sent = BytesMut::new();
        let most = (64 * 1024).try_into().unwrap();
        let received = raw.recv_from(&mut sent, most);
        received.now_or_never().unwrap().unwrap();
        assert_eq!(sent, wire[..], "{set}: {value}");
        raw.send(&wire).now_or_never().unwrap().unwrap();
        let back = here.recv().now_or_never().unwrap().unwrap();
        assert_eq!(back, Some(packet));
    }
}

// CL7
#[test]
fn what_goes_over_the_wire_is_what_easynetwork_sends() {
    let value = Value::clone;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let named = |value: &Value| Named {
        x: i32::try_from(value["x"].as_i64().unwrap()).unwrap(),
        y: value["y"].as_f64().unwrap(),
        name: FixedStr::new(value["name"].as_str().unwrap()).unwrap(),
    };
    let json = || Json::<Value>::new().ascii_only();
    same_stream("json_lines", || json().lines(), value);
    same_stream("line_utf8_LF", || Lines::lf().text(), text);
    let ascii = |lines: Lines| lines.with(Text::new().encoding(Encoding::Ascii));
    same_stream("line_ascii_LF", || ascii(Lines::lf()), text);
    same_stream("line_ascii_CR", || ascii(Lines::cr()), text);
    same_stream("line_ascii_CRLF", || ascii(Lines::crlf()), text);
    same_stream(
        "msgpack",
        || MsgpackFraming::new().with(Msgpack::<Value>::new()),
        value,
    );
    same_stream(
        "cbor",
        || CborFraming::new().with(Cbor::<Value>::new()),
        value,
    );
    let set = "named_struct_network_i_d_8s";
    same_stream(set, || Struct::<Named>::new().framed(), named);
    same_packets("json_lines", json, value);
    same_packets("msgpack", Msgpack::<Value>::new, value);
    same_packets("cbor", Cbor::<Value>::new, value);
    same_packets(set, Struct::<Named>::new, named);
}
