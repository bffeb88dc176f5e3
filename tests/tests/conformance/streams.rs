//! Streams that go well: S1 to S6, S9, S11.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::entropy::random_u64;
use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt, ByteWriter};
use bowline_backend::task::{RunOptions, spawn_detached, yield_now};
use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};

use crate::kinds::{Kind, on_streams};

on_streams![
    echoes_come_back_whole,
    each_side_can_half_close,
    the_end_is_sticky,
    a_full_pipe_makes_the_writer_wait,
    vectored_writes_take_many_slices,
    halves_work_in_two_tasks_and_reunite,
    addresses_outlive_the_peer,
];

pub(crate) const MOST: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// What one read gives; nothing at the end.
pub(crate) async fn read_some(stream: &mut impl ByteReader) -> io::Result<Vec<u8>> {
    let mut buffer = BytesMut::new();
    stream.read_into(&mut buffer, MOST).await?;
    Ok(buffer.to_vec())
}

/// As many bytes as asked for, in however many reads; fewer at the end.
pub(crate) async fn read_whole(stream: &mut impl ByteReader, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = BytesMut::new();
    while let Some(rest) = NonZeroUsize::new(length - buffer.len()) {
        if stream.read_into(&mut buffer, rest).await? == 0 {
            break;
        }
    }
    Ok(buffer.to_vec())
}

/// What comes until the end.
pub(crate) async fn read_all(stream: &mut impl ByteReader) -> io::Result<Vec<u8>> {
    let mut buffer = BytesMut::new();
    while stream.read_into(&mut buffer, MOST).await? > 0 {}
    Ok(buffer.to_vec())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

// S1
fn echoes_come_back_whole<K: Kind>(backend: Backend, options: RunOptions) {
    let lengths = [1, 2, 1_000, 65_536, 1 << 20, 8 << 20];
    backend.block_on_with(options, async {
        for length in lengths {
            let (client, mut server) = K::pair().await;
            spawn_detached(async move {
                let mut buffer = BytesMut::new();
                loop {
                    let most = NonZeroUsize::new(1 + random_u64() as usize % 200_000).unwrap();
                    if server.read_into(&mut buffer, most).await.unwrap() == 0 {
                        break;
                    }
                    server.write_all(&buffer.split()).await.unwrap();
                }
                server.shutdown().await.unwrap();
            });
            let sent = pattern(length);
            let (mut reader, mut writer) = client.into_split();
            let to_send = sent.clone();
            spawn_detached(async move {
                writer.write_all(&to_send).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            assert!(
                read_all(&mut reader).await.unwrap() == sent,
                "{length} bytes"
            );
        }
    });
}

// S2, S3
fn each_side_can_half_close<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut client, mut server) = K::pair().await;
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut server).await.unwrap(), b"last words");
        // The other direction still works, both ways round.
        server.write_all(b"an answer").await.unwrap();
        assert_eq!(read_whole(&mut client, 9).await.unwrap(), b"an answer");
        let late = client.write_all(b"too late").await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::BrokenPipe);
        server.shutdown().await.unwrap();
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
    });
}

// S4
fn the_end_is_sticky<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut client, mut server) = K::pair().await;
        client.shutdown().await.unwrap();
        let mut buffer = BytesMut::new();
        for _ in 0..5 {
            assert_eq!(server.read_into(&mut buffer, MOST).await.unwrap(), 0);
        }
        assert_eq!(
            poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut [0; 8]))
                .await
                .unwrap(),
            0
        );
    });
}

// S5
fn a_full_pipe_makes_the_writer_wait<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut client, mut server) = K::pair_with(Some(16 * 1024)).await;
        let chunk = pattern(64 * 1024);
        let (mut sent, mut waited) = (0, false);
        // Until the system has been full for many turns in a row.
        let mut turns_full = 0;
        while turns_full < 200 {
            let outcome =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut client).poll_write(cx, &chunk))).await;
            match outcome {
                Poll::Ready(written) => {
                    sent += written.unwrap();
                    turns_full = 0;
                }
                Poll::Pending => {
                    waited = true;
                    turns_full += 1;
                }
            }
            assert!(
                sent < 32 << 20,
                "the system took {sent} bytes that nobody reads"
            );
            yield_now().await;
        }
        assert!(waited);
        spawn_detached(async move {
            client.write_all(&chunk).await.unwrap();
            client.shutdown().await.unwrap();
        });
        let read = read_all(&mut server).await.unwrap().len();
        assert_eq!(
            read,
            sent + 64 * 1024,
            "writing went on when there was room"
        );
    });
}

// S6
fn vectored_writes_take_many_slices<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut client, mut server) = K::pair().await;
        assert!(client.is_write_vectored());
        let parts: Vec<Vec<u8>> = (0..3_000)
            .map(|index| vec![(index % 251) as u8; 7])
            .collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let all = parts.concat();
        let written = poll_fn(|cx| Pin::new(&mut client).poll_write_vectored(cx, &slices)).await;
        let written = written.unwrap();
        assert!(written > 0 && written <= all.len());
        let mut rest = bytes::Bytes::copy_from_slice(&all[written..]);
        client.write_all_vectored(&mut rest).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(read_all(&mut server).await.unwrap() == all);
    });
}

// S9
fn halves_work_in_two_tasks_and_reunite<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let ((client, server), (other, _keep)) = (K::pair().await, K::pair().await);
        let (mut reader, mut writer) = client.into_split();
        let (mut server_reader, mut server_writer) = server.into_split();
        spawn_detached(async move {
            writer.write_all(b"from a task").await.unwrap();
            // Dropped: the sending side ends, reading goes on.
        });
        assert_eq!(read_all(&mut server_reader).await.unwrap(), b"from a task");
        drop(server_reader);
        server_writer.write_all(b"without a reader").await.unwrap();
        drop(server_writer);
        assert_eq!(read_all(&mut reader).await.unwrap(), b"without a reader");
        drop(reader);

        let (client, mut server) = K::pair().await;
        let (reader, writer) = client.into_split();
        let (_, other_writer) = other.into_split();
        let refused = K::Stream::reunite(reader, other_writer).unwrap_err();
        let mut whole = K::Stream::reunite(refused.0, writer).unwrap();
        whole.write_all(b"whole").await.unwrap();
        assert_eq!(read_whole(&mut server, 5).await.unwrap(), b"whole");
    });
}

// S11
fn addresses_outlive_the_peer<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut client, server) = K::pair().await;
        assert_eq!(client.local_addr().unwrap(), server.peer_addr().unwrap());
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        let (local, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        drop(server);
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
        assert_eq!(client.local_addr().unwrap(), local);
        assert_eq!(client.peer_addr().unwrap(), peer);
    });
}
