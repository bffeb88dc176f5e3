//! Descriptors that go with bytes over Unix streams: U9.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::net::UnixStream;
use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_backend::task::RunOptions;
use bytes::BytesMut;

use crate::conformance;
use crate::streams::read_some;

conformance! {
    all: []
    real: [
        a_passed_descriptor_works,
        descriptors_beyond_the_wanted_are_closed,
        a_plain_read_closes_what_came,
        a_plain_read_that_descriptors_cut_short_is_not_the_last,
        a_dropped_receive_loses_no_descriptor,
        too_much_is_refused,
    ]
    dropping: []
    real_dropping: []
}

const MOST: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// A pipe whose writing end can be passed; the reading end tells when all writers are closed.
fn pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    std::io::pipe().unwrap()
}

// U9, S20
fn a_passed_descriptor_works(backend: Backend, options: RunOptions) {
    assert!(backend.capabilities().fd_passing);
    backend.block_on_with(options, async {
        let (mut one, mut two) = UnixStream::pair().unwrap();
        let (mut reader, writer) = pipe();
        let slices = [IoSlice::new(b"with "), IoSlice::new(b"a pipe")];
        let sent = one.send_with_fds(&slices, &[writer.as_fd()]).await.unwrap();
        assert_eq!(sent, 11);
        drop(writer);
        let mut buffer = BytesMut::from(&b"came "[..]);
        let mut received = two.recv_with_fds(&mut buffer, MOST, 4).await.unwrap();
        assert_eq!((&buffer[..], received.len), (&b"came with a pipe"[..], 11));
        assert!(!received.truncated);
        let passed = received.fds.pop().unwrap();
        assert!(received.fds.is_empty());
        let flags = rustix::io::fcntl_getfd(&passed).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let mut passed = std::io::PipeWriter::from(passed);
        Write::write_all(&mut passed, b"through the other end").unwrap();
        drop(passed);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through the other end");
        // Bytes without descriptors, and the end.
        one.send_with_fds(&[IoSlice::new(b"alone")], &[])
            .await
            .unwrap();
        one.shutdown().await.unwrap();
        let received = two.recv_with_fds(&mut buffer, MOST, 4).await.unwrap();
        assert_eq!((received.len, received.fds.len()), (5, 0));
        let received = two.recv_with_fds(&mut buffer, MOST, 4).await.unwrap();
        assert_eq!(received.len, 0);
    });
}

// U9
fn descriptors_beyond_the_wanted_are_closed(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut one, mut two) = UnixStream::pair().unwrap();
        for wanted in [0, 1, 3, 64] {
            let pipes: Vec<_> = (0..64).map(|_| pipe()).collect();
            let writers: Vec<BorrowedFd<'_>> =
                pipes.iter().map(|(_, writer)| writer.as_fd()).collect();
            one.send_with_fds(&[IoSlice::new(b"x")], &writers)
                .await
                .unwrap();
            let mut buffer = BytesMut::new();
            let received = two.recv_with_fds(&mut buffer, MOST, wanted).await.unwrap();
            assert_eq!(received.fds.len(), wanted);
            assert_eq!(received.truncated, wanted < 64);
            // Those wanted are the first, and they alone keep their pipes open.
            let readers: Vec<_> = pipes.into_iter().map(|(reader, _)| reader).collect();
            for (index, mut reader) in readers.into_iter().enumerate() {
                if index >= wanted {
                    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0, "pipe {index} is open");
                }
            }
        }
    });
}

// U9
fn a_plain_read_closes_what_came(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut one, mut two) = UnixStream::pair().unwrap();
        let (mut reader, writer) = pipe();
        one.send_with_fds(&[IoSlice::new(b"x")], &[writer.as_fd()])
            .await
            .unwrap();
        drop(writer);
        assert_eq!(read_some(&mut two).await.unwrap(), b"x");
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    });
}

// U9
fn a_plain_read_that_descriptors_cut_short_is_not_the_last(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut one, mut two) = UnixStream::pair().unwrap();
        let (_reader, writer) = pipe();
        for _ in 0..3 {
            for _ in 0..2 {
                one.send_with_fds(&[IoSlice::new(b"x")], &[writer.as_fd()])
                    .await
                    .unwrap();
            }
            one.write_all(b"yz").await.unwrap();
            // The system ends a read after bytes that descriptors came with; nothing more is
            // written that could wake who waits for the rest.
            let mut received = Vec::new();
            while received.len() < 4 {
                received.extend(read_some(&mut two).await.unwrap());
            }
            assert_eq!(received, b"xxyz");
        }
    });
}

// U9, S8
fn a_dropped_receive_loses_no_descriptor(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut one, mut two) = UnixStream::pair().unwrap();
        let (_reader, writer) = pipe();
        for _ in 0..50 {
            let mut buffer = BytesMut::new();
            let mut waiting = Box::pin(two.recv_with_fds(&mut buffer, MOST, 1));
            let polled = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            one.send_with_fds(&[IoSlice::new(b"x")], &[writer.as_fd()])
                .await
                .unwrap();
            drop(waiting);
            assert!(buffer.is_empty());
            let received = two.recv_with_fds(&mut buffer, MOST, 1).await.unwrap();
            assert_eq!((received.len, received.fds.len()), (1, 1));
        }
    });
}

// U9
fn too_much_is_refused(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut one, mut two) = UnixStream::pair().unwrap();
        let (_reader, writer) = pipe();
        let many = vec![writer.as_fd(); 65];
        let byte = [IoSlice::new(b"x")];
        let error = one.send_with_fds(&byte, &many).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("65"), "{error}");
        let error = one.send_with_fds(&[], &many[..1]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let mut buffer = BytesMut::new();
        let error = two.recv_with_fds(&mut buffer, MOST, 65).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        // More slices than one call takes, and as many descriptors as may be.
        let slices = vec![IoSlice::new(b"y"); 3_000];
        let sent = one.send_with_fds(&slices, &many[..64]).await.unwrap();
        assert!((1..=1_024).contains(&sent), "{sent}");
        let received = two.recv_with_fds(&mut buffer, MOST, 64).await.unwrap();
        assert_eq!((received.len, received.fds.len()), (sent, 64));
        let distinct: OwnedFd = received.fds.into_iter().next().unwrap();
        assert_ne!(distinct.as_raw_fd(), writer.as_raw_fd());
        one.abort();
    });
}
