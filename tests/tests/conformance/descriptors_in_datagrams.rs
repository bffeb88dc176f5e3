//! Descriptors that go with Unix datagrams: U9.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, PipeReader, PipeWriter, Read, Write, pipe};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::net::{ReceivedFds, UnixDatagram, UnixStream};
use bowline_backend::stream::{Address, UnixAddress};
use bowline_backend::task::{RunOptions, spawn_detached, yield_now};
use bytes::BytesMut;

use crate::conformance;

conformance! {
    all: [descriptors_are_passed_where_the_backend_can]
    real: [
        a_descriptor_goes_with_a_datagram,
        what_does_not_fit_is_cut_and_closed,
        a_plain_receive_closes_what_came,
        a_sender_with_descriptors_waits_for_room,
        a_dropped_receive_loses_neither,
        wrong_sends_are_refused,
    ]
    dropping: []
    real_dropping: []
}

const MOST: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// A socket with a name that the system chose, and that name.
fn named() -> (UnixDatagram, Address) {
    let socket = UnixDatagram::bind(&UnixAddress::autobind()).unwrap();
    let at = socket.local_addr().unwrap();
    (socket, at)
}

/// Whether the one descriptor that came is the end of the pipe of `reader`.
fn works(received: ReceivedFds, mut reader: PipeReader) {
    assert!(!received.truncated);
    let [passed] = <[_; 1]>::try_from(received.fds).unwrap();
    let flags = rustix::io::fcntl_getfd(&passed).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    Write::write_all(&mut PipeWriter::from(passed), b"through").unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

// U9
fn descriptors_are_passed_where_the_backend_can(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (_reader, writer) = pipe().unwrap();
        let (byte, fds) = ([IoSlice::new(b"x")], [writer.as_fd()]);
        let (one, two) = UnixDatagram::pair().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let (_receiver, at) = named();
        let mut buffer = BytesMut::new();
        if backend.capabilities().fd_passing {
            one.send_with_fds(&byte, &fds).await.unwrap();
            let (_, received) = two.recv_with_fds(&mut buffer, MOST, 1).await.unwrap();
            assert_eq!(received.fds.len(), 1);
            near.send_with_fds(&byte, &fds).await.unwrap();
            let received = far.recv_with_fds(&mut buffer, MOST, 1).await.unwrap();
            assert_eq!(received.fds.len(), 1);
            return;
        }
        for error in [
            one.send_with_fds(&byte, &fds).await.unwrap_err(),
            one.send_to_with_fds(&byte, &fds, &at).await.unwrap_err(),
            two.recv_with_fds(&mut buffer, MOST, 1).await.unwrap_err(),
            near.send_with_fds(&byte, &fds).await.unwrap_err(),
            far.recv_with_fds(&mut buffer, MOST, 1).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
    });
}

// U9, U8
fn a_descriptor_goes_with_a_datagram(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (server, at) = named();
        let (client, back) = named();
        let unnamed = UnixDatagram::unbound().unwrap();
        let mut buffer = BytesMut::from(&b"came "[..]);

        let (reader, writer) = pipe().unwrap();
        let slices = [IoSlice::new(b"with "), IoSlice::new(b"a pipe")];
        client
            .send_to_with_fds(&slices, &[writer.as_fd()], &at)
            .await
            .unwrap();
        drop(writer);
        let (datagram, fds) = server.recv_with_fds(&mut buffer, MOST, 4).await.unwrap();
        assert_eq!((&buffer[..], datagram.len), (&b"came with a pipe"[..], 11));
        assert_eq!(
            (datagram.from, datagram.truncated),
            (Some(back.clone()), false)
        );
        works(fds, reader);

        // An empty datagram carries them too, and who sends may have no name.
        let (reader, writer) = pipe().unwrap();
        unnamed
            .send_to_with_fds(&[], &[writer.as_fd()], &at)
            .await
            .unwrap();
        drop(writer);
        let (datagram, fds) = server.recv_with_fds(&mut buffer, MOST, 4).await.unwrap();
        assert_eq!((datagram.len, datagram.from), (0, None));
        works(fds, reader);

        // To the peer of a connected socket; one without descriptors is a datagram as any other.
        let peer = UnixDatagram::connect(at.as_unix().unwrap()).unwrap();
        let (reader, writer) = pipe().unwrap();
        peer.send_with_fds(&slices, &[]).await.unwrap();
        peer.send_with_fds(&slices, &[writer.as_fd()])
            .await
            .unwrap();
        drop(writer);
        let (datagram, fds) = server.recv_with_fds(&mut buffer, MOST, 4).await.unwrap();
        assert_eq!((datagram.len, fds.fds.len(), fds.truncated), (11, 0, false));
        let (_, fds) = server.recv_with_fds(&mut buffer, MOST, 4).await.unwrap();
        works(fds, reader);
    });
}

