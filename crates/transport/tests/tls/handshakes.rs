//! Handshakes that succeed, fail and stall.

use std::error::Error as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt};
use bowline_backend::time::now;
use bowline_codec::Lines;
use bowline_transport::{
    Break, CertStore, ClientCertificates, Error, ErrorKind, Extra, Listener, Listeners,
    MemoryStream, MessageStream, Operation, TcpConnector, TlsFailure, TlsInfo, TlsListener,
    TlsServerConfig, Transport,
};
use bytes::BytesMut;
use futures_util::future::{join, join3};

use crate::certificates::Authority;
use crate::pairs::{NAME, client, server, shake, tcp};

fn failure(error: Error) -> TlsFailure {
    assert_eq!(error.operation(), Operation::Handshake, "{error}");
    assert!(
        !error.is_connection() && !error.is_retryable() && error.source().is_some()
            || error.kind() == ErrorKind::Tls(TlsFailure::Plaintext)
    );
    match error.kind() {
        ErrorKind::Tls(failure) => failure,
        kind => panic!("{kind:?}"),
    }
}

// T2, T10
pub(crate) async fn both_learn_what_was_agreed() {
    let authority = Authority::new();
    let identity = authority.sign("alice.test");
    let client = client(&authority)
        .certificate(&*identity.chain, &*identity.key)
        .alpn("first/1")
        .alpn("second/1");
    let server = server(&authority.sign(NAME))
        .client_roots(ClientCertificates::Require, authority.pem())
        .alpn("second/1");
    let (client, server) = (client.build().unwrap(), server.build().unwrap());
    let (here, there) = shake(&client, &server, NAME, tcp().await).await;
    let (here, there) = (
        here.unwrap().extra::<TlsInfo>(),
        there.unwrap().extra::<TlsInfo>(),
    );
    let (here, there) = (here.unwrap(), there.unwrap());
    assert_eq!((here.version, there.version), ("TLSv1.3", "TLSv1.3"));
    assert_eq!((&here.cipher, &here.alpn), (&there.cipher, &there.alpn));
    assert_eq!(here.alpn.as_deref(), Some(&b"second/1"[..]));
    assert!(here.cipher.unwrap().starts_with("TLS13_AES"), "{here:?}");
    assert_eq!(
        (here.sni.as_deref(), there.sni.as_deref()),
        (None, Some(NAME))
    );
    assert_eq!(
        (here.peer_certificates.len(), there.peer_certificates.len()),
        (1, 1)
    );
    assert_ne!(here.peer_certificates, there.peer_certificates);
}

// T2
pub(crate) async fn certificates_that_are_not_accepted() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (identity, name) in [
        (authority.sign_expired(NAME), NAME),
        (authority.sign(NAME), "another.test"),
        (authority.sign(NAME), "127.0.0.1"),
        (other.sign(NAME), NAME),
    ] {
        let (client, server) = (
            client(&authority).build().unwrap(),
            server(&identity).build().unwrap(),
        );
        let (here, there) = shake(&client, &server, name, tcp().await).await;
        assert_eq!(failure(here.unwrap_err()), TlsFailure::Certificate);
        assert_eq!(failure(there.unwrap_err()), TlsFailure::Refused);
    }
    // Whoever says that it does not matter gets through.
    let anybody = bowline_transport::TlsClientConfig::builder().danger_skip_verification();
    let server = server(&other.sign_expired(NAME)).build().unwrap();
    let (here, there) = shake(&anybody.build().unwrap(), &server, NAME, tcp().await).await;
    assert!(here.is_ok() && there.is_ok());
}

// T2
pub(crate) async fn a_client_without_a_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let stranger = other.sign("mallory.test");
    let nobody = client(&authority).build().unwrap();
    let mallory = client(&authority).certificate(&*stranger.chain, &*stranger.key);
    let mallory = mallory.build().unwrap();
    let ask = |asked| {
        let server = server(&authority.sign(NAME)).client_roots(asked, authority.pem());
        server.build().unwrap()
    };
    for (client, asked, accepted) in [
        (&nobody, ClientCertificates::Require, false),
        (&nobody, ClientCertificates::Optional, true),
        (&mallory, ClientCertificates::Require, false),
        (&mallory, ClientCertificates::Optional, false),
    ] {
        let (here, there) = tcp().await;
        let here = client.handshake(here, NAME).unwrap();
        let there = ask(asked).handshake(there).unwrap();
        // In TLS 1.3 a client is done before the server has looked at its certificate.
        let talk = async {
            let mut here = MessageStream::new(here.await?, Lines::lf().text());
            here.recv().await
        };
        let answer = async {
            let mut there = MessageStream::new(there.await?, Lines::lf().text());
            there.send(&"welcome".to_owned()).await?;
            there.close().await
        };
        let (heard, answered) = join(talk, answer).await;
        if accepted {
            assert_eq!(heard.unwrap().as_deref(), Some("welcome"));
            answered.unwrap();
        } else {
            assert_eq!(failure(answered.unwrap_err()), TlsFailure::Certificate);
            let heard = heard.unwrap_err();
            assert_eq!(
                heard.kind(),
                ErrorKind::Tls(TlsFailure::Refused),
                "{heard:?}"
            );
        }
    }
}

