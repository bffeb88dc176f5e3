//! What errors say to whoever reads them: whom, where, which, and how often.

use std::error::Error as _;

use bowline_backend::Backend;
use bowline_codec::{Encoding, Framing, Lines, Netstring, Text};
use bowline_concurrency::Backoff;
use bowline_transport::Extra;
use bowline_transport::{
    Client, DatagramEndpoint, DatagramTransport, DynTransport, Error, ErrorKind, LocalAddr,
    MemoryNetwork, MemoryStream, MessageStream, Server, Shared, TcpConnector, Transport,
    TransportRegistry, TransportSend, TrySendError,
};
use std::time::Duration;

fn on_each(law: impl AsyncFn()) {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        backend.block_on(law());
    }
}

/// An error and what lies beneath, as a report would have it.
fn whole(error: &Error) -> String {
    let beneath = error.source().map(|source| format!(" <- {source}"));
    format!("{error}{}", beneath.unwrap_or_default())
}

/// Lines of ASCII alone.
fn ascii() -> bowline_codec::Framed<Lines, Text> {
    Lines::lf().with(Text::new().encoding(Encoding::Ascii))
}

// TR12
#[test]
fn a_message_that_is_refused_names_its_peer() {
    on_each(async || {
        let bad = "grün".to_owned();
        let said = |peer: &str| {
            format!(
                "send: the message cannot be encoded (peer {peer}) <- ASCII cannot express the text"
            )
        };
        let stream = || MessageStream::new(MemoryStream::pair().0, ascii());
        let mut plain = stream();
        let refused = [
            plain.send(&bad).await.unwrap_err(),
            plain.split().0.feed(&bad).await.unwrap_err(),
            DynTransport::new(stream()).send(&bad).await.unwrap_err(),
            DynTransport::new(stream())
                .split()
                .0
                .feed(&bad)
                .await
                .unwrap_err(),
        ];
        for error in &refused {
            assert_eq!(whole(error), said("memory:b"));
        }
        let shared = Shared::new(stream());
        let permit = shared.reserve().await.unwrap();
        assert_eq!(whole(&permit.send(&bad).unwrap_err()), said("memory:b"));
        assert_eq!(
            whole(&shared.feed(&bad).await.unwrap_err()),
            said("memory:b")
        );
        let Err(TrySendError::Failed(error)) = shared.try_send(&bad) else {
            panic!("it was sent");
        };
        assert_eq!(whole(&error), said("memory:b"));

        let client = Client::with_dial(move || async move {
            let (here, there) = MemoryStream::pair();
            std::mem::forget(there);
            Ok(DynTransport::new(MessageStream::new(here, ascii())))
        });
        assert_eq!(
            whole(&client.send(&bad).await.unwrap_err()),
            said("memory:b")
        );
        let permit = client.reserve().await.unwrap();
        assert_eq!(whole(&permit.send(&bad).unwrap_err()), said("memory:b"));

        let codec = || Text::new().encoding(Encoding::Ascii);
        let server = DatagramEndpoint::udp("127.0.0.1:0".parse().unwrap(), codec()).unwrap();
        let at = server.extra::<LocalAddr>().unwrap();
        let mut packets = DatagramTransport::udp(at.as_inet().unwrap(), codec()).unwrap();
        let said = said(&at.to_string());
        assert_eq!(whole(&packets.send(&bad).await.unwrap_err()), said);
        assert_eq!(whole(&server.send_to(&bad, &at).await.unwrap_err()), said);
    });
}

// TR12, T11
#[test]
fn where_nobody_can_listen_is_told() {
    on_each(async || {
        let lines = || Lines::lf().text();
        let bind = async |at: &str| Server::url(at).codec(lines).bind().await.unwrap_err();
        // In the simulator there is every directory.
        if Backend::current() != Ok(Backend::Sim) {
            let nowhere = bind("unix:/nowhere/at/all.sock").await;
            assert_eq!(nowhere.kind(), ErrorKind::Connect);
            assert!(
                nowhere
                    .to_string()
                    .starts_with("bind: nobody can listen there (at /nowhere/at/all.sock)"),
                "{nowhere}"
            );
            let packets = Server::unix_datagram("/nowhere/at/all.sock").codec(Text::new);
            let packets = packets.bind().await.unwrap_err();
            assert_eq!(packets.place(), Some("/nowhere/at/all.sock"));
        }
        for error in [
            Server::tcp(("", 9)).codec(lines).bind().await.unwrap_err(),
            Server::udp(("", 9))
                .codec(Text::new)
                .bind()
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.to_string(), "bind: nobody can listen there (at :9)");
            assert_eq!(error.peer(), None);
        }
        let wrong = bind("tcp://127.0.0.1:123456?key=secret").await;
        assert_eq!(
            whole(&wrong),
            "bind: it is not set up correctly (at `tcp://127.0.0.1:123456?..`) <- \
             no port: a number from 0 to 65535 after a colon, at byte 15"
        );
        let nameless = bind("mem://x").await;
        assert!(
            whole(&nameless).contains("`UrlPlace::network` says which"),
            "{nameless:?}"
        );
        let network = MemoryNetwork::new();
        let _taken = network.listen("x").unwrap();
        let taken = Server::memory(&network, "x").codec(lines).bind().await;
        assert_eq!(taken.unwrap_err().place(), Some("x"));
    });
}

