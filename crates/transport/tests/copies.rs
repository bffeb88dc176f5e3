//! Large payloads are not copied between the program and its byte stream, in either direction.

use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bowline_backend::stream::{ByteReader, ByteSide, ByteWriter};
use bowline_codec::{Framed, Framing, LengthDelimited, Raw};
use bowline_transport::{MessageStream, StapledStream, Transport, TransportSend};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::FutureExt;

/// Where bytes lie in memory.
type Place = Range<usize>;

fn place(bytes: &[u8]) -> Place {
    let at = bytes.as_ptr() as usize;
    at..at + bytes.len()
}

/// Gives what it has, and notes where it wrote that.
struct Giving {
    bytes: Arc<Mutex<BytesMut>>,
    written: Arc<Mutex<Vec<Place>>>,
    /// How much room each read was lent, what lay in it included.
    lent: Arc<Mutex<Vec<usize>>>,
    /// Most bytes of a read.
    cut: usize,
}

/// One that has nothing yet, and what it will have.
fn giving() -> (Giving, Arc<Mutex<BytesMut>>) {
    let bytes: Arc<Mutex<BytesMut>> = Arc::default();
    let giving = Giving {
        bytes: bytes.clone(),
        written: Arc::default(),
        lent: Arc::default(),
        cut: usize::MAX,
    };
    (giving, bytes)
}

impl ByteSide for Giving {}

impl AsyncRead for Giving {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        unreachable!("message streams read into their buffer")
    }
}

impl ByteReader for Giving {
    fn poll_read_into(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        let mut bytes = self.bytes.lock().unwrap();
        self.lent.lock().unwrap().push(buffer.capacity());
        if bytes.is_empty() {
            return Poll::Pending;
        }
        // As a socket does it: into the room there is, or by the stack where that is little.
        let room = buffer.capacity() - buffer.len();
        let by_stack = room < 4096.min(max.get());
        let room = if by_stack { 4096 } else { room };
        let count = room.min(max.get()).min(bytes.len()).min(self.cut);
        let before = buffer.len();
        if by_stack {
            let more = if count == 4096 {
                max.get().min(16 * 1024)
            } else {
                0
            };
            buffer.reserve(more.max(count));
        }
        buffer.put_slice(&bytes[..count]);
        if !by_stack {
            self.written.lock().unwrap().push(place(&buffer[before..]));
        }
        bytes.advance(count);
        Poll::Ready(Ok(count))
    }
}

/// Takes everything, and notes where that lay.
struct Taking(Arc<Mutex<Vec<Place>>>);

impl ByteSide for Taking {}

