//! A peer that takes nothing: whoever sends, flushes or receives learns of it in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::time::{self, sleep_until};
use bowline_backend::{Backend, stream::ByteStream};
use bowline_codec::{Framed, LengthDelimited, Raw};
use bowline_concurrency::timeout;
use bowline_transport::{
    Break, Delivery, Error, ErrorKind, Extra, MemoryStream, MessageStream, Operation, Transport,
    TransportRecv, TransportSend, TrySendError,
};
use bytes::Bytes;
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use crate::codec;

const FRAME: usize = 1000;
const HIGH_WATER: usize = 4000;

/// More frames of a mebibyte than the buffers of sockets hold.
const MANY: usize = 32;

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (connected, accepted) = join(connecting, listener.accept()).await;
    (connected.unwrap(), accepted.unwrap().0)
}

/// Sends to a peer that talks `every` so often and reads nothing, until that is a failure `after`.
async fn never_read<S: ByteStream + Extra>(here: S, there: S, every: Duration, after: Duration) {
    let builder = MessageStream::<S, Framed<LengthDelimited, Raw>>::builder();
    let builder = builder.high_water(HIGH_WATER).write_stall_timeout(after);
    let (mut sender, mut receiver) = builder.over(here, codec()).into_split();
    let (mut talk, unread) = MessageStream::new(there, codec()).into_split();
    let frame = Bytes::from(vec![1; FRAME]);
    let start = time::now();
    let fill = async {
        loop {
            match sender.try_send(&frame) {
                Ok(()) => {}
                Err(TrySendError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(sender.unsent() < HIGH_WATER + FRAME + 4);
        // Room is waited for no longer than the rest.
        let error = loop {
            if let Err(error) = sender.send(&frame).await {
                break error;
            }
            assert!(sender.unsent() < HIGH_WATER + FRAME + 4);
        };
        assert_eq!(error.kind(), ErrorKind::Broken(Break::Stalled));
        assert!(error.is_timeout() && error.is_connection());
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert!(error.unsent_frames() > 0);
        let error = sender.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken(Break::Stalled));
        assert_eq!(error.delivery(), Delivery::MaybeSent);
        assert!(time::now() >= start.saturating_add(after));
    };
    let hear = async {
        for number in 0_u8..5 {
            let heard = receiver.recv().await.unwrap().unwrap();
            assert_eq!(heard, vec![number]);
        }
    };
    let talk = async {
        for number in 0_u8..5 {
            talk.send(&Bytes::from(vec![number])).await.unwrap();
            talk.flush().await.unwrap();
            if !every.is_zero() {
                sleep_until(time::now().saturating_add(every)).await;
            }
        }
    };
    join(join(fill, hear), talk).await;
    drop(unread);
}

// TR7
#[test]
fn a_peer_that_reads_nothing_is_a_failure_over_seeds() {
    for seed in 0..60 {
        bowline_sim::block_on(seed, async {
            let (here, there) = tcp().await;
            never_read(here, there, Duration::from_secs(5), Duration::from_secs(30)).await;
        });
    }
}

// TR7
#[test]
fn a_peer_that_reads_nothing_is_a_failure_on_real_sockets() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        backend.block_on(async {
            let (here, there) = tcp().await;
            // All is said before the stall, however slow the machine is.
            let (every, after) = (Duration::ZERO, Duration::from_millis(300));
            never_read(here, there, every, after).await;
        });
    }
}

/// Sends a frame of two pipes' size to a peer that reads a little every so often.
async fn slow_reader(pause: Duration, after: Duration) {
    let (here, mut there) = MemoryStream::builder().capacity(100).pair();
    let builder = MessageStream::<MemoryStream, Framed<LengthDelimited, Raw>>::builder();
    let mut here = builder.write_stall_timeout(after).over(here, codec());
    let send = async {
        here.send(&Bytes::from(vec![1; FRAME])).await.unwrap();
        here.flush().await.unwrap();
        here.close().await.unwrap();
    };
    let read = async {
        use bowline_backend::stream::ByteStreamExt;
        let mut taken = bytes::BytesMut::new();
        let most = std::num::NonZeroUsize::new(50).unwrap();
        while there.read_into(&mut taken, most).await.unwrap() > 0 {
            sleep_until(time::now().saturating_add(pause)).await;
        }
        assert_eq!(taken.len(), FRAME + 4);
    };
    join(send, read).await;
}

#[test]
fn who_takes_little_does_not_stall() {
    // Ten seconds at a time, 200 in all.
    Backend::Sim.block_on(slow_reader(
        Duration::from_secs(10),
        Duration::from_secs(11),
    ));
}

#[test]
fn nothing_stalls_without_a_clock() {
    let (here, there) = MemoryStream::pair();
    let mut here = MessageStream::new(here, codec());
    let large = Bytes::from(vec![1; 100_000]);
    assert!(here.send(&large).now_or_never().unwrap().is_ok());
    assert!(here.flush().now_or_never().is_none());
    drop(there);
}

/// What is waited for, and by which half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Whole,
    /// The sender is dropped with frames queued.
    ReceiverAlone,
    /// Another task waits for the flush, and is polled first.
    BesideFlush,
}

#[track_caller]
fn stalled(error: &Error, operation: Operation) {
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Stalled), "{error}");
    assert_eq!(error.operation(), operation, "{error}");
    assert_eq!(error.delivery(), Delivery::MaybeSent, "{error}");
    assert!(error.is_timeout() && error.is_connection(), "{error}");
}

