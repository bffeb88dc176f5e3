//! Sockets of datagrams by URL.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_backend::Backend;
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;
use bowline_codec::{
    Codec, Decode, DecodeError, Encode, EncodeError, Framing, Lines, Netstring, OutputBatch,
    Stapled, Text,
};
use bowline_concurrency::{now, sleep, timeout};
use bowline_sim::{Answer, Sim};
use bowline_transport::{
    DatagramEndpoint, DatagramSocket, Error, ErrorKind, Extra, LocalAddr, Transport, TransportRecv,
    TransportRegistry, TransportSend,
};
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::future::{Either, join, select};

fn registry() -> TransportRegistry<String, String> {
    TransportRegistry::with_builtin(|| Lines::lf().text())
}

/// The transport of `url` asks `server`, which answers.
async fn ask<S: DatagramSocket>(server: DatagramEndpoint<S, Text>, url: &str) {
    let mut transport = registry().open(url).unwrap();
    transport.send(&"hello".to_owned()).await.unwrap();
    let (asked, peer) = server.recv_from().await.unwrap();
    assert_eq!(asked, "hello");
    server.send_to(&"and you".to_owned(), &peer).await.unwrap();
    let answer = transport.recv().await.unwrap();
    assert_eq!(answer.as_deref(), Some("and you"));
    transport.close().await.unwrap();
}

// TR11, T9
#[test]
fn urls_lead_to_sockets_of_datagrams() {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        backend.block_on(async {
            let server = DatagramEndpoint::udp("127.0.0.1:0".parse().unwrap(), Text::new());
            let server = server.unwrap();
            let at = server.extra::<LocalAddr>().unwrap().as_inet().unwrap();
            ask(server, &format!("udp://{at}?max_frame=1KiB")).await;

            #[cfg(target_os = "linux")]
            {
                let name = format!("bowline-datagrams-{}", std::process::id());
                let at = UnixAddress::from_abstract(name.as_str()).unwrap();
                let server = DatagramEndpoint::unix_datagram(&at, Text::new()).unwrap();
                ask(server, &format!("unixgram:@{name}?connect_timeout=1s")).await;
            }
        });
    }
}

// TR11, T9, CL6
#[test]
fn a_stream_by_url_goes_on_after_a_refusal() {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        backend.block_on(async {
            let bind = |at| DatagramEndpoint::udp(at, Text::new()).unwrap();
            let server = bind("127.0.0.1:0".parse().unwrap());
            let at = server.extra::<LocalAddr>().unwrap().as_inet().unwrap();
            drop(server);
            let transport = registry().open(&format!("udp://{at}")).unwrap();
            let (mut sender, receiver) = transport.into_split();
            let mut stream = receiver.into_stream();
            // Some systems tell of a refusal only who sends again.
            let asking = async {
                loop {
                    let _ = sender.send(&"is anybody there?".to_owned()).await;
                    sleep(Duration::from_millis(1)).await;
                }
            };
            let hearing = async {
                let error = stream.next().await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Refused);
                let server = bind(at);
                let answering = async {
                    let (_, peer) = server.recv_from().await.unwrap();
                    server.send_to(&"yes".to_owned(), &peer).await.unwrap();
                };
                let answered = async {
                    loop {
                        match stream.next().await.expect("it goes on") {
                            Ok(answer) => return answer,
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Refused),
                        }
                    }
                };
                join(answered, answering).await.0
            };
            match select(pin!(hearing), pin!(asking)).await {
                Either::Left((answer, _)) => assert_eq!(answer, "yes"),
                Either::Right(((), _)) => unreachable!("it asks on"),
            }
        });
    }
}

// TR11
#[test]
fn what_a_socket_of_datagrams_has_not_is_refused() {
    let registry = registry();
    assert!(registry.names().any(|name| name == "udp"));
    for url in [
        "udp://h:1?reconnect=yes",
        "udp://h",
        "udp://*:1",
        "unixgram:",
        "udp://h:0",
    ] {
        let refused = registry.open(url).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config, "{url}");
    }
    let again = registry.with_datagrams(Text::new).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Config);
}

// TR11
#[test]
fn a_packet_is_no_longer_than_its_url_and_its_frames_allow() {
    Backend::Smol.block_on(async {
        let refused = async |registry: TransportRegistry<String, String>, url: &str| {
            let mut transport = registry.open(url).unwrap();
            let long = transport.send(&"hello".to_owned()).await.unwrap_err();
            long.kind()
        };
        let limit = |limit| ErrorKind::TooLarge { limit };
        let url = "udp://127.0.0.1:9?max_frame=4";
        assert_eq!(refused(registry(), url).await, limit(4));
        let short = || TransportRegistry::with_builtin(|| Lines::lf().max_frame(3).text());
        assert_eq!(refused(short(), url).await, limit(3));
        assert_eq!(refused(short(), "udp://127.0.0.1:9").await, limit(3));
        // A codec of messages alone has no frames.
        let alone = TransportRegistry::new().with_datagrams(Text::new).unwrap();
        assert_eq!(refused(alone, url).await, limit(4));
    });
}

