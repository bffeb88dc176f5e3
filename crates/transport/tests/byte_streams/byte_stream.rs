//! What every byte stream does.

use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::Poll;

use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt, ByteWriter};
use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::join;

const MOST: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|i| (i.wrapping_mul(2654435761) >> 24) as u8)
        .collect()
}

/// Reads to the end with reads of changing size.
async fn read_all<R: ByteReader>(reader: &mut R) -> io::Result<BytesMut> {
    let mut all = BytesMut::new();
    for round in 0usize.. {
        let most = NonZeroUsize::new(1 + (round * 7919) % 50_000).unwrap();
        let mut part = BytesMut::new();
        let count = reader.read_into(&mut part, most).await?;
        assert!(count == part.len() && count <= most.get());
        if count == 0 {
            break;
        }
        all.extend_from_slice(&part);
    }
    Ok(all)
}

async fn send_all<W: ByteWriter>(writer: &mut W, bytes: &[u8]) {
    writer.write_all(bytes).await.unwrap();
    writer.shutdown().await.unwrap();
}

pub(crate) async fn bytes_arrive_intact_in_any_pieces<S: ByteStream>(mut here: S, mut there: S) {
    let sent = pattern(300_000);
    let (_, got) = join(send_all(&mut here, &sent), read_all(&mut there)).await;
    assert!(got.unwrap() == sent, "the bytes changed on their way");
    // The other direction still works, with a single byte.
    let (_, got) = join(send_all(&mut there, &[9]), read_all(&mut here)).await;
    assert_eq!(got.unwrap()[..], [9]);
}

pub(crate) async fn vectored_writes_arrive_in_order<S: ByteStream>(mut here: S, mut there: S) {
    let pieces: Vec<Vec<u8>> = (0..3000).map(|i| pattern(i % 17)).collect();
    let sent = pieces.concat();
    let write = async {
        let mut left: Vec<io::IoSlice<'_>> = pieces.iter().map(|p| io::IoSlice::new(p)).collect();
        let mut left = &mut left[..];
        io::IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let written = poll_fn(|cx| Pin::new(&mut here).poll_write_vectored(cx, left)).await;
            io::IoSlice::advance_slices(&mut left, written.unwrap());
        }
        here.shutdown().await.unwrap();
    };
    let (_, got) = join(write, read_all(&mut there)).await;
    assert!(got.unwrap() == sent);
}

pub(crate) async fn each_direction_ends_alone<S: ByteStream>(mut here: S, mut there: S) {
    here.shutdown().await.unwrap();
    assert!(read_all(&mut there).await.unwrap().is_empty());
    let (_, got) = join(send_all(&mut there, b"still here"), read_all(&mut here)).await;
    assert_eq!(got.unwrap(), "still here");
    // Both have ended; shutting down once more is no error.
    here.shutdown().await.unwrap();
    there.shutdown().await.unwrap();
}

pub(crate) async fn the_end_is_sticky<S: ByteStream>(mut here: S, mut there: S) {
    let (_, got) = join(send_all(&mut here, b"x"), read_all(&mut there)).await;
    assert_eq!(got.unwrap(), "x");
    for _ in 0..3 {
        let mut more = BytesMut::new();
        assert_eq!(there.read_into(&mut more, MOST).await.unwrap(), 0);
    }
}

pub(crate) async fn a_shut_down_side_takes_nothing_more<S: ByteStream>(mut here: S, mut there: S) {
    here.shutdown().await.unwrap();
    let error = here.write_all(b"late").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(read_all(&mut there).await.unwrap().is_empty());
}

pub(crate) async fn a_writer_waits_for_a_reader<S: ByteStream>(mut here: S, mut there: S) {
    const BOUND: usize = 64 << 20;
    let chunk = pattern(64 * 1024);
    let mut sent = 0;
    // Buffers are bounded: without a reader the writer has to wait.
    poll_fn(|cx| {
        loop {
            match Pin::new(&mut here).poll_write(cx, &chunk) {
                Poll::Pending => return Poll::Ready(()),
                Poll::Ready(written) => sent += written.unwrap(),
            }
            assert!(sent < BOUND, "the stream takes any amount without a reader");
        }
    })
    .await;
    // And goes on as soon as there is one.
    let (_, got) = join(send_all(&mut here, b"end"), read_all(&mut there)).await;
    let got = got.unwrap();
    assert_eq!(got.len(), sent + 3);
    assert!(got.ends_with(b"end"));
}

pub(crate) async fn a_dropped_read_takes_nothing<S: ByteStream>(mut here: S, mut there: S) {
    let sent = pattern(20_000);
    let read = async {
        let mut got = BytesMut::new();
        loop {
            // Poll once and drop, over and over, before waiting.
            let mut part = BytesMut::new();
            if let Some(result) = there.read_into(&mut part, NonZeroUsize::MIN).now_or_never() {
                assert_eq!(result.unwrap(), part.len());
            } else {
                assert!(part.is_empty());
                there.read_into(&mut part, MOST).await.unwrap();
            }
            if part.is_empty() {
                return got;
            }
            got.extend_from_slice(&part);
        }
    };
    let (_, got) = join(send_all(&mut here, &sent), read).await;
    assert!(got == sent);
}

