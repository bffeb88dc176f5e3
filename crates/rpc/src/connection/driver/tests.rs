use std::sync::atomic::{AtomicU64, Ordering};

use bowline_backend::stream::{ByteSide, ByteWriter};
use bowline_backend::{Backend, entropy};
use bowline_concurrency::{Root, sleep};
use bowline_transport::{MemoryStream, StapledStream};
use bytes::BytesMut;
use futures_util::io::AsyncWrite;

use super::*;
use crate::connection::Untaken;
use crate::proto::{CodecId, Command, Config, IncomingCall, MethodId, Open, Side, Target};

struct Nobody;

impl Host for Nobody {
    fn event(&mut self, _: Event) {}

    fn opened(
        &mut self,
        _: Instant,
        _: IncomingCall,
        _: Option<CallPipes>,
        _: Option<Untaken>,
    ) -> JobHandle {
        JobHandle::of_none()
    }

    fn rouse(&mut self) -> bool {
        false
    }
}

/// A machine past its handshake with a peer that has the same limits.
fn ready(limits: &Limits, now: Instant) -> Machine {
    let [dialer, _] = both_ready(limits, now);
    dialer
}

/// Both ends of a connection, past their handshake.
fn both_ready(limits: &Limits, now: Instant) -> [Machine; 2] {
    let mut ends = [Side::Dialer, Side::Listener].map(|side| {
        let config = Config::new("example", [7; 16]).limits(limits.clone());
        let mut seed = [0; 32];
        entropy::fill(&mut seed);
        Machine::new(Arc::new(config), side, now, seed)
    });
    while !ends.iter().all(Machine::is_ready) {
        for (from, to) in [(0, 1), (1, 0)] {
            let mut batch = OutputBatch::new();
            ends[from].poll_transmit(now, &mut batch, usize::MAX);
            let mut bytes: BytesMut = batch.slices().flatten().copied().collect();
            ends[from].on_transmitted(bytes.len());
            ends[to].handle_bytes(now, &mut bytes).unwrap();
        }
    }
    ends
}

#[test]
fn to_a_peer_that_does_not_read_the_write_buffer_fills_up_and_no_further() {
    const CALL: usize = 10_000;
    for write_buffer in [1, 20_000, 64 * 1024, 300_000] {
        Root::new().block_on(async {
            let limits = Limits {
                write_buffer,
                ..Limits::default()
            };
            let now = time::now();
            let mut machine = ready(&limits, now);
            for _ in 0..100 {
                let body = Bytes::from(vec![7; CALL]);
                let open = Open::new(Target::Method(MethodId(1)), CodecId::JSON, body);
                machine.command(now, Command::Open(open)).unwrap();
            }
            let (stream, _peer) = MemoryStream::builder().capacity(1).pair();
            let mailbox = Arc::new(Mailbox::new(&limits));
            let mut driver = Driver::new(stream, machine, mailbox, Nobody, &limits);
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..10 {
                assert!(driver.poll(&mut cx).is_pending());
            }
            // At most the last frame reaches beyond it.
            let filled = driver.out.len();
            assert!(filled + 1 >= write_buffer, "{filled} of {write_buffer}");
            assert!(
                filled < write_buffer + CALL + 64,
                "{filled} of {write_buffer}"
            );
        });
    }
}

// R7
#[test]
fn what_a_broken_stream_did_not_take_was_never_sent_though_the_broker_closes_meanwhile() {
    Root::new().block_on(async {
        let limits = Limits::default();
        let now = time::now();
        let (stream, _peer) = MemoryStream::builder().capacity(1).pair();
        let mailbox = Arc::new(Mailbox::new(&limits));
        mailbox.ready(1, 1000);
        let machine = ready(&limits, now);
        let mut driver = Driver::new(stream, machine, mailbox.clone(), Nobody, &limits);
        let open = Open::new(Target::Method(MethodId(1)), CodecId::JSON, Bytes::new());
        let call = mailbox.open(open, 0, None).unwrap();
        driver.take_mail(now);
        driver
            .machine
            .poll_transmit(now, &mut driver.out, usize::MAX);
        driver.broken(BrokenKind::Io(io::ErrorKind::BrokenPipe));
        mailbox.close(Code::Cancelled, "");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(driver.poll(&mut cx).is_ready());
        let error = call.await.unwrap_err();
        assert_eq!(
            (error.code(), error.certainty()),
            (Code::ConnectionLost, Certainty::NeverSent)
        );
    });
}

/// Tells how many bytes went out of those that it took: it takes all that come, or no more.
struct Counts {
    takes: bool,
    bytes: Arc<AtomicU64>,
}

impl ByteSide for Counts {}

