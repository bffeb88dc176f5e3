//! Message streams: how many go, what is closed, what is refused.

use std::error::Error as _;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bowline_backend::Backend;
use bowline_backend::net::UnixStream;
use bowline_codec::{BytesFraming, Framed, Framing, LengthDelimited, Lines, Raw};
use bowline_transport::{
    Ancillary, AncillaryError, Delivery, Error, ErrorKind, MessageStream, MessageStreamBuilder,
    Transport, TransportRecv, TransportSend,
};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::{marked, marks, on_the_kernel, watched};

on_the_kernel!(
    none_one_and_as_many_as_may_go,
    what_is_not_taken_is_closed,
    more_than_fit_are_an_error_and_closed,
    a_frame_that_is_too_long_is_refused,
    a_dropped_send_did_nothing,
    a_refused_frame_takes_its_descriptors_along,
    frames_in_small_writes_keep_their_descriptors,
    a_flood_of_descriptors_in_one_frame_is_closed,
    halves_pass_descriptors,
    what_is_unread_at_the_end_is_closed,
);

type Messages = MessageStream<UnixStream, Framed<LengthDelimited, Raw>>;

pub(crate) fn codec() -> Framed<LengthDelimited, Raw> {
    LengthDelimited::u32().with(Raw::new())
}

fn pair() -> (Messages, Messages) {
    let (here, there) = UnixStream::pair().unwrap();
    (
        MessageStream::new(here, codec()),
        MessageStream::new(there, codec()),
    )
}

fn source(error: &Error) -> Option<&AncillaryError> {
    error.source()?.downcast_ref()
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn is_closed_on_exec(fd: &OwnedFd) -> bool {
    const CLOEXEC: u32 = 0o2_000_000;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    u32::from_str_radix(flags.unwrap().trim(), 8).unwrap() & CLOEXEC != 0
}

// T8
async fn none_one_and_as_many_as_may_go() {
    let (mut here, mut there) = pair();
    let mut came = Ancillary::new();
    for count in [0, 1, 64, 0] {
        let fds = (0..count).map(|n| marked(&n.to_string()));
        here.send_with(&text("some"), fds.collect()).await.unwrap();
        here.flush().await.unwrap();
        let message = there.recv_with(&mut came).await.unwrap();
        assert_eq!(message.as_deref(), Some(&b"some"[..]));
        assert!(came.fds().iter().all(is_closed_on_exec));
        let expected: Vec<String> = (0..count).map(|n: usize| n.to_string()).collect();
        assert_eq!(marks(came.take_fds()), expected);
    }
    let (fds, watch) = watched(65);
    let fds = fds.into_iter().collect();
    let error = here.send_with(&text("more"), fds).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert_eq!(source(&error), Some(&AncillaryError::TooMany { count: 65 }));
    assert!(source(&error).unwrap().to_string().contains("at most 64"));
    watch.all_closed();
    here.send(&text("after")).await.unwrap();
    here.flush().await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(text("after")));
}

// T8
async fn what_is_not_taken_is_closed() {
    let (mut here, mut there) = pair();
    let mut came = Ancillary::new();
    for asked in [false, true, false] {
        let (fds, watch) = watched(3);
        here.send_with(&text("some"), fds.into_iter().collect())
            .await
            .unwrap();
        here.flush().await.unwrap();
        if asked {
            there.recv_with(&mut came).await.unwrap().unwrap();
            assert_eq!(came.fds().len(), 3);
            came = Ancillary::new(); // drops them
        } else {
            there.recv().await.unwrap().unwrap();
        }
        watch.all_closed();
    }
    let (fds, watch) = watched(2);
    came = fds.into_iter().collect();
    here.send(&text("none")).await.unwrap();
    here.flush().await.unwrap();
    there.recv_with(&mut came).await.unwrap().unwrap();
    watch.all_closed();
}

// T8
async fn more_than_fit_are_an_error_and_closed() {
    let (mut here, mut there) = pair();
    let mut came = Ancillary::new().capacity(2);
    for count in [3, 2] {
        let (fds, watch) = watched(count);
        here.send_with(&text("some"), fds.into_iter().collect())
            .await
            .unwrap();
        here.flush().await.unwrap();
        let received = there.recv_with(&mut came).await;
        if count == 2 {
            assert_eq!(received.unwrap(), Some(text("some")));
            assert_eq!(came.take_fds().len(), 2);
        } else {
            let error = received.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert_eq!(
                source(&error),
                Some(&AncillaryError::Truncated { limit: 2 })
            );
            assert!(came.fds().is_empty());
        }
        watch.all_closed();
    }
}

