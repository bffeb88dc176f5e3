//! Futures of streams that are dropped at any await: S8.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::entropy::random_u64;
use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_backend::task::{RunOptions, yield_now};
use bytes::{Bytes, BytesMut};
use futures_lite::AsyncWriteExt;

use crate::kinds::{Kind, on_streams};

on_streams![dropped_futures_lose_no_byte];

/// Of each kind of operation; there are four kinds.
const DROPS: usize = 2_500;

fn below(bound: usize) -> usize {
    random_u64() as usize % bound
}

/// Polls `future` one to three times, a turn of the others in between, then drops it.
async fn briefly<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..1 + below(3) {
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

/// The byte at `position` of all that is sent.
fn byte(position: usize) -> u8 {
    (position % 251) as u8
}

/// How much was sent, and how many futures of each kind were dropped while they waited.
#[derive(Default)]
struct Tally {
    sent: usize,
    received: usize,
    dropped: [usize; 4],
}

impl Tally {
    /// Writes up to some thousand bytes in one of three ways.
    async fn write(&mut self, stream: &mut impl ByteStream) -> io::Result<()> {
        let length = 1 + below(8_000);
        let bytes: Vec<u8> = (self.sent..self.sent + length).map(byte).collect();
        let kind = below(3);
        let written = match kind {
            0 => briefly(stream.write(&bytes)).await.transpose()?,
            1 => {
                let (head, tail) = bytes.split_at(below(length));
                let slices = [IoSlice::new(head), IoSlice::new(tail)];
                let write = poll_fn(|cx| Pin::new(&mut *stream).poll_write_vectored(cx, &slices));
                briefly(write).await.transpose()?
            }
            _ => {
                // What was written before the drop is gone from `rest`.
                let mut rest = Bytes::from(bytes);
                let done = briefly(stream.write_all_vectored(&mut rest))
                    .await
                    .transpose()?;
                self.sent += length - rest.len();
                done.map(|()| 0)
            }
        };
        self.sent += written.unwrap_or(0);
        self.dropped[kind] += usize::from(written.is_none());
        Ok(())
    }

    async fn read(&mut self, stream: &mut impl ByteStream) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        let most = NonZeroUsize::new(1 + below(8_000)).unwrap();
        let read = briefly(stream.read_into(&mut buffer, most))
            .await
            .transpose()?;
        self.dropped[3] += usize::from(read.is_none());
        assert_eq!(read.unwrap_or(0), buffer.len());
        for got in buffer {
            assert_eq!(got, byte(self.received), "byte {}", self.received);
            self.received += 1;
        }
        Ok(())
    }
}

// S8
fn dropped_futures_lose_no_byte<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut ours, mut peer) = K::pair_with(Some(4_096)).await;
        let mut tally = Tally::default();
        // Now the writer, now the reader has more turns, so both find the stream full and empty.
        while tally.dropped.iter().any(|dropped| *dropped < DROPS) {
            for _ in 0..below(100) {
                tally.write(&mut ours).await.unwrap();
            }
            for _ in 0..below(100) {
                tally.read(&mut peer).await.unwrap();
            }
        }
        ours.shutdown().await.unwrap();
        let mut rest = BytesMut::new();
        while peer.read_into(&mut rest, NonZeroUsize::MAX).await.unwrap() > 0 {}
        assert!(
            rest.iter()
                .zip(tally.received..)
                .all(|(got, position)| *got == byte(position))
        );
        assert_eq!(tally.received + rest.len(), tally.sent);
    });
}