// TR11, TR12
#[test]
fn a_url_that_is_none_is_shown_without_its_secrets() {
    on_each(async || {
        let registry = TransportRegistry::with_builtin(|| Lines::lf().text());
        let wrong = registry.open("tcp://user:secret@h:1").unwrap_err();
        assert_eq!(
            whole(&wrong),
            "connect: it is not set up correctly (at `tcp://..@h:1`) <- user info is not accepted, at byte 6"
        );
        let wrong = registry.open("udp://h:1?max_frame=2MiB").unwrap_err();
        assert_eq!(
            whole(&wrong),
            "connect: it is not set up correctly (at `udp://h:1?..`) <- `max_frame` has to be from 1B to 1MiB"
        );
        let client = Client::new("ws://h:80", || Lines::lf().text());
        assert_eq!(
            client.connect().await.unwrap_err().place(),
            Some("`ws://h:80`")
        );
        let client = Client::new("tcp://h:0", || Lines::lf().text());
        assert_eq!(
            client.connect().await.unwrap_err().place(),
            Some("`tcp://h:0`")
        );
    });
}

// TR11
#[test]
fn addresses_may_be_text() {
    on_each(async || {
        let lines = || Lines::lf().text();
        for at in ["127.0.0.1:0", ":0", "*:0"] {
            let server = Server::tcp(at).codec(lines).bind().await.unwrap();
            let port = server.local_addrs()[0].as_inet().unwrap().port();
            let client = Client::new(format!("127.0.0.1:{port}"), lines);
            client.connect().await.unwrap();
            let stream = TcpConnector::new(format!("localhost:{port}").as_str())
                .connect()
                .await;
            stream.unwrap();
            let udp = Server::udp(at).codec(Text::new).bind().await.unwrap();
            let local = udp.local_addrs()[0].as_inet().unwrap();
            assert_eq!(local.ip().is_unspecified(), !at.starts_with("127."));
        }
        let wrong = Server::tcp("tcp://h:80")
            .codec(lines)
            .bind()
            .await
            .unwrap_err();
        assert_eq!(
            whole(&wrong),
            "bind: it is not set up correctly (at `tcp://h:80`) <- \
             no address: `host:port` is due, at byte 0"
        );
        let wrong = Server::udp("nowhere")
            .codec(Text::new)
            .bind()
            .await
            .unwrap_err();
        assert_eq!(
            (wrong.kind(), wrong.place()),
            (ErrorKind::Config, Some("`nowhere`"))
        );
        for (text, why) in [
            (
                "h:99999",
                "no port: a number from 0 to 65535 after a colon, at byte 1",
            ),
            ("h", "no address: `host:port` is due, at byte 1"),
            ("h:0", "it names no port that could be reached"),
            (":80", "it names no host that could be reached"),
        ] {
            let wrong = Client::new(text, lines).connect().await.unwrap_err();
            assert_eq!(
                whole(&wrong),
                format!("connect: it is not set up correctly (at `{text}`) <- {why}")
            );
            let wrong = TcpConnector::new(text).connect().await.unwrap_err();
            assert_eq!(wrong.kind(), ErrorKind::Config);
        }
    });
}

// TR12, CL2
#[test]
fn who_gave_up_says_after_how_many_attempts() {
    on_each(async || {
        let gone = Server::tcp("127.0.0.1:0").codec(|| Lines::lf().text());
        let gone = gone.bind().await.unwrap().local_addrs()[0].clone();
        let at = gone.as_inet().unwrap();
        for (most, word) in [(1, "1 attempt in "), (3, "3 attempts in ")] {
            let client = Client::new(at, || Netstring::new().with(Text::new()))
                .reconnect(Backoff::exponential(Duration::from_millis(1)))
                .reconnect_attempts(most);
            let error = client.connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
            assert_eq!(error.gave_up_after(), Some(most));
            let said = error.to_string();
            let expected =
                format!("connect: there is no connection (peer {at}), given up after {word}");
            assert!(said.starts_with(&expected), "{said}");
            assert!(
                said.contains(&format!(": the connection was refused: {at}: ")),
                "{said}"
            );
            // The last cause is beneath as it was.
            let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
            assert_eq!(
                (cause.kind(), cause.gave_up_after()),
                (ErrorKind::Refused, None)
            );
        }
    });
}

// TR12, T2
#[cfg(feature = "tls")]
#[test]
fn what_is_wrong_with_a_certificate_is_not_said_of_a_peer() {
    use bowline_transport::{CertStore, TlsClientConfig};
    let pem =
        |what: &str| format!("-----BEGIN CERTIFICATE-----\n{what}\n-----END CERTIFICATE-----\n");
    let store = CertStore::new(&pem("AAAA"), "").unwrap_err();
    assert_eq!(
        whole(&store),
        "setup: it is not set up correctly <- there is no private key in the PEM text"
    );
    let good = rcgen::generate_simple_self_signed(["h".to_owned()])
        .unwrap()
        .cert
        .pem();
    let root = TlsClientConfig::builder()
        .root_pem(format!("{good}{}", pem("AAAA")))
        .build();
    assert_eq!(
        whole(&root.unwrap_err()),
        "setup: it is not set up correctly <- \
         certificate 2 of those that are to be trusted cannot be read: BadEncoding"
    );
    let root = TlsClientConfig::builder().root_pem(pem("%%%%")).build();
    let root = whole(&root.unwrap_err());
    assert!(root.contains(" <- the PEM text cannot be read: "), "{root}");
}