// T8
async fn a_frame_that_is_too_long_is_refused() {
    let (mut here, mut there) = pair();
    let limit = Ancillary::MAX_FRAME;
    for payload in [limit - 4, limit - 3] {
        let (fds, watch) = watched(1);
        let message = Bytes::from(vec![7; payload]);
        let sent = here.send_with(&message, fds.into_iter().collect()).await;
        if payload == limit - 4 {
            sent.unwrap();
            here.flush().await.unwrap();
            assert_eq!(here.sender_unsent(), 0);
            let mut came = Ancillary::new();
            let received = there.recv_with(&mut came).await.unwrap();
            assert_eq!((received, came.take_fds().len()), (Some(message), 1));
        } else {
            let error = sent.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge { limit });
            let actual = limit + 1;
            let why = AncillaryError::FrameTooLong { limit, actual };
            assert_eq!(source(&error), Some(&why));
        }
        watch.all_closed();
    }
    here.send(&text("after")).await.unwrap();
    here.flush().await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(text("after")));
    // The limit of the stream holds too.
    let (stream, _peer) = UnixStream::pair().unwrap();
    let mut narrow = MessageStreamBuilder::default()
        .max_frame(10)
        .over(stream, codec());
    let (fds, watch) = watched(1);
    let sent = narrow
        .send_with(&text("seven b"), fds.into_iter().collect())
        .await;
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::TooLarge { limit: 10 });
    watch.all_closed();
    // A frame without a byte has nothing that descriptors could go with.
    let (stream, _peer) = UnixStream::pair().unwrap();
    let mut bare = MessageStream::new(stream, BytesFraming::new().with(Raw::new()));
    let (fds, watch) = watched(1);
    let fds = fds.into_iter().collect();
    let error = bare.send_with(&Bytes::new(), fds).await.unwrap_err();
    assert_eq!(source(&error), Some(&AncillaryError::NoBytes));
    watch.all_closed();
}

trait Unsent {
    fn sender_unsent(&mut self) -> usize;
}

impl Unsent for Messages {
    fn sender_unsent(&mut self) -> usize {
        self.split().0.unsent()
    }
}

// T8
async fn a_dropped_send_did_nothing() {
    let (mut here, mut there) = pair();
    let plain = Bytes::from(vec![1; 300_000]);
    here.send(&plain).await.unwrap();
    assert!(here.sender_unsent() > 0, "the socket takes all of it");
    let (fds, watch) = watched(4);
    let message = text("dropped");
    let dropped = here.send_with(&message, fds.into_iter().collect());
    assert!(dropped.now_or_never().is_none());
    watch.all_closed();
    let (mut sender, mut receiver) = here.into_split();
    let sending = async {
        let fds = Ancillary::new().fd(marked("mine"));
        sender.send_with(&text("sent"), fds).await.unwrap();
        sender.shutdown().await.unwrap();
    };
    let mut came = Ancillary::new();
    let receiving = async {
        assert!(there.recv_with(&mut came).await.unwrap() == Some(plain));
        assert!(came.fds().is_empty());
        // Dropped before anything is there, it takes nothing.
        let _ = there.recv_with(&mut came).now_or_never();
        if came.fds().is_empty() {
            let message = there.recv_with(&mut came).await.unwrap();
            assert_eq!(message, Some(text("sent")));
        }
        assert_eq!(marks(came.take_fds()), ["mine"]);
        assert_eq!(there.recv_with(&mut came).await.unwrap(), None);
        there.close().await.unwrap();
    };
    futures_util::future::join(sending, receiving).await;
    assert_eq!(receiver.recv().await.unwrap(), None);
}

// T8
async fn a_refused_frame_takes_its_descriptors_along() {
    let (here, there) = UnixStream::pair().unwrap();
    let mut here = MessageStream::new(here, Lines::lf().text());
    let mut there = MessageStream::new(there, Lines::lf().max_frame(4).text());
    let (fds, watch) = watched(2);
    let long = "far too long".repeat(1_000);
    here.send_with(&long, fds.into_iter().collect())
        .await
        .unwrap();
    here.flush().await.unwrap();
    let mine = Ancillary::new().fd(marked("good"));
    here.send_with(&"good".to_owned(), mine).await.unwrap();
    here.flush().await.unwrap();
    let mut came = Ancillary::new();
    let error = there.recv_with(&mut came).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    watch.all_closed();
    let message = there.recv_with(&mut came).await.unwrap();
    assert_eq!(message.as_deref(), Some("good"));
    assert_eq!(marks(came.take_fds()), ["good"]);
}

