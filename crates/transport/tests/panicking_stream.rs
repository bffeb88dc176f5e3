//! A byte stream that panics or fails in a write: both halves of the message stream over it learn that
//! it broke.

use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bowline_backend::stream::{
    Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError,
};
use bowline_codec::{Framed, Framing, LengthDelimited, Raw};
use bowline_transport::{
    Break, Delivery, Error, ErrorKind, Extra, MemoryReadHalf, MemoryStream, MemoryWriteHalf,
    MessageReceiver, MessageSender, MessageStream, Transport, TransportRecv, TransportSend,
};
use bytes::{Bytes, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::FutureExt;

const WRITES: u8 = 0;
const BLOCKS: u8 = 1;
const PANICS: u8 = 2;
const TAKES_NONE: u8 = 3;
const FAILS: u8 = 4;
const IS_RESET: u8 = 5;

/// A memory stream whose writing half does what it is told.
struct Told {
    read: MemoryReadHalf,
    write: ToldWrite,
}

struct ToldWrite {
    half: MemoryWriteHalf,
    does: Arc<AtomicU8>,
}

impl Extra for Told {}
impl ByteSide for Told {}
impl ByteSide for ToldWrite {}

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl ByteReader for Told {
    fn poll_read_into(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.read).poll_read_into(cx, buffer, max)
    }
}

impl AsyncWrite for ToldWrite {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.does.load(Ordering::SeqCst) {
            WRITES => Pin::new(&mut self.half).poll_write(cx, bytes),
            BLOCKS => Poll::Pending,
            TAKES_NONE => Poll::Ready(Ok(0)),
            FAILS => Poll::Ready(Err(io::Error::other("as it should"))),
            IS_RESET => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            _ => panic!("as it should"),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert_ne!(self.does.load(Ordering::SeqCst), PANICS, "as it should");
        Pin::new(&mut self.half).poll_close(cx)
    }
}

impl ByteWriter for ToldWrite {
    fn is_write_vectored(&self) -> bool {
        false
    }
}

impl AsyncWrite for Told {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_close(cx)
    }
}

impl ByteWriter for Told {
    fn is_write_vectored(&self) -> bool {
        false
    }
}

impl ByteStream for Told {
    type ReadHalf = MemoryReadHalf;
    type WriteHalf = ToldWrite;

    fn into_split(self) -> (MemoryReadHalf, ToldWrite) {
        (self.read, self.write)
    }

    fn reunite(
        read: MemoryReadHalf,
        write: ToldWrite,
    ) -> Result<Self, ReuniteError<MemoryReadHalf, ToldWrite>> {
        Ok(Told { read, write })
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Named("told".into()))
    }

    fn peer_addr(&self) -> io::Result<Address> {
        Ok(Address::Named("peer".into()))
    }

    fn abort(self) {
        if let Ok(stream) = MemoryStream::reunite(self.read, self.write.half) {
            stream.abort();
        }
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Codec = Framed<LengthDelimited, Raw>;

struct Ends {
    sender: MessageSender<Told, Codec>,
    receiver: MessageReceiver<Told, Codec>,
    peer: MessageStream<MemoryStream, Codec>,
    does: Arc<AtomicU8>,
}

fn ends() -> Ends {
    let (here, there) = MemoryStream::pair();
    let (read, half) = here.into_split();
    let does = Arc::new(AtomicU8::new(WRITES));
    let write = ToldWrite {
        half,
        does: does.clone(),
    };
    let codec = || LengthDelimited::u32().with(Raw::new());
    let (sender, receiver) = MessageStream::new(Told { read, write }, codec()).into_split();
    Ends {
        sender,
        receiver,
        peer: MessageStream::new(there, codec()),
        does,
    }
}

fn frame() -> Bytes {
    Bytes::from_static(b"a frame")
}

#[track_caller]
fn broken(error: Error, delivery: Delivery) {
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Panicked), "{error}");
    assert_eq!(error.delivery(), delivery, "{error}");
}

#[test]
fn a_receiver_that_waits_is_told_of_a_panic_of_the_sender() {
    let mut ends = ends();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let waits = ends.receiver.poll_recv(&mut Context::from_waker(&waker));
    assert!(waits.is_pending());
    ends.does.store(PANICS, Ordering::SeqCst);
    let sent = catch_unwind(AssertUnwindSafe(|| {
        ends.sender.send(&frame()).now_or_never()
    }));
    assert!(sent.is_err(), "who writes gets the panic");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    // For good, for both, whatever the stream would do now.
    ends.does.store(WRITES, Ordering::SeqCst);
    for _ in 0..2 {
        let received = ends.receiver.recv().now_or_never().expect("it is over");
        broken(received.unwrap_err(), Delivery::MaybeSent);
        let sent = ends
            .sender
            .send(&frame())
            .now_or_never()
            .expect("it is over");
        broken(sent.unwrap_err(), Delivery::NotSent);
        let flushed = ends.sender.flush().now_or_never().expect("it is over");
        broken(flushed.unwrap_err(), Delivery::MaybeSent);
    }
    // The peer does not take it for a clean end.
    drop((ends.sender, ends.receiver));
    let end = ends.peer.recv().now_or_never().expect("it is over");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Broken(Break::Reset));
}

