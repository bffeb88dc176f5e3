//! Sockets of datagrams by URL.

use std::pin::pin;
use std::time::Duration;

use bowline_backend::Backend;
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;
use bowline_codec::{Lines, Text};
use bowline_concurrency::{now, sleep};
use bowline_sim::{Answer, Sim};
use bowline_transport::{
    DatagramEndpoint, DatagramSocket, ErrorKind, Extra, LocalAddr, Transport, TransportRecv,
    TransportRegistry, TransportSend,
};
use futures_util::StreamExt;
use futures_util::future::{Either, join, select};

fn registry() -> TransportRegistry<String, String> {
    let registry = TransportRegistry::with_builtin(|| Lines::lf().text());
    registry.with_datagrams(Text::new).unwrap()
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
                ask(server, &format!("unixgram:@{name}")).await;
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
    Backend::Smol.block_on(async {
        let registry = TransportRegistry::with_builtin(|| Lines::lf().text());
        let registry = registry.with_datagrams(Text::new).unwrap();
        let mut transport = registry.open("udp://127.0.0.1:9?max_frame=4").unwrap();
        let long = transport.send(&"hello".to_owned()).await.unwrap_err();
        assert_eq!(long.kind(), ErrorKind::TooLarge { limit: 4 });
    });
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