impl ByteWriter for Counts {
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn passed_on(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl AsyncWrite for Counts {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.takes {
            return Poll::Pending;
        }
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[test]
fn a_transport_that_holds_bytes_back_stalls_only_while_none_go_out() {
    let limits = Limits::default();
    let count = Arc::new(AtomicU64::new(0));
    Root::new().block_on(async {
        let begun = time::now();
        let mut machine = ready(&limits, begun);
        let open = Open::new(Target::Method(MethodId(1)), CodecId::JSON, Bytes::new());
        machine.command(begun, Command::Open(open)).unwrap();
        let (reader, _) = MemoryStream::pair().0.into_split();
        let bytes = count.clone();
        let writer = Counts {
            takes: false,
            bytes,
        };
        let stream = StapledStream::new(reader, writer);
        let mailbox = Arc::new(Mailbox::new(&limits));
        let mut driver = Driver::new(stream, machine, mailbox, Nobody, &limits);
        let mut cx = Context::from_waker(Waker::noop());
        let mut stalls_after = |seconds: u64| {
            let now = begun + Duration::from_secs(seconds);
            assert!(!driver.poll_write(&mut cx, now));
            driver
                .stalls_at
                .map(|at| at.saturating_duration_since(begun))
        };
        let patience = Some(limits.write_stall);
        assert_eq!(stalls_after(0), patience);
        assert_eq!(stalls_after(2), patience, "nothing went out");
        count.fetch_add(1, Ordering::Relaxed);
        let later = patience.map(|most| most + Duration::from_secs(3));
        assert_eq!(stalls_after(3), later);
        assert_eq!(stalls_after(4), later, "nothing more went out");
    });
}

#[test]
fn a_stream_that_takes_everything_keeps_the_others_waiting_for_so_many_bytes() {
    const CALLS: u64 = 100;
    const CALL: usize = 10_000;
    let limits = Limits::default();
    let written = Arc::new(AtomicU64::new(0));
    Root::new().block_on(async {
        let now = time::now();
        let mut machine = ready(&limits, now);
        for _ in 0..CALLS {
            let body = Bytes::from(vec![7; CALL]);
            let open = Open::new(Target::Method(MethodId(1)), CodecId::JSON, body);
            machine.command(now, Command::Open(open)).unwrap();
        }
        let (near, _peer) = MemoryStream::pair();
        let reader = near.into_split().0;
        let bytes = written.clone();
        let stream = StapledStream::new(reader, Counts { takes: true, bytes });
        let mailbox = Arc::new(Mailbox::new(&limits));
        let mut driver = Driver::new(stream, machine, mailbox, Nobody, &limits);
        let mut cx = Context::from_waker(Waker::noop());
        let mut before = 0;
        while before < CALLS * CALL as u64 {
            assert!(driver.poll(&mut cx).is_pending());
            let all = written.load(Ordering::Relaxed);
            let now = all - before;
            assert!(now > 0, "stopped after {all}");
            // With what was made at once and reached beyond.
            assert!(
                now < (WRITTEN + limits.write_buffer + CALL) as u64,
                "{now} in one turn"
            );
            before = all;
        }
    });
}

#[test]
fn a_connection_that_is_idle_has_no_memory_for_bytes() {
    Backend::Sim.block_on(async {
        let limits = Limits::default();
        let now = time::now();
        let mut ends = both_ready(&limits, now);
        // What is small is copied to what goes out.
        for (machine, size) in ends.iter_mut().zip([100, 10_000]) {
            for _ in 0..16 {
                let body = Bytes::from(vec![7; size]);
                let open = Open::new(Target::Method(MethodId(1)), CodecId::JSON, body);
                machine.command(now, Command::Open(open)).unwrap();
            }
        }
        let [machine, mut peer] = ends;
        let (stream, mut far) = MemoryStream::builder().capacity(1 << 20).pair();
        let mut batch = OutputBatch::new();
        peer.poll_transmit(now, &mut batch, usize::MAX);
        for slice in batch.slices() {
            far.write_all(slice).await.unwrap();
        }
        let mailbox = Arc::new(Mailbox::new(&limits));
        let mut driver = Driver::new(stream, machine, mailbox, Nobody, &limits);
        let mut cx = Context::from_waker(Waker::noop());
        let mut held = |driver: &mut Driver<_, _>| {
            assert!(driver.poll(&mut cx).is_pending());
            assert!(driver.read.bytes.is_empty() && driver.out.is_empty());
            [&mut driver.read.bytes, driver.out.tail()].map(|bytes| bytes.try_reclaim(1000))
        };
        assert_eq!(held(&mut driver), [true; 2]);
        sleep(limits.heartbeat * 3 / 2).await;
        assert_eq!(held(&mut driver), [false; 2]);
    });
}