#[test]
fn a_sender_that_waits_is_told_of_a_panic_of_the_receiver() {
    let mut ends = ends();
    // It has come by the time of the panic, so it is not lost.
    ends.peer
        .send(&frame())
        .now_or_never()
        .expect("there is room")
        .unwrap();
    ends.peer
        .send(&frame())
        .now_or_never()
        .expect("there is room")
        .unwrap();
    let first = ends.receiver.recv().now_or_never().expect("it has come");
    assert_eq!(first.unwrap(), Some(frame()));
    ends.does.store(BLOCKS, Ordering::SeqCst);
    ends.sender.queue(&frame()).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    assert!(
        ends.sender
            .poll_flush(&mut Context::from_waker(&waker))
            .is_pending()
    );
    ends.does.store(PANICS, Ordering::SeqCst);
    let received = catch_unwind(AssertUnwindSafe(|| ends.receiver.recv().now_or_never()));
    assert!(received.is_err(), "who writes gets the panic");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    let flushed = poll_fn(|cx| ends.sender.poll_flush(cx)).now_or_never();
    broken(
        flushed.expect("it is over").unwrap_err(),
        Delivery::MaybeSent,
    );
    let second = ends.receiver.recv().now_or_never().expect("it has come");
    assert_eq!(second.unwrap(), Some(frame()));
    let end = ends.receiver.recv().now_or_never().expect("it is over");
    broken(end.unwrap_err(), Delivery::MaybeSent);
}

#[test]
fn a_panic_at_the_end_breaks_the_stream_too() {
    let mut ends = ends();
    ends.does.store(PANICS, Ordering::SeqCst);
    let ended = catch_unwind(AssertUnwindSafe(|| ends.sender.shutdown().now_or_never()));
    assert!(ended.is_err(), "who ends it gets the panic");
    let received = ends.receiver.recv().now_or_never().expect("it is over");
    broken(received.unwrap_err(), Delivery::MaybeSent);
    let ended = ends.sender.shutdown().now_or_never().expect("it is over");
    broken(ended.unwrap_err(), Delivery::MaybeSent);
}

// TR7, TR12
#[test]
fn a_receiver_that_waits_is_told_of_a_write_that_fails() {
    for (does, how) in [(TAKES_NONE, Break::WriteZero), (FAILS, Break::Other)] {
        let mut ends = ends();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let waits = ends.receiver.poll_recv(&mut Context::from_waker(&waker));
        assert!(waits.is_pending());
        ends.does.store(does, Ordering::SeqCst);
        ends.sender.queue(&frame()).unwrap();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        // What has come is not lost; nothing that comes later is waited for.
        let told = ends.peer.send(&frame()).now_or_never();
        told.expect("there is room").unwrap();
        let received = ends.receiver.recv().now_or_never().expect("it has come");
        assert_eq!(received.unwrap(), Some(frame()));
        for _ in 0..2 {
            let received = ends.receiver.recv().now_or_never().expect("it is over");
            let error = received.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken(how), "{error}");
            assert_eq!(error.unsent_frames(), 1);
        }
    }
}

// TR5
#[test]
fn a_peer_that_takes_no_more_may_talk_until_it_ends() {
    let mut ends = ends();
    ends.does.store(IS_RESET, Ordering::SeqCst);
    ends.sender.queue(&frame()).unwrap();
    let flushed = ends.sender.flush().now_or_never().expect("it is over");
    let kind = flushed.unwrap_err().kind();
    assert_eq!(kind, ErrorKind::Broken(Break::Reset));
    assert!(ends.receiver.recv().now_or_never().is_none());
    let told = ends.peer.send(&frame()).now_or_never();
    told.expect("there is room").unwrap();
    let received = ends.receiver.recv().now_or_never().expect("it has come");
    assert_eq!(received.unwrap(), Some(frame()));
    let closed = ends.peer.close().now_or_never();
    closed.expect("all is written").unwrap();
    let end = ends.receiver.recv().now_or_never().expect("it is over");
    assert_eq!(end.unwrap(), None);
}
