//! How secure streams end.

use std::time::Duration;

use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_backend::time::now;
use bowline_codec::{Framed, Framing, LengthDelimited, Raw};
use bowline_transport::{
    Break, CloseMode, Error, ErrorKind, MemoryStream, MessageStream, MessageStreamBuilder,
    Operation, TlsStream, Transport, TransportSend,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join;

use crate::certificates::Authority;
use crate::pairs::{NAME, client, older_server, secure, server, shake, tcp};

fn codec() -> Framed<LengthDelimited, Raw> {
    LengthDelimited::u32().with(Raw::new())
}

// T4
pub(crate) async fn a_strict_end_is_said() {
    let (here, there) = secure(tcp().await).await;
    let (mut here, mut there) = (
        MessageStream::new(here, codec()),
        MessageStream::new(there, codec()),
    );
    let talk = async {
        here.send(&Bytes::from("last words")).await.unwrap();
        here.close().await.unwrap();
    };
    let hear = async {
        assert_eq!(there.recv().await.unwrap().unwrap(), "last words");
        for _ in 0..3 {
            assert_eq!(there.recv().await.unwrap(), None);
        }
        there.close().await.unwrap();
    };
    join(talk, hear).await;
}

/// What a peer with `mode` hears of an end below TLS, after a whole frame.
async fn hear_cut(mode: CloseMode) -> Result<Option<Bytes>, ErrorKind> {
    let authority = Authority::new();
    let client = client(&authority).close_mode(mode).build().unwrap();
    // The other side says nothing at its end.
    let server = server(&authority.sign(NAME)).close_mode(CloseMode::Lenient);
    let (here, there) = shake(&client, &server.build().unwrap(), NAME, tcp().await).await;
    let mut here = MessageStream::new(here.unwrap(), codec());
    let mut there = MessageStream::new(there.unwrap(), codec());
    let talk = async {
        there.send(&Bytes::from("last words")).await.unwrap();
        there.close().await.unwrap();
    };
    let hear = async {
        assert_eq!(here.recv().await.unwrap().unwrap(), "last words");
        let end = here.recv().await.map_err(|error| error.kind());
        assert_eq!(here.recv().await.map_err(|error| error.kind()), end);
        end
    };
    join(talk, hear).await.1
}

// T4
pub(crate) async fn a_cut_end_is_broken_or_clean_as_agreed() {
    let cut = ErrorKind::Broken(Break::TruncatedTls);
    assert_eq!(hear_cut(CloseMode::Strict).await, Err(cut));
    assert_eq!(hear_cut(CloseMode::Lenient).await, Ok(None));

    // A stream that is dropped says nothing either.
    let (here, there) = secure(MemoryStream::pair()).await;
    drop(here);
    let mut there = MessageStream::new(there, codec());
    assert_eq!(there.recv().await.unwrap_err().kind(), cut);
    assert_eq!(there.recv().await.unwrap_err().kind(), cut);
}

// T4, TR12
pub(crate) async fn nothing_is_sent_to_a_peer_that_is_done() {
    // Of TLS 1.2.
    let authority = Authority::new();
    let older = older_server(&authority.sign(NAME));
    let client = client(&authority).build().unwrap();
    let (here, there) = shake(&client, &older, NAME, MemoryStream::pair()).await;
    let mut here = here.unwrap();
    let mut there = MessageStream::new(there.unwrap(), codec());
    here.shutdown().await.unwrap();
    assert_eq!(there.recv().await.unwrap(), None);
    let refused = match there.send(&Bytes::from("too late")).await {
        Ok(()) => there.flush().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(refused.kind(), ErrorKind::Ended);
    assert!(refused.is_connection() && !refused.is_retryable());
    // Our own end is another matter: what follows it is refused as on any stream.
    assert!(here.write_all(b"more").await.is_err());
}

// T4, TR5
pub(crate) async fn who_is_done_is_answered() {
    let (here, there) = secure(tcp().await).await;
    let (mut here, mut there) = (
        MessageStream::new(here, codec()),
        MessageStream::new(there, codec()),
    );
    let ask = async {
        here.send(&Bytes::from("all that I ask")).await.unwrap();
        here.split().0.shutdown().await.unwrap();
        let mut answer = 0;
        while let Some(part) = here.recv().await.unwrap() {
            answer += part.len();
        }
        here.close().await.unwrap();
        answer
    };
    let answer = async {
        assert_eq!(there.recv().await.unwrap().unwrap(), "all that I ask");
        assert_eq!(there.recv().await.unwrap(), None);
        // More than is under way at once.
        for _ in 0..50 {
            there.send(&Bytes::from(vec![7; 40_000])).await.unwrap();
        }
        there.close().await.unwrap();
    };
    assert_eq!(join(ask, answer).await.0, 50 * 40_000);
}

// T3
pub(crate) async fn a_close_that_stalls_ends() {
    let (here, there) = secure(MemoryStream::pair()).await;
    let most = Duration::from_millis(300);
    let builder = MessageStreamBuilder::default().close_timeout(most);
    let mut here: MessageStream<TlsStream<MemoryStream>, _> = builder.over(here, codec());
    // More than the pipe and TLS hold, and nobody reads.
    here.split()
        .0
        .feed(&Bytes::from(vec![1; 500_000]))
        .await
        .unwrap();
    let start = now();
    let error = here.close().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Elapsed);
    assert!(now() - start >= most && error.unsent_frames() == 1);
    // It was given up: what comes is cut.
    let mut there = MessageStream::new(there, codec());
    let error = there.recv().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    there.abort();
    let (here, there) = secure(MemoryStream::pair()).await;
    here.abort();
    assert_eq!(there.local_addr().unwrap().to_string(), "memory:b");
}

// T3
pub(crate) async fn a_shutdown_that_stalls_ends() {
    let most = Duration::from_millis(300);
    let authority = Authority::new();
    let client = client(&authority).close_timeout(most).build().unwrap();
    let server = server(&authority.sign(NAME)).build().unwrap();
    let (here, there) = shake(&client, &server, NAME, MemoryStream::pair()).await;
    let (mut here, there) = (here.unwrap(), there.unwrap());
    // Nobody reads: the pipe is full, then TLS holds back what it may.
    while let Some(written) = here.write_all(&[1; 10_000]).now_or_never() {
        written.unwrap();
    }
    let start = now();
    let error = here.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(now() - start >= most);
    // It stays so, and the peer finds it cut.
    let error = here.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let error = Error::from_io(Operation::Shutdown, error);
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Stalled));
    assert!(error.is_timeout() && error.is_connection(), "{error}");
    drop(here);
    let mut there = MessageStream::new(there, codec());
    while there.recv().await.is_ok() {}
}

// T3
pub(crate) async fn a_shutdown_waits_for_no_word_of_the_peer() {
    let (mut here, _there) = secure(MemoryStream::pair()).await;
    here.write_all(b"all").await.unwrap();
    assert!(here.shutdown().now_or_never().is_some(), "it waits");
}
