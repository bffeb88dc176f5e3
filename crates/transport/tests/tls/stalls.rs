//! Peers that take what is secure slowly, and peers that take no more of it.

use std::cell::Cell;
use std::future::pending;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::time::Duration;

use bowline_backend::stream::{ByteStream, ByteStreamExt, ByteWriter};
use bowline_backend::time::{Instant, now, sleep_until};
use bowline_codec::{Framed, Framing, LengthDelimited, Raw};
use bowline_transport::{
    Break, Error, ErrorKind, Extra, MemoryReadHalf, MemoryStream, MemoryWriteHalf, MessageStream,
    MessageStreamBuilder, Prefixed, StapledStream, Transport, TransportRecv, TransportSend,
    UrlStream,
};
use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, join, select};

use crate::pairs::{narrow, secure, tcp};

/// How long nothing may be taken.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the slow take something, and how much.
const PAUSE: Duration = Duration::from_secs(20);
const LITTLE: usize = 500;

/// TLS takes that at once, and the pipe below a tenth of it.
const FRAME: usize = 10_000;

fn codec() -> Framed<LengthDelimited, Raw> {
    LengthDelimited::u32().with(Raw::new())
}

/// Hands on what comes; once there is a time of when it `took` something, only a little every so
/// often, and nothing any more after `most` bytes.
async fn hand_on(
    mut from: MemoryReadHalf,
    mut to: MemoryWriteHalf,
    took: &Cell<Option<Instant>>,
    mut most: usize,
) {
    let little = NonZeroUsize::new(LITTLE).unwrap();
    let mut taken = BytesMut::new();
    loop {
        if from.read_into(&mut taken, little).await.unwrap() == 0 {
            pending::<()>().await;
        }
        let count = taken.len();
        to.write_all(&taken.split()).await.unwrap();
        if took.get().is_some() {
            took.set(Some(now()));
            most -= count.min(most);
            if most == 0 {
                pending::<()>().await;
            }
            sleep_until(now().saturating_add(PAUSE)).await;
        }
    }
}

/// The answer to a frame of a peer that takes `most` bytes slowly; how long it took some of them,
/// and how long then none.
async fn slowly<S: ByteStream + Extra>(
    most: usize,
    streams: impl AsyncFnOnce((MemoryStream, MemoryStream)) -> (S, S),
) -> (Result<Option<Bytes>, Error>, Duration, Duration) {
    let ((here, near), (far, there)) = (narrow(), narrow());
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let (took, back) = (Cell::new(None), Cell::new(None));
    let handed_on = join(
        hand_on(near_in, far_out, &took, most),
        hand_on(far_in, near_out, &back, 0),
    );
    let frame = Bytes::from(vec![7; FRAME]);
    let talk = async {
        let (here, there) = streams((here, there)).await;
        let start = now();
        took.set(Some(start));
        let builder = MessageStreamBuilder::default().write_stall_timeout(PATIENCE);
        let here: MessageStream<S, _> = builder.over(here, codec());
        let (mut sender, mut receiver) = here.into_split();
        let send = async {
            sender.send(&frame).await?;
            sender.flush().await
        };
        let mut there = MessageStream::new(there, codec());
        let answer = async {
            let heard = there.recv().await.unwrap().unwrap();
            there.send(&heard).await.unwrap();
            there.flush().await.unwrap();
            pending::<()>().await;
        };
        // Who waits for the answer writes, too.
        let asked = async {
            match select(pin!(send), pin!(receiver.recv())).await {
                Either::Left((sent, recv)) => {
                    sent?;
                    recv.await
                }
                Either::Right((heard, send)) => {
                    send.await?;
                    heard
                }
            }
        };
        match select(pin!(asked), pin!(answer)).await {
            Either::Left((heard, _)) => {
                let last = took.get().unwrap();
                (heard, last - start, now() - last)
            }
            Either::Right(_) => unreachable!("it answers and waits"),
        }
    };
    match select(pin!(talk), pin!(handed_on)).await {
        Either::Left((came, _)) => came,
        Either::Right(_) => unreachable!("it hands on for ever"),
    }
}

async fn does_not_stall<S: ByteStream + Extra>(
    streams: impl AsyncFnOnce((MemoryStream, MemoryStream)) -> (S, S),
) {
    let (heard, took, _) = slowly(usize::MAX, streams).await;
    assert_eq!(heard.unwrap().unwrap(), vec![7; FRAME]);
    assert!(took > 5 * PATIENCE, "{took:?}");
}

// TR7
#[test]
fn who_takes_records_slowly_does_not_stall() {
    bowline_sim::block_on(0, does_not_stall(secure));
    // Secure twice: what the inner one holds back is gone for the outer one.
    let twice = async |below| secure(secure(below).await).await;
    bowline_sim::block_on(0, does_not_stall(twice));
    let stapled = async |below| {
        let (here, there) = secure(below).await;
        let stapled = |(read, write)| Prefixed::new("", StapledStream::new(read, write));
        (stapled(here.into_split()), stapled(there.into_split()))
    };
    bowline_sim::block_on(0, does_not_stall(stapled));
}

// TR7
#[test]
fn who_takes_no_more_of_a_record_stalls() {
    let (heard, took, took_none) = bowline_sim::block_on(0, slowly(4 * LITTLE, secure));
    let stalled = ErrorKind::Broken(Break::Stalled);
    assert_eq!(heard.unwrap_err().kind(), stalled);
    // As long after the last bytes as after the first.
    assert!(took > PATIENCE, "{took:?}");
    assert!(
        took_none >= PATIENCE && took_none < PATIENCE + PAUSE,
        "{took_none:?}"
    );
}

#[test]
fn what_is_passed_on_is_known_of_a_stream_by_url() {
    bowline_sim::block_on(0, async {
        let (here, _there) = secure(tcp().await).await;
        let here = UrlStream::from(here);
        let passed_on = here.passed_on();
        assert!(passed_on > 0, "the handshake was");
        let (_read, mut write) = here.into_split();
        write.write_all(b"more").await.unwrap();
        assert!(write.passed_on() > passed_on);

        let (plain, _there) = tcp().await;
        let mut plain = UrlStream::from(plain);
        plain.write_all(b"taken by the system").await.unwrap();
        assert_eq!(plain.passed_on(), 0);
    });
}
