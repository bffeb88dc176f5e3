//! Frames out of a stream that comes in reads of one size.

use std::hint::black_box;

use bowline_codec::{Decode, LengthDelimited, Lines};
use bytes::BytesMut;
use tokio_util::codec::{Decoder, LengthDelimitedCodec, LinesCodec};

use crate::Row;

const READ: usize = 64 * 1024;
/// About the largest payload of a TCP segment on an Ethernet.
const SEGMENT: usize = 1_500;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        lengths("decode length-delimited, 64 B", ">= 1.0", 64, READ),
        lengths("the same in reads of 1 500 B", "-", 64, SEGMENT),
        lengths("the same in reads of 1 B", "-", 64, 1),
        lengths(
            "decode length-delimited, 1 KiB, reads of 1 500 B",
            "-",
            1_024,
            SEGMENT,
        ),
        lengths("decode length-delimited, 16 KiB", ">= 1.0", 16 * 1024, READ),
        texts("decode lines of 80 B as text", ">= 1.2", 80, READ),
        texts("the same in reads of 1 500 B", "-", 80, SEGMENT),
        texts("the same in reads of 1 B", "-", 80, 1),
        lines("decode lines of 80 B as bytes", ">= 1.2", 80, READ),
    ]
}

/// Frames of one round: few where each byte is a read.
fn count(payload: usize, read: usize) -> usize {
    match read {
        1 => 2_000,
        _ => 2 * 1024 * 1024 / payload,
    }
}

fn lengths(name: &'static str, target: &'static str, payload: usize, read: usize) -> Row {
    let count = count(payload, read);
    let header = u32::try_from(payload)
        .expect("a small payload")
        .to_be_bytes();
    let wire = [&header[..], &vec![b'x'; payload]].concat().repeat(count);
    row(
        name,
        target,
        wire,
        count,
        read,
        LengthDelimitedCodec::new(),
        LengthDelimited::u32(),
    )
}

fn texts(name: &'static str, target: &'static str, len: usize, read: usize) -> Row {
    let count = count(len, read);
    row(
        name,
        target,
        text(len, count),
        count,
        read,
        LinesCodec::new(),
        Lines::lf().text(),
    )
}

fn lines(name: &'static str, target: &'static str, len: usize, read: usize) -> Row {
    let count = count(len, read);
    row(
        name,
        target,
        text(len, count),
        count,
        read,
        LinesCodec::new(),
        Lines::lf(),
    )
}

/// Lines of `len` bytes with their newline.
fn text(len: usize, count: usize) -> Vec<u8> {
    let mut line = vec![b'x'; len];
    line[len - 1] = b'\n';
    line.repeat(count)
}

fn row<P, O>(
    name: &'static str,
    target: &'static str,
    wire: Vec<u8>,
    count: usize,
    read: usize,
    mut peer: P,
    mut ours: O,
) -> Row
where
    P: Decoder + 'static,
    P::Error: std::fmt::Debug,
    O: Decode + 'static,
{
    let for_ours = wire.clone();
    let (mut theirs, mut buffer) = (BytesMut::new(), BytesMut::new());
    Row {
        name,
        target,
        frames: count as u64,
        peer: Box::new(move || {
            let mut frames = 0;
            for bytes in wire.chunks(read) {
                theirs.extend_from_slice(bytes);
                while let Some(frame) = peer.decode(&mut theirs).expect("a frame") {
                    black_box(frame);
                    frames += 1;
                }
            }
            assert_eq!(frames, count);
        }),
        ours: Box::new(move || {
            let mut frames = 0;
            for bytes in for_ours.chunks(read) {
                buffer.extend_from_slice(bytes);
                while let Some(frame) = ours.decode(&mut buffer).expect("a frame") {
                    black_box(frame);
                    frames += 1;
                }
            }
            assert_eq!(frames, count);
        }),
    }
}
