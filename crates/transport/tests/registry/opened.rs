//! What a registry opened, in use.

use bowline_backend::Backend;
#[cfg(unix)]
use bowline_backend::net::UnixListener;
use bowline_backend::net::{Nodelay, RawSocket, TcpListener};
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{Root, now};
use bowline_transport::{
    Break, Client, DynTransport, ErrorKind, Extra, Listener, MessageStream, Params, Transport,
    TransportFactory, TransportRecv, TransportSend,
};
use futures_util::FutureExt;
use futures_util::future::join;

use crate::{KEYS, Own, lines, on_each, registry, why};

/// Sends a line there and one back.
async fn talk(
    transport: &mut DynTransport<String, String>,
    peer: MessageStream<impl bowline_backend::stream::ByteStream, Framed<Lines, Text>>,
) {
    let mut peer = peer;
    assert_eq!(peer.recv().await.unwrap().as_deref(), Some("there"));
    peer.send(&"back".to_owned()).await.unwrap();
    peer.flush().await.unwrap();
    assert_eq!(transport.recv().await.unwrap().as_deref(), Some("back"));
    transport.close().await.unwrap();
    assert_eq!(
        transport.recv().await.unwrap_err().kind(),
        ErrorKind::Closed
    );
}

// TR11
#[test]
fn a_name_in_memory_is_not_waited_for_without_end() {
    Root::new().backend(Backend::Sim).block_on(async {
        let registry = registry();
        let _listener = registry.memory().listen("full").unwrap();
        let mut waiting = Vec::new();
        for _ in 0..1024 {
            waiting.push(registry.memory().connect("full").await.unwrap());
        }
        for (url, millis) in [
            ("mem://full?connect_timeout=250ms", 250),
            ("mem://full", 10_000),
        ] {
            let began = now();
            let error = registry.open(url).unwrap().connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectTimeout);
            assert_eq!((now() - began).as_millis(), millis);
        }
    });
}

// CL1, TR11
#[cfg(unix)]
#[test]
fn a_client_of_a_path_does_not_wait_without_end() {
    use bowline_backend::net::{UnixListenOptions, UnixStream};
    use bowline_concurrency::timeout;

    let second = std::time::Duration::from_secs(1);
    Root::new().backend(Backend::Sim).block_on(async {
        let address = UnixAddress::from_path("/full").unwrap();
        let options = UnixListenOptions::new().backlog(1);
        let _listener = UnixListener::bind_with(&address, options).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(second, UnixStream::connect(&address)).await {
            waiting.push(stream.unwrap());
        }
        let began = now();
        let error = Client::new(address, lines).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectTimeout);
        assert_eq!((now() - began).as_millis(), 10_000);
    });
}

// TR11, T10
#[test]
fn what_is_opened_connects_when_it_is_used() {
    on_each(async || {
        let registry = registry();
        let there = "there".to_owned();

        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = listener.local_addr().unwrap();
        let url = format!("tcp://{at}?nodelay=off&connect_timeout=5s&max_frame=64KiB&reconnect=no");
        let mut transport = registry.open(&url).unwrap();
        assert!(listener.accept().now_or_never().is_none());
        transport.send(&there).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let raw = transport.extra::<RawSocket>();
        let backend = Backend::current().unwrap();
        assert_eq!(raw.is_some(), backend.capabilities().std_sockets);
        let nodelay = raw.as_ref().map(|raw| raw.nodelay().unwrap());
        assert!(nodelay.is_none_or(|nodelay| nodelay == Nodelay::Off));
        talk(&mut transport, MessageStream::new(stream, lines())).await;
        assert!(raw.is_none_or(|raw| !raw.is_open()));

        // The same by its parameters.
        let mut params = registry.params("tcp").unwrap();
        params.set("host", "127.0.0.1").unwrap();
        params.set("port", &at.port().to_string()).unwrap();
        let mut transport = registry.create("tcp", &params).unwrap();
        transport.connect().await.unwrap();
        transport.send(&there).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        talk(&mut transport, MessageStream::new(stream, lines())).await;

        let mut listener = registry.memory().listen("parrot").unwrap();
        let mut transport = registry.open("mem://parrot").unwrap();
        transport.send(&there).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        talk(&mut transport, MessageStream::new(stream, lines())).await;
    });
}

// TR11
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn an_abstract_name_is_opened() {
    on_each(async || {
        let name = format!("bowline-registry-{}", std::process::id());
        let listener = UnixListener::bind(&UnixAddress::from_abstract(name.as_str()).unwrap());
        let listener = listener.unwrap();
        let mut transport = registry().open(&format!("unix:@{name}")).unwrap();
        transport.send(&"there".to_owned()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        talk(&mut transport, MessageStream::new(stream, lines())).await;
    });
}

// TR11
#[test]
fn a_frame_above_the_limit_is_refused_both_ways() {
    on_each(async || {
        let registry = registry();
        let mut listener = registry.memory().listen("short").unwrap();
        let mut transport = registry.open("mem://short?max_frame=8").unwrap();
        transport.send(&"seven..".to_owned()).await.unwrap();
        let error = transport.send(&"eight...".to_owned()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge { limit: 8 });
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = MessageStream::new(stream, lines());
        assert_eq!(peer.recv().await.unwrap().as_deref(), Some("seven.."));
        peer.send(&"seven..".to_owned()).await.unwrap();
        peer.send(&"eight...".to_owned()).await.unwrap();
        assert_eq!(transport.recv().await.unwrap().as_deref(), Some("seven.."));
        for _ in 0..2 {
            let error = transport.recv().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken(Break::Undecodable));
        }
        // One that has no end yet is told from what has come.
        let mut transport = registry.open("mem://short?max_frame=8").unwrap();
        transport.connect().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        use bowline_backend::stream::ByteStreamExt;
        stream.write_all(b"no newline").await.unwrap();
        assert_eq!(
            transport.recv().await.unwrap_err().kind(),
            ErrorKind::Broken(Break::Undecodable)
        );
    });
}