/// Finds its messages itself: there is no codec of one alone in it.
#[derive(Clone)]
struct Bytewise;

impl Decode for Bytewise {
    type Item = String;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<String>, DecodeError> {
        Ok(src.split_to(src.len().min(1)).first().map(u8::to_string))
    }

    fn need(&self) -> usize {
        1
    }
}

impl Encode<String> for Bytewise {
    fn encode(&mut self, item: &String, out: &mut OutputBatch) -> Result<(), EncodeError> {
        out.put_slice(item.as_bytes());
        out.frame_done();
        Ok(())
    }
}

impl Codec for Bytewise {
    type Sent = String;
    type Encoder = Self;
    type Decoder = Self;

    fn split(self) -> (Self, Self) {
        (self.clone(), self)
    }
}

// TR11
#[test]
fn a_codec_of_streams_alone_is_joined_by_one_of_messages() {
    let registry = TransportRegistry::with_streams(|| Bytewise);
    let streams: Vec<String> = registry.names().map(str::to_owned).collect();
    assert_eq!(streams, ["tcp", "unix", "tls", "mem"]);
    let registry = registry.with_datagrams(Text::new).unwrap();
    let all: Vec<&str> = registry.names().collect();
    assert_eq!(all, ["tcp", "unix", "tls", "mem", "udp", "unixgram"]);
    // One way of each kind, stapled or not, has its messages alone.
    let two_ways = || Stapled::new(Lines::lf().text(), Netstring::new().with(Text::new()));
    let stapled = TransportRegistry::with_builtin(two_ways);
    assert_eq!(stapled.names().count(), 6);
}

/// Whether `registry` reaches a host by `addresses`, of which not each has to be one.
fn reaches(addresses: &[&str], seed: u64) -> Result<(), Error> {
    let addresses = addresses.iter().map(|at| at.parse().unwrap()).collect();
    let said = Arc::new(Mutex::new(None));
    let says = said.clone();
    let world = Sim::builder()
        .seed(seed)
        .name("somewhere", Answer::Addresses(addresses))
        .host("server", || async {
            let at = "0.0.0.0:9".parse().unwrap();
            let server = DatagramEndpoint::udp(at, Text::new()).unwrap();
            while let Ok((asked, peer)) = server.recv_from().await {
                server.send_to(&asked, &peer).await.unwrap();
            }
        })
        .client("client", move || {
            let says = says.clone();
            async move {
                let mut transport = registry().open("udp://somewhere:9").unwrap();
                let connected = transport.connect().await;
                // Packets are lost, and the server may not be there yet.
                let mut answer = connected.is_err().then(String::new);
                while answer.is_none() {
                    let _ = transport.send(&"hello".to_owned()).await;
                    let received = timeout(Duration::from_secs(1), transport.recv()).await;
                    answer = received.ok().and_then(|received| received.ok().flatten());
                }
                *says.lock().unwrap() = Some(connected);
            }
        });
    world.run().unwrap();
    let said = said.lock().unwrap().take();
    said.expect("it was told")
}

// TR11, T9
#[test]
fn an_address_that_a_socket_cannot_be_connected_to_is_passed_over() {
    // No socket is connected to all hosts, or to none.
    let (all, none) = ("255.255.255.255", "0.0.0.0");
    for seed in 0..8 {
        reaches(&[all, none, "10.0.0.1"], seed).unwrap();
        let error = reaches(&[all, none], seed).unwrap_err();
        assert_eq!(error.attempts().len(), 2, "{error}");
        assert_eq!(error.kind(), ErrorKind::Connect);
        let alone = reaches(&[all], seed).unwrap_err();
        assert_eq!(alone.kind(), ErrorKind::Permission);
    }
}

// TR11
#[test]
fn a_name_is_not_looked_up_without_end() {
    let world = Sim::builder()
        .name("silent", Answer::Silence)
        .client("client", || async {
            let began = now();
            let url = "udp://silent:9?connect_timeout=250ms";
            let error = registry().open(url).unwrap().connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectTimeout);
            assert_eq!((now() - began).as_millis(), 250);
        });
    world.run().unwrap();
}