// T8
async fn frames_in_small_writes_keep_their_descriptors() {
    let (mut raw, there) = UnixStream::pair().unwrap();
    let mut there = MessageStream::new(there, Lines::lf().text());
    let mut came = Ancillary::new();
    let writes: [(&[u8], &[&str]); 6] = [
        (b"none\nfi", &["first"]),
        (b"r", &["also first"]),
        (b"st", &[]),
        (b"\n", &[]),
        (b"second\n", &["second"]),
        (b"none\n", &[]),
    ];
    for (bytes, marked_with) in writes {
        let fds: Vec<OwnedFd> = marked_with.iter().map(|mark| marked(mark)).collect();
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let sent = raw.send_with_fds(&[IoSlice::new(bytes)], &fds).await;
        assert_eq!(sent.unwrap(), bytes.len());
        // Reads between the writes as well, so that each of them is one read.
        if bytes == b"r" || bytes == b"st" {
            assert!(there.recv_with(&mut came).now_or_never().is_none());
        }
        let expected: &[(&str, &[&str])] = match bytes {
            b"none\nfi" | b"none\n" => &[("none", &[])],
            b"\n" => &[("first", &["first", "also first"])],
            b"second\n" => &[("second", &["second"])],
            _ => &[],
        };
        for (message, marked_with) in expected {
            let received = there.recv_with(&mut came).await.unwrap();
            assert_eq!(received.as_deref(), Some(*message));
            assert_eq!(marks(came.take_fds()), *marked_with);
        }
    }
}

// T8
async fn a_flood_of_descriptors_in_one_frame_is_closed() {
    let (mut raw, there) = UnixStream::pair().unwrap();
    let mut there = MessageStream::new(there, Lines::lf().text());
    let mut came = Ancillary::new();
    let (fds, watch) = watched(40);
    let (many, later) = watched(40);
    for (bytes, fds) in [(b"a", &fds), (b"b", &many), (b"c", &many)] {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        raw.send_with_fds(&[IoSlice::new(bytes)], &fds)
            .await
            .unwrap();
        assert!(there.recv_with(&mut came).now_or_never().is_none());
    }
    drop((fds, many));
    raw.send_with_fds(&[IoSlice::new(b"\nnext\n")], &[])
        .await
        .unwrap();
    let error = there.recv_with(&mut came).await.unwrap_err();
    let limit = 64;
    assert_eq!(source(&error), Some(&AncillaryError::Truncated { limit }));
    watch.all_closed();
    later.all_closed();
    let next = there.recv_with(&mut came).await.unwrap();
    assert_eq!((next.as_deref(), came.fds().len()), (Some("next"), 0));
}

// T8
async fn halves_pass_descriptors() {
    let (here, there) = UnixStream::pair().unwrap();
    let over = |stream| MessageStreamBuilder::default().over(stream, codec());
    let ((mut sender, _requests), (_replies, mut receiver)) =
        (over(here).into_split(), over(there).into_split());
    let mine = Ancillary::new().fd(marked("a half's"));
    sender.send_with(&text("by half"), mine).await.unwrap();
    sender.flush().await.unwrap();
    let mut came = Ancillary::new();
    receiver.recv_with(&mut came).await.unwrap().unwrap();
    assert_eq!(marks(came.take_fds()), ["a half's"]);
}

// T8
async fn what_is_unread_at_the_end_is_closed() {
    let (mut raw, there) = UnixStream::pair().unwrap();
    let mut there = MessageStream::new(there, Lines::lf().text());
    let mut came = Ancillary::new();
    let (fds, watch) = watched(2);
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    raw.send_with_fds(&[IoSlice::new(b"whole\nhal")], &borrowed)
        .await
        .unwrap();
    drop(fds);
    there.recv_with(&mut came).await.unwrap().unwrap();
    assert!(came.fds().is_empty(), "they are of the half frame");
    there.close().await.unwrap();
    watch.all_closed();
}

// T8
#[test]
fn the_simulator_carries_none() {
    assert!(!Backend::Sim.capabilities().fd_passing);
    bowline_sim::block_on(0, async {
        let (mut here, mut there) = pair();
        let (fds, watch) = watched(1);
        let fds = fds.into_iter().collect();
        let sent = here.send_with(&text("no"), fds).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::Unsupported);
        watch.all_closed();
        here.send_with(&text("without"), Ancillary::new())
            .await
            .unwrap();
        here.flush().await.unwrap();
        let mut came = Ancillary::new();
        let message = there.recv_with(&mut came).await.unwrap();
        assert_eq!((message, came.fds().len()), (Some(text("without")), 0));
    });
}