pub(crate) async fn a_waiting_read_holds_no_buffer<S: ByteStream>(mut here: S, mut there: S) {
    let mut buffer = BytesMut::new();
    assert!(there.read_into(&mut buffer, MOST).now_or_never().is_none());
    assert_eq!(buffer.capacity(), 0);
    here.write_all(b"now").await.unwrap();
    there.read_into(&mut buffer, MOST).await.unwrap();
    assert!(buffer.capacity() > 0);
}

pub(crate) async fn halves_end_as_the_whole_does<S: ByteStream>(here: S, there: S) {
    let (mut here_read, mut here_write) = here.into_split();
    let (mut there_read, mut there_write) = there.into_split();
    let sent = pattern(100_000);
    let (one, two) = join(
        join(send_all(&mut here_write, &sent), read_all(&mut here_read)),
        join(send_all(&mut there_write, &sent), read_all(&mut there_read)),
    )
    .await;
    assert!(one.1.unwrap() == sent && two.1.unwrap() == sent);
    drop((here_read, here_write, there_read, there_write));
}

pub(crate) async fn only_halves_of_one_stream_reunite<S: ByteStream>(here: S, there: S) {
    let (here_read, here_write) = here.into_split();
    let (there_read, there_write) = there.into_split();
    let Err(refused) = S::reunite(here_read, there_write) else {
        panic!("halves of two streams were taken");
    };
    let mut here = S::reunite(refused.0, here_write).ok().unwrap();
    let mut there = S::reunite(there_read, refused.1).ok().unwrap();
    let (_, got) = join(send_all(&mut here, b"one"), read_all(&mut there)).await;
    assert_eq!(got.unwrap(), "one");
    // A dropped writing half ends the side; a dropped reading half is not noticed.
    let (here_read, _) = here.into_split();
    drop(here_read);
    let (there_read, there_write) = there.into_split();
    drop(there_write);
    drop(there_read);
}

pub(crate) async fn an_abort_resets_the_peer<S: ByteStream>(here: S, mut there: S) {
    here.abort();
    sees_one_reset(&mut there).await;
    assert!(is_gone(&refusal(&mut there).await));
    there.shutdown().await.unwrap();
}

pub(crate) async fn a_stream_that_read_a_reset_takes_nothing<S: ByteStream>(here: S, mut there: S) {
    here.abort();
    sees_one_reset(&mut there).await;
    let error = there.write_all(b"x").await.unwrap_err();
    assert!(is_gone(&error), "{error:?}");
}

/// Reads a reset; only once, after that it has ended.
async fn sees_one_reset<S: ByteStream>(stream: &mut S) {
    let mut buffer = BytesMut::new();
    let error = stream.read_into(&mut buffer, MOST).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(stream.read_into(&mut buffer, MOST).await.unwrap(), 0);
}

pub(crate) async fn a_closed_peer_refuses_writes<S: ByteStream>(here: S, mut there: S) {
    drop(here);
    let mut buffer = BytesMut::new();
    assert_eq!(there.read_into(&mut buffer, MOST).await.unwrap(), 0);
    assert!(is_gone(&refusal(&mut there).await));
}

/// What a write says in the end: a kernel may take some before it hears that nobody is there.
async fn refusal<S: ByteStream>(stream: &mut S) -> io::Error {
    let chunk = pattern(64 * 1024);
    loop {
        if let Err(error) = stream.write_all(&chunk).await {
            return error;
        }
    }
}

pub(crate) async fn bytes_nobody_read_may_reset_the_peer<S: ByteStream>(mut here: S, mut there: S) {
    here.write_all(b"answer").await.unwrap();
    there.write_all(b"unread").await.unwrap();
    // Arrived for certain: the first byte is there.
    let mut first = BytesMut::new();
    here.read_into(&mut first, NonZeroUsize::MIN).await.unwrap();
    drop(here);
    let mut got = BytesMut::new();
    let ended = loop {
        match there.read_into(&mut got, MOST).await {
            Ok(0) => panic!("bytes were lost and the end looks clean"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
    assert!(b"answer".starts_with(&got[..]));
}

pub(crate) async fn addresses_mirror_each_other<S: ByteStream>(here: S, there: S) {
    assert_eq!(here.local_addr().unwrap(), there.peer_addr().unwrap());
    assert_eq!(here.peer_addr().unwrap(), there.local_addr().unwrap());
    let peer = there.peer_addr().unwrap();
    drop(here);
    assert_eq!(there.peer_addr().unwrap(), peer);
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