// T2
pub(crate) async fn protocols_and_names_that_do_not_match() {
    let authority = Authority::new();
    let identity = authority.sign(NAME);
    let named = CertStore::only_names();
    named
        .replace_name("Bowline.TEST", &identity.chain, &identity.key)
        .unwrap();
    for wrong in [
        "*.test",
        "192.0.2.1",
        "",
        "other.test",
        "bowline.test.other",
    ] {
        let refused = named.replace_name(wrong, &identity.chain, &identity.key);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Config, "{wrong}");
    }
    let by_name = TlsServerConfig::builder(&named).build().unwrap();

    let plain = client(&authority).build().unwrap();
    let (here, there) = shake(&plain, &by_name, NAME, tcp().await).await;
    assert!(here.is_ok() && there.is_ok());
    let (here, there) = shake(&plain, &by_name, "other.test", tcp().await).await;
    assert_eq!(failure(here.unwrap_err()), TlsFailure::Refused);
    assert_eq!(failure(there.unwrap_err()), TlsFailure::Protocol);

    let speaks = client(&authority).alpn("one").build().unwrap();
    let other = server(&identity).alpn("two").build().unwrap();
    let (here, there) = shake(&speaks, &other, NAME, tcp().await).await;
    assert_eq!(failure(here.unwrap_err()), TlsFailure::Refused);
    assert_eq!(failure(there.unwrap_err()), TlsFailure::Protocol);
}

/// All that comes until the end.
async fn read_all(stream: &mut (impl ByteReader + ByteStreamExt)) -> BytesMut {
    let mut read = BytesMut::new();
    let most = NonZeroUsize::new(1024).unwrap();
    while stream
        .read_into(&mut read, most)
        .await
        .is_ok_and(|count| count > 0)
    {}
    read
}

// T2
pub(crate) async fn peers_that_do_not_speak_tls() {
    let authority = Authority::new();
    let server = server(&authority.sign(NAME)).build().unwrap();
    let client = client(&authority).build().unwrap();

    let (mut here, there) = tcp().await;
    let talk = async {
        here.write_all(b"GET / HTTP/1.1\r\nHost: bowline.test\r\n\r\n")
            .await
            .unwrap();
        read_all(&mut here).await
    };
    let (told, refused) = join(talk, server.handshake(there).unwrap().into_future()).await;
    assert_eq!(failure(refused.unwrap_err()), TlsFailure::Plaintext);
    // The alert of TLS is all that a server of TLS has to say.
    assert_eq!(told.first(), Some(&21), "{told:?}");

    let (here, mut there) = tcp().await;
    let answer = async {
        there.write_all(b"220 ready\r\n").await.unwrap();
        read_all(&mut there).await;
    };
    let (refused, ()) = join(client.handshake(here, NAME).unwrap().into_future(), answer).await;
    assert_eq!(failure(refused.unwrap_err()), TlsFailure::Plaintext);

    // Something of TLS, and then something else.
    let (mut here, there) = MemoryStream::pair();
    let talk = async {
        here.write_all(b"\x16\x03\x01\x00\x05hello").await.unwrap();
        read_all(&mut here).await;
    };
    let (refused, ()) = join(server.handshake(there).unwrap().into_future(), talk).await;
    assert_eq!(failure(refused.unwrap_err()), TlsFailure::Protocol);

    // Nothing at all.
    let (mut here, there) = MemoryStream::pair();
    here.shutdown().await.unwrap();
    let ended = server.handshake(there).unwrap().await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Broken(Break::TruncatedTls));
    let (here, there) = MemoryStream::pair();
    here.abort();
    let ended = server.handshake(there).unwrap().await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Broken(Break::Reset));
}

// T2
pub(crate) async fn a_message_that_never_comes_to_an_end() {
    let authority = Authority::new();
    let server = server(&authority.sign(NAME)).build().unwrap();
    // A message as long as TLS allows, which with its records is more than rustls holds of one.
    let mut long = Vec::new();
    for number in 0..6 {
        long.extend_from_slice(b"\x16\x03\x01\x3f\xff");
        let start = long.len();
        if number == 0 {
            long.extend_from_slice(b"\x01\x00\xff\xff");
        }
        long.resize(start + 0x3fff, 0);
    }
    let (mut here, there) = MemoryStream::builder().capacity(1 << 20).pair();
    here.write_all(&long).await.unwrap();
    here.shutdown().await.unwrap();
    let refused = server.handshake(there).unwrap().await.unwrap_err();
    assert_eq!(failure(refused), TlsFailure::Protocol);
}

// T3
pub(crate) async fn a_stall_ends_at_its_timeout_and_delays_nobody() {
    let authority = Authority::new();
    let most = Duration::from_millis(400);
    let server = server(&authority.sign(NAME))
        .handshake_timeout(most)
        .build()
        .unwrap();
    let listeners = Listeners::builder(0)
        .host("127.0.0.1")
        .bind()
        .await
        .unwrap();
    let mut listener = TlsListener::new(listeners, server);
    let to = listener.local_addrs().unwrap()[0].as_inet().unwrap();

    let start = now();
    let silent = TcpConnector::new(to).connect().await.unwrap();
    let (stalling, _) = listener.accept().await.unwrap();
    let stall = async {
        let error = stalling.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Timeout));
        assert!(error.is_timeout());
        now() - start
    };
    let good = async {
        let stream = TcpConnector::new(to).connect().await.unwrap();
        let client = client(&authority).build().unwrap();
        let stream = client.handshake(stream, NAME).unwrap().await.unwrap();
        (now() - start, stream)
    };
    let accept = async {
        let (handshake, _) = listener.accept().await.unwrap();
        handshake.await.unwrap()
    };
    let (stalled, (done, _good), _) = join3(stall, good, accept).await;
    assert!(done < stalled && stalled >= most, "{done:?} {stalled:?}");
    drop(silent);
}
