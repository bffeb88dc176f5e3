//! Whoever tries in between takes no wake from those who wait.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use bowline_backend::stream::ByteStreamExt;
use bowline_codec::{Framing, JsonFraming, LengthDelimited, Raw};
use bowline_transport::{
    MemoryStream, MessageStreamBuilder, Shared, Transport, TransportRecv, TransportSend,
    TryRecvError, TrySendError,
};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// Lets the other end take some bytes.
fn read_some(there: &mut MemoryStream) {
    let (mut buffer, most) = (BytesMut::new(), NonZeroUsize::new(4).unwrap());
    let read = there.read_into(&mut buffer, most).now_or_never();
    assert_eq!(read.unwrap().unwrap(), 4);
}

// TR1, TR7
#[test]
fn a_try_takes_no_wake_from_who_waits() {
    let (here, mut there) = MemoryStream::builder().capacity(8).pair();
    let builder = MessageStreamBuilder::default().high_water(1);
    let here = builder.over(here, LengthDelimited::u32().with(Raw::new()));
    let (mut sender, mut receiver) = here.into_split();
    let message = Bytes::from(vec![7; 60]);
    sender.send(&message).now_or_never().unwrap().unwrap();

    // The receiver waits, and so writes what the pipe takes.
    let receiving = Arc::new(Wakes::default());
    let waker = Waker::from(receiving.clone());
    let cx = &mut Context::from_waker(&waker);
    assert!(receiver.poll_recv(cx).is_pending());
    let full = sender.try_send(&message);
    assert!(matches!(full, Err(TrySendError::Full)), "{full:?}");
    receiving.take();
    read_some(&mut there);
    assert!(receiving.take() > 0, "the sender's try took its wake");
    assert!(receiver.poll_recv(cx).is_pending());

    // The sender waits for room.
    let reserving = Arc::new(Wakes::default());
    let waker = Waker::from(reserving.clone());
    let cx = &mut Context::from_waker(&waker);
    assert!(sender.poll_reserve(cx).is_pending());
    let empty = receiver.try_recv();
    assert!(matches!(empty, Err(TryRecvError::Empty)), "{empty:?}");
    reserving.take();
    read_some(&mut there);
    assert!(reserving.take() > 0, "the receiver's try took its wake");

    // Who tried and then waits is woken by what comes.
    let waker = Waker::from(receiving.clone());
    let cx = &mut Context::from_waker(&waker);
    assert!(receiver.try_recv().is_err());
    assert!(receiver.poll_recv(cx).is_pending());
    receiving.take();
    let frame = there.write_all(b"\0\0\0\x01x").now_or_never();
    frame.unwrap().unwrap();
    assert!(receiving.take() > 0, "its own try took its wake");
    assert_eq!(receiver.try_recv().unwrap().as_deref(), Some(&b"x"[..]));
}

// TR1
#[test]
fn whoever_finds_another_sending_hears_that_there_may_be_room() {
    let (here, _there) = MemoryStream::pair();
    let codec = LengthDelimited::u32().with(Raw::new());
    let shared = Shared::new(MessageStreamBuilder::default().over(here, codec));
    let permit = shared.reserve().now_or_never().unwrap().unwrap();
    let message = Bytes::from_static(b"one");
    let busy = shared.try_send(&message);
    assert!(matches!(busy, Err(TrySendError::Busy)), "{busy:?}");
    drop(permit);
    shared.try_send(&message).unwrap();
}

// SV6
#[test]
fn bytes_that_make_no_message_keep_no_poll() {
    const ALL: usize = 1024 * 1024;
    let (here, mut there) = MemoryStream::builder().capacity(ALL).pair();
    let codec = JsonFraming::new().max_skip(2 * ALL).with(Raw::new());
    let here = MessageStreamBuilder::default().over(here, codec);
    let (_sender, mut receiver) = here.into_split();
    let spaces = vec![b' '; ALL];
    there.write_all(&spaces).now_or_never().unwrap().unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let cx = &mut Context::from_waker(&waker);
    assert!(receiver.poll_recv(cx).is_pending());
    assert!(wakes.take() > 0, "it goes on later");
    // As much as it has read there is room for again.
    let mut read = 0;
    while there.write_all(&spaces[..1024]).now_or_never().is_some() {
        read += 1024;
    }
    assert!((1..=512 * 1024).contains(&read), "{read} bytes in one poll");
}
