//! Peers that mean harm: each of them ends within its bounds, and who means well is served meanwhile.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_backend::stream::ByteStreamExt;
use bowline_codec::{
    Codec, DecodeError, DecodeErrorKind, ExpansionLimits, Framed, Framing, LengthDelimited,
    MessageCodec, Text, Wrapped, Wrapper as _, Zlib, ZlibFraming,
};
use bowline_concurrency::sync::Event;
use bowline_concurrency::{sleep, yield_now};
use bowline_transport::{
    Break, Error, ErrorKind, MessageStream, MessageStreamBuilder, Messages, Peer, Server,
    ServerHandle, ServerLimits, TcpConnector, Transport,
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join;

use crate::{beside, line};

const LONG: Duration = Duration::from_secs(60);

async fn raw(server: &ServerHandle) -> TcpStream {
    let address = server.local_addrs()[0].as_inet().unwrap();
    TcpConnector::new(address).connect().await.unwrap()
}

/// How often somebody was answered who asks again and again.
struct Answered(AtomicUsize);

impl Answered {
    /// Waits until that is so much more often than now.
    async fn more(&self, often: usize) {
        let enough = self.0.load(Ordering::Relaxed) + often;
        while self.0.load(Ordering::Relaxed) < enough {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What comes of `attack`, while somebody else asks `server` without a pause, and once more after it.
async fn attacked<C, R>(
    server: &ServerHandle,
    codec: C,
    attack: impl AsyncFnOnce(&Answered) -> R,
) -> R
where
    C: Codec<Sent = String, Item = String> + Send + 'static,
{
    let mut honest = MessageStream::new(raw(server).await, codec);
    let (answered, over) = (Answered(AtomicUsize::new(0)), Event::new());
    let attack = async {
        let result = attack(&answered).await;
        over.set();
        result
    };
    let ask = async {
        for number in 0.. {
            let last = over.is_set();
            let word = format!("question {number}");
            honest.send(&word).await.unwrap();
            assert_eq!(honest.recv().await.unwrap(), Some(word));
            answered.0.fetch_add(1, Ordering::Relaxed);
            if last {
                break;
            }
            match Backend::current() {
                // Where nothing takes time but what waits for it.
                Ok(Backend::Sim) => sleep(Duration::from_millis(1)).await,
                _ => yield_now().await,
            }
        }
        honest.close().await.unwrap();
    };
    join(attack, ask).await.0
}

/// Four mebibytes of nothing, in four thousand bytes.
fn bomb() -> &'static Bytes {
    static BOMB: OnceLock<Bytes> = OnceLock::new();
    BOMB.get_or_init(|| {
        let mut bomb = BytesMut::new();
        // Who sends it does not keep to what others keep to.
        let careless = ExpansionLimits::new().max_output(4 << 20).max_ratio(2000);
        let careless = Zlib::new().within(careless);
        careless.wrap(&vec![0; 4 << 20], &mut bomb).unwrap();
        assert!(bomb.len() < 5000, "{} bytes", bomb.len());
        bomb.freeze()
    })
}

/// Whether a decoder stopped at the limit, which is of output or of its ratio to what came.
fn is_bomb(error: &Error) -> bool {
    let source = error.source().unwrap();
    let kind = source.downcast_ref::<DecodeError>().unwrap().kind();
    matches!(kind, DecodeErrorKind::Expansion { limit } if limit <= 1 << 20)
}

/// Says every text once more and no to bombs, up to one after which nothing can be told apart.
async fn defused<T>(peer: Peer<T>, mut messages: Messages<T>) -> Result<(), Error>
where
    T: Transport<Sent = String, Received = String>,
{
    loop {
        let error = match messages.recv().await {
            Ok(Some(text)) => {
                peer.send(&text).await?;
                continue;
            }
            Ok(None) => return Ok(()),
            Err(error) => error,
        };
        assert!(is_bomb(&error), "{error:?}");
        if error.kind() == ErrorKind::Decode {
            peer.send(&"no".to_owned()).await?;
            continue;
        }
        assert_eq!(error.kind(), ErrorKind::Broken(Break::Undecodable));
        assert_eq!(messages.recv().await.unwrap(), None);
        return Err(error);
    }
}

fn compressed() -> Framed<LengthDelimited, Wrapped<Text, Zlib>> {
    LengthDelimited::u32().with(Text::new().wrap(Zlib::new()))
}

// C8, SV3
pub(crate) async fn a_bomb_in_a_frame_costs_that_frame() {
    let bound = Server::tcp(("127.0.0.1", 0)).codec(compressed);
    let bound = bound.bind().await.unwrap();
    let handle = bound.handle();
    beside(bound.serve_fn(defused), async {
        attacked(&handle, compressed(), async |answered| {
            let mut stream = raw(&handle).await;
            let mut frame = BytesMut::new();
            frame.put_u32(bomb().len() as u32);
            frame.put_slice(bomb());
            for _ in 0..3 {
                stream.write_all(&frame).await.unwrap();
            }
            let mut mallory = MessageStream::new(stream, compressed());
            for _ in 0..3 {
                assert_eq!(mallory.recv().await.unwrap().as_deref(), Some("no"));
            }
            answered.more(3).await;
            mallory.send(&"sorry".to_owned()).await.unwrap();
            assert_eq!(mallory.recv().await.unwrap().as_deref(), Some("sorry"));
            mallory.close().await.unwrap();
        })
        .await;
        handle.drain(LONG).await;
        assert_eq!(handle.counters().completed, 2);
    })
    .await;
}

// C8, SV3
pub(crate) async fn a_bomb_that_has_no_frame_costs_its_connection() {
    let codec = || ZlibFraming::new(Zlib::new()).with(Text::new());
    let bound = Server::tcp(("127.0.0.1", 0)).codec(codec);
    let bound = bound.bind().await.unwrap();
    let handle = bound.handle();
    beside(bound.serve_fn(defused), async {
        attacked(&handle, codec(), async |answered| {
            let mut stream = raw(&handle).await;
            stream.write_all(bomb()).await.unwrap();
            let mut mallory = MessageStream::new(stream, codec());
            let cut = mallory.recv().await.unwrap_err();
            assert_eq!(cut.kind(), ErrorKind::Broken(Break::Reset));
            answered.more(3).await;
        })
        .await;
        handle.drain(LONG).await;
        let counters = handle.counters();
        assert_eq!((counters.completed, counters.broken), (1, 1));
    })
    .await;
}

/// A server whose answers to `more` are far more than fits on the way, for peers that take nothing
/// for so long; and how often it has answered that.
async fn generous(
    patience: Duration,
) -> (
    ServerHandle,
    Arc<AtomicUsize>,
    impl Future<Output = Result<(), Error>> + Send,
) {
    let stream = MessageStreamBuilder::default().high_water(4000);
    let limits = ServerLimits::new().grace(Duration::from_millis(10));
    let server = Server::tcp(("127.0.0.1", 0)).codec(line).limits(limits);
    let server = server.stream(stream.write_stall_timeout(patience));
    let bound = server.bind().await.unwrap();
    let handle = bound.handle();
    let given = Arc::new(AtomicUsize::new(0));
    let counted = given.clone();
    let serving = bound.serve_each(move |peer, word: String| {
        let counted = counted.clone();
        async move {
            if word != "more" {
                return peer.send(&word).await;
            }
            peer.send(&"x".repeat(60_000)).await?;
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    });
    (handle, given, serving)
}

/// More than the buffers of sockets hold, at 60 kB each.
const REQUESTS: usize = 1000;

/// Asks for all of it.
async fn ask_for_more(server: &ServerHandle) -> TcpStream {
    let mut greedy = raw(server).await;
    greedy.write_all(&b"more\n".repeat(REQUESTS)).await.unwrap();
    greedy
}

// TR7, SV6
pub(crate) async fn a_peer_that_never_reads_holds_up_nobody() {
    let (handle, given, serving) = generous(LONG * 60).await;
    beside(serving, async {
        let greedy = attacked(&handle, line(), async |answered| {
            let greedy = ask_for_more(&handle).await;
            while given.load(Ordering::Relaxed) == 0 {
                answered.more(1).await;
            }
            answered.more(30).await;
            greedy
        })
        .await;
        // It is stuck for as long as it likes, or until the server ends.
        let report = handle.drain(Duration::from_millis(10)).await;
        assert_eq!(report.cancelled + report.aborted, 1, "{report:?}");
        assert!(given.load(Ordering::Relaxed) < REQUESTS);
        drop(greedy);
    })
    .await;
}

// TR7, SV6
pub(crate) async fn a_peer_that_never_reads_is_cut_off() {
    let (handle, given, serving) = generous(Duration::from_millis(100)).await;
    beside(serving, async {
        attacked(&handle, line(), async |_| {
            let greedy = ask_for_more(&handle).await;
            while handle.counters().broken == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            assert!(given.load(Ordering::Relaxed) < REQUESTS);
            // What it could have read is gone too: it was reset.
            let mut greedy = MessageStream::new(greedy, line());
            while let Ok(taken) = greedy.recv().await {
                assert!(taken.is_some(), "no clean end");
            }
        })
        .await;
        handle.drain(LONG).await;
        let counters = handle.counters();
        assert_eq!((counters.completed, counters.broken), (1, 1));
    })
    .await;
}

/// Answers by more than fits on the way.
async fn say_much<T>(peer: &Peer<T>) -> Result<(), Error>
where
    T: Transport<Sent = String, Received = String>,
{
    let long = "x".repeat(60_000);
    for _ in 0..REQUESTS / 2 {
        peer.send(&long).await?;
    }
    Ok(())
}

// TR7, SV2
pub(crate) async fn a_peer_that_neither_reads_nor_speaks_is_cut_off() {
    // The handler does not wait for room: it is done, and listens.
    let stream = MessageStreamBuilder::default().high_water(usize::MAX);
    let stream = stream.write_stall_timeout(Duration::from_millis(100));
    let stalled = ErrorKind::Broken(Break::Stalled);
    for by_loop in [true, false] {
        let server = Server::tcp(("127.0.0.1", 0)).codec(line);
        let bound = server.stream(stream.clone()).bind().await.unwrap();
        let handle = bound.handle();
        let serving = async move {
            if by_loop {
                let served =
                    bound.serve_each(|peer, _: String| async move { say_much(&peer).await });
                return served.await;
            }
            let served = bound.serve_fn(move |peer, mut messages| async move {
                messages.recv().await?;
                say_much(&peer).await?;
                let error = messages.recv().await.unwrap_err();
                assert_eq!(error.kind(), stalled);
                assert!(error.unsent_frames() > 0);
                Err::<(), _>(error)
            });
            served.await
        };
        beside(serving, async {
            let mut greedy = raw(&handle).await;
            greedy.write_all(b"more\n").await.unwrap();
            while handle.counters().broken == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            // Its place is free again, though it holds its end.
            while handle.connections() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            drop(greedy);
            handle.drain(LONG).await;
            let counters = handle.counters();
            assert_eq!((counters.completed, counters.broken), (0, 1));
        })
        .await;
    }
}

// SV3
pub(crate) async fn who_sends_a_byte_now_and_then_is_cut_off() {
    let most = Duration::from_millis(200);
    // Any byte is enough for the other one.
    let limits = ServerLimits::new().idle_timeout(most * 100);
    let limits = limits.frame_timeout(most);
    let server = Server::tcp(("127.0.0.1", 0)).codec(line).limits(limits);
    let bound = server.bind().await.unwrap();
    let handle = bound.handle();
    let slow = Arc::new(AtomicUsize::new(0));
    let counted = slow.clone();
    let serving = bound.serve_fn(move |peer, mut messages| {
        let counted = counted.clone();
        async move {
            loop {
                match messages.recv().await {
                    Ok(Some(text)) => peer.send(&text).await?,
                    Ok(None) => return Ok::<(), Error>(()),
                    Err(error) => {
                        let kind = error.kind();
                        assert_eq!(kind, ErrorKind::Broken(Break::SlowFrame));
                        counted.fetch_add(1, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        }
    });
    beside(serving, async {
        attacked(&handle, line(), async |answered| {
            let mut open = Vec::new();
            for _ in 0..3 {
                open.push(raw(&handle).await);
            }
            while !open.is_empty() {
                for mut stream in std::mem::take(&mut open) {
                    if stream.write_all(b"x").await.is_ok() {
                        open.push(stream);
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
            answered.more(3).await;
        })
        .await;
        handle.drain(LONG).await;
        let counters = handle.counters();
        assert_eq!((counters.completed, counters.broken), (1, 3));
        assert_eq!(slow.load(Ordering::Relaxed), 3);
    })
    .await;
}
