//! Plain text that becomes secure in the middle of a stream.

use std::future::IntoFuture;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::ByteStream;
use bowline_backend::time::{now, sleep_until};
use bowline_codec::{Framed, Lines, Text};
use bowline_transport::{
    Error, Extra, MessageStream, Prefixed, TlsClientConfig, TlsServerConfig, TlsStream, Transport,
};
use futures_util::FutureExt;
use futures_util::future::join;

use crate::certificates::Authority;
use crate::pairs::{NAME, client, narrow, server, tcp, unix};

type Line = Framed<Lines, Text>;

fn lines<S: ByteStream + Extra>(stream: S) -> MessageStream<S, Line> {
    MessageStream::new(stream, Lines::lf().max_frame(1 << 20).text())
}

async fn say<S: ByteStream + Extra>(stream: &mut MessageStream<S, Line>, word: &str) {
    stream.send(&word.to_owned()).await.unwrap();
}

async fn heard<S: ByteStream + Extra>(stream: &mut MessageStream<S, Line>) -> String {
    stream.recv().await.unwrap().unwrap()
}

type Secured<S> = MessageStream<TlsStream<Prefixed<S>>, Line>;

/// A conversation, and its end.
async fn talk<S: ByteStream + Extra>(here: Secured<S>, there: Secured<S>) {
    let (mut here, mut there) = (here, there);
    let large = "x".repeat(100_000);
    let ask = async {
        for number in 0..50 {
            say(&mut here, &number.to_string()).await;
            assert_eq!(heard(&mut here).await, format!("{number}!"));
        }
        say(&mut here, &large).await;
        here.close().await.unwrap();
    };
    let answer = async {
        for number in 0..50 {
            assert_eq!(heard(&mut there).await, number.to_string());
            say(&mut there, &format!("{number}!")).await;
        }
        assert_eq!(heard(&mut there).await, large);
        assert_eq!(there.recv().await.unwrap(), None);
        there.close().await.unwrap();
    };
    join(ask, answer).await;
}

fn configs() -> (TlsClientConfig, TlsServerConfig) {
    let authority = Authority::new();
    let server = server(&authority.sign(NAME)).build().unwrap();
    (client(&authority).build().unwrap(), server)
}

/// As mail does it: one asks for it, the other agrees, and the one who asked begins.
async fn agreed<S: ByteStream + Extra>((here, there): (S, S)) {
    let (client, server) = configs();
    let (mut here, mut there) = (lines(here), lines(there));
    let ask = async {
        say(&mut here, "EHLO").await;
        assert_eq!(heard(&mut here).await, "STARTTLS");
        say(&mut here, "STARTTLS").await;
        assert_eq!(heard(&mut here).await, "ready");
        let secure = |plain| client.handshake(plain, NAME).unwrap();
        Ok::<_, Error>(lines(here.upgrade(secure).await?.await?))
    };
    let answer = async {
        assert_eq!(heard(&mut there).await, "EHLO");
        say(&mut there, "STARTTLS").await;
        assert_eq!(heard(&mut there).await, "STARTTLS");
        say(&mut there, "ready").await;
        let secure = |plain| server.handshake(plain).unwrap();
        Ok::<_, Error>(lines(there.upgrade(secure).await?.await?))
    };
    let (here, there) = join(ask, answer).await;
    talk(here.unwrap(), there.unwrap()).await;
}

/// One says the last plain word and begins at once, so that the other reads its hello behind the word.
async fn at_once<S: ByteStream + Extra>((here, there): (S, S)) -> usize {
    let (client, server) = configs();
    let (mut here, mut there) = (lines(here), lines(there));
    say(&mut here, "STARTTLS").await;
    let shaking = here.upgrade(|plain| client.handshake(plain, NAME).unwrap());
    let mut shaking = Box::pin(shaking.await.unwrap().into_future());
    // As much of the hello as there is room for is out.
    assert!((&mut shaking).now_or_never().is_none());
    if Backend::current() == Ok(Backend::Sim) {
        // It is under way.
        sleep_until(now().saturating_add(Duration::from_secs(1))).await;
    }
    let mut glued = 0;
    let answer = async {
        assert_eq!(heard(&mut there).await, "STARTTLS");
        let secure = |plain: Prefixed<S>| {
            glued = plain.prefix().len();
            server.handshake(plain).unwrap()
        };
        there.upgrade(secure).await.unwrap().await
    };
    let (here, there) = join(shaking, answer).await;
    talk(lines(here.unwrap()), lines(there.unwrap())).await;
    glued
}

// TR13
pub(crate) async fn a_conversation_becomes_secure_over_memory() {
    agreed(narrow()).await;
    assert!(at_once(narrow()).await > 0, "nothing came with the line");
}

// TR13
pub(crate) async fn a_conversation_becomes_secure_over_tcp() {
    agreed(tcp().await).await;
    at_once(tcp().await).await;
}

// TR13
pub(crate) async fn a_conversation_becomes_secure_over_unix() {
    agreed(unix()).await;
    assert!(at_once(unix()).await > 0, "nothing came with the line");
}
