//! Frames into an output that is taken away, as a socket takes it, whenever there is enough.

use std::hint::black_box;

use bowline_codec::{Encode, LengthDelimited, Lines, OutputBatch};
use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Encoder, LengthDelimitedCodec, LinesCodec};

use crate::Row;

/// So much is written at once.
const WRITE: usize = 64 * 1024;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        lengths("encode length-delimited, 64 B", ">= 1.0", 64, 30_000),
        lengths("encode length-delimited, 1 KiB", "-", 1_024, 4_000),
        lengths(
            "encode length-delimited, 16 KiB of `Bytes`",
            ">= 3",
            16 * 1024,
            1_000,
        ),
        lengths(
            "encode length-delimited, 256 KiB of `Bytes`",
            ">= 3",
            256 * 1024,
            100,
        ),
        lines("encode lines of 80 B", "-", 80, 30_000),
    ]
}

fn lengths(name: &'static str, target: &'static str, payload: usize, count: u64) -> Row {
    let payload = Bytes::from(vec![b'x'; payload]);
    let for_ours = payload.clone();
    let (mut peer, mut ours) = (LengthDelimitedCodec::new(), LengthDelimited::u32());
    row(
        name,
        target,
        count,
        move |out| peer.encode(payload.clone(), out).expect("it fits"),
        move |batch| ours.encode(&for_ours, batch).expect("it fits"),
    )
}

fn lines(name: &'static str, target: &'static str, len: usize, count: u64) -> Row {
    let line = "x".repeat(len - 1);
    let for_ours = line.clone();
    let (mut peer, mut ours) = (LinesCodec::new(), Lines::lf());
    row(
        name,
        target,
        count,
        move |out| peer.encode(line.as_str(), out).expect("it fits"),
        move |batch| ours.encode(for_ours.as_bytes(), batch).expect("it fits"),
    )
}

fn row(
    name: &'static str,
    target: &'static str,
    count: u64,
    mut peer: impl FnMut(&mut BytesMut) + 'static,
    mut ours: impl FnMut(&mut OutputBatch) + 'static,
) -> Row {
    let (mut out, mut batch) = (BytesMut::new(), OutputBatch::new());
    Row {
        name,
        target,
        frames: count,
        peer: Box::new(move || {
            for _ in 0..count {
                peer(&mut out);
                take(&mut out);
            }
        }),
        ours: Box::new(move || {
            for _ in 0..count {
                ours(&mut batch);
                take_batch(&mut batch);
            }
        }),
    }
}

/// Writes all there is, as one slice.
fn take(out: &mut BytesMut) {
    if out.len() >= WRITE {
        black_box(&out[..]);
        out.advance(out.len());
    }
}

/// Writes all there is, as the slices that there are.
fn take_batch(batch: &mut OutputBatch) {
    if batch.len() >= WRITE {
        batch.slices().for_each(|slice| {
            black_box(slice);
        });
        batch.advance(batch.len());
    }
}