impl AsyncWrite for Taking {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().push(place(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut places = self.0.lock().unwrap();
        places.extend(slices.iter().map(|slice| place(slice)));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl ByteWriter for Taking {
    fn is_write_vectored(&self) -> bool {
        true
    }
}

fn codec() -> Framed<LengthDelimited, Raw> {
    LengthDelimited::u32().with(Raw::new())
}

/// A message of `size` such bytes as it is on the wire.
fn on_the_wire(size: usize, byte: u8) -> BytesMut {
    let mut wire = BytesMut::new();
    wire.put_u32(u32::try_from(size).unwrap());
    wire.put_bytes(byte, size);
    wire
}

/// From 4 KiB to the most that is taken by default.
const SIZES: [usize; 18] = [
    4 * 1024,
    4097,
    5003,
    6000,
    8 * 1024 - 4,
    8 * 1024 - 1,
    8 * 1024,
    16 * 1024,
    60_000,
    64 * 1024,
    200_000,
    256 * 1024 - 1,
    256 * 1024,
    256 * 1024 + 1,
    300_001,
    512 * 1024,
    777_777,
    1024 * 1024,
];

// SV6
#[test]
fn a_large_payload_is_written_from_where_the_program_has_it() {
    for size in SIZES {
        let written: Arc<Mutex<Vec<Place>>> = Arc::default();
        let (giving, _) = giving();
        let stream = StapledStream::new(giving, Taking(written.clone()));
        let mut stream = MessageStream::new(stream, codec());
        let payloads: Vec<Bytes> = (0..3).map(|n| Bytes::from(vec![n; size])).collect();
        for payload in &payloads {
            stream.send(payload).now_or_never().unwrap().unwrap();
        }
        // And as one write of several.
        for payload in &payloads {
            let (sender, _) = stream.split();
            sender.feed(payload).now_or_never().unwrap().unwrap();
        }
        stream.flush().now_or_never().unwrap().unwrap();
        let written = written.lock().unwrap();
        for payload in &payloads {
            let own = place(payload);
            let times = written.iter().filter(|written| **written == own).count();
            assert_eq!(times, 2, "{size}: {own:?} is not in {written:?}");
        }
        stream.abort();
    }
}

/// Payloads of `size` bytes, `together` at a time, from a stream of which no read takes more than
/// `cut`: where they lie they were read to.
fn handed_out_from_where_it_was_read_to(size: usize, cut: usize, together: usize) {
    let (mut giving, coming) = giving();
    giving.cut = cut;
    let written = giving.written.clone();
    let stream = StapledStream::new(giving, Taking(Arc::default()));
    let mut stream = MessageStream::new(stream, codec());
    let mut kept = Vec::new();
    for number in 0..8 {
        if number % together == 0 {
            written.lock().unwrap().clear();
            let frames = number..number + together;
            let mut coming = coming.lock().unwrap();
            frames.for_each(|number| coming.extend_from_slice(&on_the_wire(size, number as u8)));
        }
        let payload = loop {
            // After some bytes it lets other tasks run.
            if let Some(received) = stream.recv().now_or_never() {
                break received.unwrap().unwrap();
            }
        };
        assert_eq!((payload.len(), payload[0]), (size, number as u8));
        let own = place(&payload);
        let written = written.lock().unwrap();
        let read = written.iter().map(|read| {
            read.end
                .min(own.end)
                .saturating_sub(read.start.max(own.start))
        });
        // The first one tells how large they are; what came with it may be moved once.
        if number >= together.max(2) {
            assert_eq!(
                read.sum::<usize>(),
                size,
                "{size} bytes by {cut}, {together} at a time: {own:?} was not read to: {written:?}"
            );
        }
        // Memory that is given back could be used a second time.
        kept.push(payload);
    }
    stream.abort();
}

// SV6
#[test]
fn a_large_payload_is_handed_out_from_where_it_was_read_to() {
    for size in SIZES {
        for cut in [usize::MAX, 50_021, 4095, 1448, 1000] {
            handed_out_from_where_it_was_read_to(size, cut, 1);
        }
    }
}

// SV6
#[test]
fn large_payloads_that_come_together_are_handed_out_from_where_they_were_read_to() {
    for size in SIZES {
        for cut in [usize::MAX, 50_021, 4095, 1448] {
            handed_out_from_where_it_was_read_to(size, cut, 4);
        }
    }
}

// SV6
#[test]
fn a_small_payload_that_is_kept_keeps_no_read_buffer() {
    let (giving, coming) = giving();
    let stream = StapledStream::new(giving, Taking(Arc::default()));
    let mut stream = MessageStream::new(stream, codec());
    for number in 0..100 {
        let mut coming = coming.lock().unwrap();
        for _ in 0..500 {
            coming.extend_from_slice(&on_the_wire(16, number));
        }
    }
    for count in 0..50_000 {
        let payload = loop {
            if let Some(received) = stream.recv().now_or_never() {
                break received.unwrap().unwrap();
            }
        };
        let number = (count / 500) as u8;
        assert_eq!(payload, [number; 16][..]);
        // Nobody else has a part of it, and it is no part of anything large.
        let own = payload.try_into_mut().expect("nobody else has it");
        assert!(own.capacity() <= 8 * 16, "{}", own.capacity());
    }
    stream.abort();
}

// SV6
#[test]
fn a_payload_that_is_kept_keeps_no_buffer_made_for_a_longer_one() {
    const KEPT: usize = 4096;
    let (giving, coming) = giving();
    let stream = StapledStream::new(giving, Taking(Arc::default()));
    let mut stream = MessageStream::new(stream, codec());
    let mut kept = Vec::new();
    for number in 0..20 {
        for size in [1 << 20, KEPT] {
            let wire = on_the_wire(size, number);
            coming.lock().unwrap().extend_from_slice(&wire);
            let received = loop {
                if let Some(received) = stream.recv().now_or_never() {
                    break received.unwrap().unwrap();
                }
            };
            assert_eq!(received.len(), size);
            if size == KEPT {
                kept.push(received);
            }
        }
    }
    stream.abort();
    for payload in kept {
        let own = payload.try_into_mut().expect("nobody else has it");
        assert!(own.capacity() <= 64 * 1024, "{}", own.capacity());
    }
}

// SV6
#[test]
fn a_stream_that_waits_owns_no_buffer() {
    let (giving, coming) = giving();
    let lent = giving.lent.clone();
    let stream = StapledStream::new(giving, Taking(Arc::default()));
    let mut stream = MessageStream::new(stream, codec());
    const KIB: usize = 1024;
    let sizes = [
        (16, 0),
        (1000, 0),
        (100_000, 100_004),
        (16, 32 * KIB),
        (16, 16 * KIB),
        (16, 8 * KIB),
        (16, 0),
    ];
    for (size, expected) in sizes {
        coming
            .lock()
            .unwrap()
            .extend_from_slice(&on_the_wire(size, 7));
        let received = loop {
            if let Some(received) = stream.recv().now_or_never() {
                break received.unwrap().unwrap();
            }
        };
        assert_eq!(received.len(), size);
        drop(received);
        // The first one that waits gives up what there was; the next one has, for as long as it looks,
        // what it may expect: a frame as large as the last one, or half of what a read had before.
        for _ in 0..3 {
            assert!(stream.recv().now_or_never().is_none());
        }
        let lent = lent.lock().unwrap();
        let last = *lent.last().unwrap();
        assert!(last <= expected, "{size}: {last} of {lent:?}");
    }
    stream.abort();
}

// C11
#[test]
fn what_a_header_declares_is_no_memory() {
    const DECLARED: usize = 1 << 30;
    let (giving, coming) = giving();
    let lent = giving.lent.clone();
    let stream = StapledStream::new(giving, Taking(Arc::default()));
    let codec = LengthDelimited::u32().max_frame(DECLARED).with(Raw::new());
    let mut stream = MessageStream::new(stream, codec);
    let mut come = 4;
    coming.lock().unwrap().put_u32(DECLARED as u32);
    for piece in [1, 10, 1000, 20_000, 50_000, 200_000] {
        coming.lock().unwrap().put_bytes(7, piece);
        come += piece;
        // Until it has read all, and once more.
        while !coming.lock().unwrap().is_empty() || !lent.lock().unwrap().is_empty() {
            assert!(stream.recv().now_or_never().is_none());
            let most = lent.lock().unwrap().drain(..).max().unwrap_or(0);
            let allowed = (2 * come).max(16 * 1024) + 64 * 1024;
            assert!(most <= allowed, "{most} for {come} bytes");
            if coming.lock().unwrap().is_empty() {
                break;
            }
        }
    }
    stream.abort();
}