/// Queues more than fits on the way to a peer that neither reads nor speaks, and waits for an answer.
async fn never_answered<S: ByteStream + Extra>(here: S, there: S, waits: Waits, after: Duration) {
    let builder = MessageStream::<S, Framed<LengthDelimited, Raw>>::builder();
    let builder = builder.high_water(usize::MAX).write_stall_timeout(after);
    let mut here = builder.over(here, codec());
    let (large, start) = (Bytes::from(vec![1; 1 << 20]), time::now());
    for _ in 0..MANY {
        here.send(&large).await.unwrap();
    }
    let (first, again) = match waits {
        Waits::Whole => (here.recv().await, here.recv().await),
        Waits::ReceiverAlone => {
            let (sender, mut receiver) = here.into_split();
            drop(sender);
            (receiver.recv().await, receiver.recv().await)
        }
        Waits::BesideFlush => {
            let (mut sender, mut receiver) = here.into_split();
            // One waker for both would hide that one of them is not woken.
            let flush = FuturesUnordered::from_iter([sender.flush().boxed()]);
            let receive = FuturesUnordered::from_iter([receiver.recv().boxed()]);
            let both = join(flush.collect::<Vec<_>>(), receive.collect::<Vec<_>>());
            let (mut flushed, mut first) = both.await;
            stalled(&flushed.remove(0).unwrap_err(), Operation::Flush);
            let first = first.remove(0);
            (first, receiver.recv().await)
        }
    };
    assert!(time::now() >= start.saturating_add(after));
    let (first, again) = (first.unwrap_err(), again.unwrap_err());
    stalled(&first, Operation::Recv);
    assert!(first.unsent_frames() > 0, "{first}");
    stalled(&again, Operation::Recv);
    assert_eq!(first.unsent_frames(), again.unsent_frames());
    drop(there);
}

const EACH: [Waits; 3] = [Waits::Whole, Waits::ReceiverAlone, Waits::BesideFlush];

// TR7
#[test]
fn who_waits_for_an_answer_learns_that_the_question_does_not_go_out_over_seeds() {
    for seed in 0..20 {
        for waits in EACH {
            bowline_sim::block_on(seed, async {
                let after = Duration::from_secs(30);
                let most = Duration::from_secs(40);
                let (here, there) = tcp().await;
                let law = timeout(most, never_answered(here, there, waits, after));
                law.await.expect("it is over in time");
                let (here, there) = MemoryStream::pair();
                let law = timeout(most, never_answered(here, there, waits, after));
                law.await.expect("it is over in time");
            });
        }
    }
}

// TR7
#[test]
fn who_waits_for_an_answer_learns_that_the_question_does_not_go_out_on_real_sockets() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        for waits in EACH {
            backend.block_on(async {
                let (here, there) = tcp().await;
                let after = Duration::from_millis(60);
                let law = never_answered(here, there, waits, after);
                let law = timeout(Duration::from_secs(60), law);
                law.await.expect("it is over within a minute");
            });
        }
    }
}

/// Bytes that count their drop.
struct Kept(Arc<AtomicUsize>);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &[7; 50_000]
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// TR7
#[test]
fn what_a_peer_never_took_is_freed_and_counted() {
    Backend::Sim.block_on(async {
        let kept = Arc::new(AtomicUsize::new(0));
        let large = || {
            kept.fetch_add(1, Ordering::SeqCst);
            Bytes::from_owner(Kept(kept.clone()))
        };
        let (here, there) = MemoryStream::builder().capacity(100).pair();
        let (mut sender, mut receiver) = MessageStream::new(here, codec()).into_split();
        sender.send(&large()).await.unwrap();
        sender.feed(&large()).await.unwrap();
        assert_eq!(
            kept.load(Ordering::SeqCst),
            2,
            "both are queued as they are"
        );
        let unsent = sender.unsent();
        let stale = receiver.recv().await.unwrap_err();
        stalled(&stale, Operation::Recv);
        assert_eq!(stale.unsent_frames(), 2);
        assert_eq!(kept.load(Ordering::SeqCst), 0, "nobody will ever take them");
        assert_eq!(sender.unsent(), unsent);
        // Who queues, having asked for room before the end, keeps nothing either.
        sender.queue(&large()).unwrap();
        assert_eq!(kept.load(Ordering::SeqCst), 0);
        let error = sender.flush().await.unwrap_err();
        assert_eq!(error.unsent_frames(), 3);
        drop(there);
    });
}

// TR7
#[test]
fn what_a_peer_said_before_it_stalled_is_received_first() {
    Backend::Sim.block_on(async {
        let most = Duration::from_secs(30);
        let (here, there) = MemoryStream::builder().capacity(100).pair();
        let mut here = MessageStream::new(here, codec());
        let mut there = MessageStream::new(there, codec());
        here.send(&Bytes::from(vec![1; FRAME])).await.unwrap();
        assert!(here.recv().now_or_never().is_none());
        for word in ["one", "two"] {
            there.send(&Bytes::from(word)).await.unwrap();
        }
        sleep_until(time::now().saturating_add(2 * most)).await;
        for word in ["one", "two"] {
            assert_eq!(here.recv().await.unwrap().unwrap(), word);
        }
        stalled(&here.recv().await.unwrap_err(), Operation::Recv);
    });
}