// TR11, CL2
#[test]
fn with_reconnect_it_comes_back() {
    on_each(async || {
        let registry = registry();
        let mut listener = registry.memory().listen("phoenix").unwrap();
        let mut transport = registry.open("mem://phoenix?reconnect=yes").unwrap();
        transport.connect().await.unwrap();
        drop(listener.accept().await.unwrap());
        assert_eq!(transport.recv().await.unwrap_err().kind(), ErrorKind::Ended);
        transport.send(&"again".to_owned()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = MessageStream::new(stream, lines());
        assert_eq!(peer.recv().await.unwrap().as_deref(), Some("again"));

        // The sender alone ends it; the receiver hears the rest.
        let (sender, mut receiver) = transport.into_split();
        drop(sender);
        assert_eq!(peer.recv().await.unwrap(), None);
        peer.send(&"last".to_owned()).await.unwrap();
        peer.close().await.unwrap();
        assert_eq!(receiver.recv().await.unwrap().as_deref(), Some("last"));
        assert_eq!(receiver.recv().await.unwrap(), None);
    });
}

// TR8, TR11
#[test]
fn what_was_split_and_put_together_is_reset_when_it_is_dropped() {
    on_each(async || {
        let registry = registry();
        let mut listener = registry.memory().listen("whole").unwrap();
        let mut transport = registry.open("mem://whole").unwrap();
        transport.connect().await.unwrap();
        let (sender, receiver) = transport.into_split();
        drop(DynTransport::reunite(sender, receiver).unwrap());
        let (stream, _) = listener.accept().await.unwrap();
        let reset = MessageStream::new(stream, lines()).recv().await;
        let reset = reset.unwrap_err().kind();
        assert_eq!(reset, ErrorKind::Broken(Break::Reset));
    });
}

// TR11
#[test]
fn who_only_receives_connects_and_ends_the_sending_side() {
    on_each(async || {
        for url in ["mem://hears", "mem://hears?reconnect=yes"] {
            let registry = registry();
            let mut listener = registry.memory().listen("hears").unwrap();
            let (sender, mut receiver) = registry.open(url).unwrap().into_split();
            drop(sender);
            let serve = async {
                let (stream, _) = listener.accept().await.unwrap();
                let mut peer = MessageStream::new(stream, lines());
                assert_eq!(peer.recv().await.unwrap(), None);
                peer.send(&"news".to_owned()).await.unwrap();
                peer.close().await.unwrap();
            };
            let hear = async {
                assert_eq!(receiver.recv().await.unwrap().as_deref(), Some("news"));
                assert_eq!(receiver.recv().await.unwrap(), None);
            };
            join(serve, hear).await;
        }
    });
}

// TR11
#[test]
fn halves_of_one_box_reunite() {
    on_each(async || {
        let registry = registry();
        let mut listener = registry.memory().listen("halves").unwrap();
        let mut open = async || {
            let transport = registry.open("mem://halves").unwrap();
            let (mut sender, receiver) = transport.into_split();
            sender.send(&"x".to_owned()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            (sender, receiver, MessageStream::new(stream, lines()))
        };
        let (one_sender, one_receiver, mut peer) = open().await;
        let (other_sender, other_receiver, _other) = open().await;
        let mixed = DynTransport::reunite(one_sender, other_receiver);
        let (one_sender, other_receiver) = mixed.expect_err("halves of two");
        let mut one = DynTransport::reunite(one_sender, one_receiver).unwrap();
        let other = DynTransport::reunite(other_sender, other_receiver);
        assert!(other.is_ok());
        one.send(&"whole".to_owned()).await.unwrap();
        assert_eq!(peer.recv().await.unwrap().as_deref(), Some("x"));
        assert_eq!(peer.recv().await.unwrap().as_deref(), Some("whole"));
        // Of another kind altogether.
        let own = Own("own").create(&Params::new(KEYS)).unwrap();
        let (own_sender, _own_receiver) = own.into_split();
        let (_, one_receiver) = one.into_split();
        assert!(DynTransport::reunite(own_sender, one_receiver).is_err());
    });
}

// TR11
#[test]
fn who_failed_once_may_come_again() {
    on_each(async || {
        let registry = registry();
        let mut nobody = registry.open("mem://x").unwrap();
        let refused = nobody.send(&"?".to_owned()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
        let mut listener = registry.memory().listen("x").unwrap();
        nobody.send(&"!".to_owned()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = MessageStream::new(stream, lines());
        assert_eq!(peer.recv().await.unwrap().as_deref(), Some("!"));
    });
}

// TR11
#[test]
fn a_client_takes_the_same_urls() {
    on_each(async || {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = listener.local_addr().unwrap();
        let client = Client::new(format!("tcp://{at}?connect_timeout=5s"), lines);
        client.send(&"there".to_owned()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = MessageStream::new(stream, lines());
        assert_eq!(peer.recv().await.unwrap().as_deref(), Some("there"));
        for (url, told) in [
            ("tcp://:80", "it names no host that could be reached"),
            (
                "ws://h:80",
                "there is no transport `ws`; there are tcp, unix, tls, mem",
            ),
            (
                "mem://x",
                "names in memory are those of a network: `ClientTarget::network` says which",
            ),
        ] {
            let client = Client::new(url, lines);
            assert_eq!(why(client.connect().await), told);
        }
    });
}