// U9, U2
fn what_does_not_fit_is_cut_and_closed(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (one, two) = UnixDatagram::pair().unwrap();
        let four = NonZeroUsize::new(4).unwrap();
        for wanted in [0, 1, 64] {
            let pipes: Vec<_> = (0..64).map(|_| pipe().unwrap()).collect();
            let writers: Vec<BorrowedFd<'_>> =
                pipes.iter().map(|(_, writer)| writer.as_fd()).collect();
            let long = [IoSlice::new(b"too "), IoSlice::new(b"long")];
            one.send_with_fds(&long, &writers).await.unwrap();
            one.send(b"next").await.unwrap();
            let mut buffer = BytesMut::new();
            let (datagram, fds) = two.recv_with_fds(&mut buffer, four, wanted).await.unwrap();
            assert_eq!((&buffer[..], datagram.truncated), (&b"too "[..], true));
            assert_eq!((fds.fds.len(), fds.truncated), (wanted, wanted < 64));
            let readers: Vec<_> = pipes.into_iter().map(|(reader, _)| reader).collect();
            for mut reader in readers.into_iter().skip(wanted) {
                assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0, "it is open still");
            }
            buffer.clear();
            let (datagram, fds) = two.recv_with_fds(&mut buffer, four, 1).await.unwrap();
            assert_eq!((&buffer[..], datagram.truncated), (&b"next"[..], false));
            assert!(fds.fds.is_empty() && !fds.truncated);
        }
    });
}

// U9
fn a_plain_receive_closes_what_came(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (one, two) = UnixDatagram::pair().unwrap();
        let (mut reader, writer) = pipe().unwrap();
        let byte = [IoSlice::new(b"x")];
        one.send_with_fds(&byte, &[writer.as_fd()]).await.unwrap();
        drop(writer);
        let mut buffer = BytesMut::new();
        two.recv_from(&mut buffer, MOST).await.unwrap();
        assert_eq!(buffer, "x");
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    });
}

// U9, U8
fn a_sender_with_descriptors_waits_for_room(backend: Backend, options: RunOptions) {
    const MANY: usize = 60;
    backend.block_on_with(options, async {
        for connected in [true, false] {
            let (receiver, at) = named();
            let (_reader, writer) = pipe().unwrap();
            let sent = Arc::new(AtomicUsize::new(0));
            let counted = sent.clone();
            spawn_detached(async move {
                let sender = UnixDatagram::unbound().unwrap();
                let peer = UnixDatagram::connect(at.as_unix().unwrap()).unwrap();
                for number in 0..MANY as u8 {
                    let bytes = [number];
                    let slices = [IoSlice::new(&bytes)];
                    let fds = [writer.as_fd()];
                    match connected {
                        true => peer.send_with_fds(&slices, &fds).await.unwrap(),
                        false => sender.send_to_with_fds(&slices, &fds, &at).await.unwrap(),
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            });
            let mut turns_full = 0;
            let mut last = 0;
            while last == 0 || turns_full < 200 {
                let now = sent.load(Ordering::SeqCst);
                turns_full = if now == last { turns_full + 1 } else { 0 };
                last = now;
                yield_now().await;
            }
            assert!(last < MANY, "{last} were taken that nobody reads");
            for number in 0..MANY as u8 {
                let mut buffer = BytesMut::new();
                let (_, fds) = receiver.recv_with_fds(&mut buffer, MOST, 1).await.unwrap();
                assert_eq!((&buffer[..], fds.fds.len()), (&[number][..], 1));
            }
        }
    });
}

// U9, U7
fn a_dropped_receive_loses_neither(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (one, two) = UnixDatagram::pair().unwrap();
        let (_reader, writer) = pipe().unwrap();
        let byte = [IoSlice::new(b"x")];
        for _ in 0..50 {
            let mut buffer = BytesMut::new();
            let mut waiting = Box::pin(two.recv_with_fds(&mut buffer, MOST, 1));
            let polled = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            one.send_with_fds(&byte, &[writer.as_fd()]).await.unwrap();
            drop(waiting);
            assert!(buffer.is_empty());
            let (datagram, fds) = two.recv_with_fds(&mut buffer, MOST, 1).await.unwrap();
            assert_eq!((datagram.len, fds.fds.len()), (1, 1));
        }
    });
}

// U9, U3
fn wrong_sends_are_refused(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (one, two) = UnixDatagram::pair().unwrap();
        let (_reader, writer) = pipe().unwrap();
        let many = vec![writer.as_fd(); 65];
        let byte = [IoSlice::new(b"x")];
        let mut buffer = BytesMut::new();
        let error = one.send_with_fds(&byte, &many).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("65"), "{error}");
        let error = two.recv_with_fds(&mut buffer, MOST, 65).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        // A datagram is sent whole or not at all.
        let slices = vec![IoSlice::new(b"y"); 3_000];
        let error = one.send_with_fds(&slices, &many[..1]).await.unwrap_err();
        let too_long = rustix::io::Errno::MSGSIZE.raw_os_error();
        assert_eq!(error.raw_os_error(), Some(too_long), "{error}");
        let sender = UnixDatagram::unbound().unwrap();
        for wrong in [
            Address::Inet("127.0.0.1:1".parse().unwrap()),
            Address::Unix(UnixAddress::UNNAMED),
        ] {
            let sent = sender.send_to_with_fds(&byte, &many[..1], &wrong);
            let error = sent.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&wrong.to_string()), "{error}");
        }
        let error = sender.send_with_fds(&byte, &many[..1]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        // And all that came to nothing left the socket as it was.
        one.send_with_fds(&byte, &many[..64]).await.unwrap();
        let (datagram, fds) = two.recv_with_fds(&mut buffer, MOST, 64).await.unwrap();
        assert_eq!((datagram.len, fds.fds.len()), (1, 64));
    });
}
