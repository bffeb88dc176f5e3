//! What messages over any byte stream do.

use crate::Stream;
use bowline_codec::{
    DecodeError, DecodeErrorKind, EncodeError, Framed, Framing, LengthDelimited, Lines, Raw,
};
use bowline_transport::{
    Break, Delivery, ErrorKind, MessageStream, Transport, TransportRecv, TransportSend,
    TrySendError,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, join, select};
use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};

pub(crate) type Codec = Framed<LengthDelimited, Raw>;

pub(crate) fn codec() -> Codec {
    LengthDelimited::u32().with(Raw::new())
}

pub(crate) fn messages<S: Stream>(stream: S) -> MessageStream<S, Codec> {
    MessageStream::new(stream, codec())
}

pub(crate) fn message(number: usize) -> Bytes {
    Bytes::from(vec![number as u8; number * 37 % 9000])
}

pub(crate) async fn messages_go_both_ways<S: Stream>(here: S, there: S) {
    let (mut here, mut there) = (messages(here), messages(there));
    let client = async {
        for number in 0..100 {
            here.send(&message(number)).await.unwrap();
            assert_eq!(here.recv().await.unwrap(), Some(message(number)));
        }
        here.close().await.unwrap();
        here.close().await.unwrap();
        assert!(here.send(&message(1)).await.unwrap_err().is_closed());
        assert!(here.recv().await.unwrap_err().is_closed());
        assert!(here.connect().await.unwrap_err().is_closed());
    };
    let server = async {
        while let Some(request) = there.recv().await.unwrap() {
            there.send(&request).await.unwrap();
        }
        there.close().await.unwrap();
    };
    join(client, server).await;
}

pub(crate) async fn an_end_between_frames_is_none_for_ever<S: Stream>(here: S, there: S) {
    let (mut here, mut there) = (messages(here), messages(there));
    let send = async {
        here.send(&message(3)).await.unwrap();
        here.close().await.unwrap();
    };
    let recv = async {
        assert_eq!(there.recv().await.unwrap(), Some(message(3)));
        for _ in 0..3 {
            assert_eq!(there.recv().await.unwrap(), None);
        }
    };
    join(send, recv).await;
}

pub(crate) async fn an_end_inside_a_frame_is_broken<S: Stream>(mut here: S, there: S) {
    use bowline_backend::stream::ByteStreamExt;
    let mut there = messages(there);
    let send = async {
        here.write_all(b"\0\0\0\x02ok\0\0\0\x09half").await.unwrap();
        here.shutdown().await.unwrap();
    };
    let recv = async {
        assert_eq!(there.recv().await.unwrap().unwrap(), "ok");
        for _ in 0..3 {
            let error = there.recv().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken(Break::Truncated));
            let source = error.source().and_then(|s| s.downcast_ref::<DecodeError>());
            let kind = source.unwrap().kind();
            assert!(
                matches!(kind, DecodeErrorKind::Truncated { have: 8, need: 13 }),
                "{kind:?}"
            );
        }
    };
    join(send, recv).await;
}

pub(crate) async fn frames_before_a_reset_come_first<S: Stream>(here: S, there: S) {
    let (mut here, mut there) = (messages(here), messages(there));
    let write = async {
        for number in 0..3 {
            here.send(&message(number)).await.unwrap();
        }
        // The stream may have taken less, and takes no more than it has room for.
        here.flush().await.unwrap();
    };
    let read = async {
        assert_eq!(there.recv().await.unwrap(), Some(message(0)));
    };
    if let Either::Left(((), read)) = select(pin!(write), pin!(read)).await {
        read.await;
    }
    // What is in our buffer by now cannot be lost; what is not may be, with the reset.
    let buffered = there.split().1.buffered();
    let certain = 1 + usize::from(buffered >= 41) + usize::from(buffered >= 41 + 78);
    here.abort();
    let mut next = 1;
    let error = loop {
        match there.recv().await {
            Ok(Some(got)) => {
                assert_eq!(got, message(next));
                next += 1;
            }
            Ok(None) => panic!("a reset is no clean end"),
            Err(error) => break error,
        }
    };
    assert!(next >= certain, "{next} of {certain}");
    assert!(error.is_connection(), "{error:?}");
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error:?}");
    let again = there.recv().await.unwrap_err();
    assert_eq!(again.kind(), error.kind());
}

// TR8
pub(crate) async fn a_dropped_stream_is_no_clean_end<S: Stream>(here: S, there: S) {
    let mut there = messages(there);
    drop(messages(here));
    let error = there.recv().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset));
}

pub(crate) async fn split_halves_work_in_both_directions_at_once<S: Stream>(here: S, there: S) {
    let (mut requests, mut replies) = messages(here).into_split();
    let mut there = messages(there);
    let send = async {
        for number in 0..100 {
            requests.send(&message(number)).await.unwrap();
        }
        requests.shutdown().await.unwrap();
        assert!(requests.send(&message(1)).await.unwrap_err().is_closed());
    };
    let recv = async {
        for number in 0..100 {
            assert_eq!(replies.recv().await.unwrap(), Some(message(number)));
        }
        assert_eq!(replies.recv().await.unwrap(), None);
    };
    let echo = async {
        while let Some(request) = there.recv().await.unwrap() {
            there.send(&request).await.unwrap();
        }
        there.split().0.shutdown().await.unwrap();
    };
    join(join(send, recv), echo).await;
    let whole = MessageStream::reunite(requests, replies).ok().unwrap();
    drop(whole);
}

pub(crate) async fn a_shut_down_sender_still_receives<S: Stream>(here: S, there: S) {
    let (mut here, mut there) = (messages(here), messages(there));
    let ask = async {
        here.send(&message(5)).await.unwrap();
        here.split().0.shutdown().await.unwrap();
        here.split().0.shutdown().await.unwrap();
        assert_eq!(here.recv().await.unwrap(), Some(message(6)));
        assert_eq!(here.recv().await.unwrap(), None);
    };
    let answer = async {
        assert_eq!(there.recv().await.unwrap(), Some(message(5)));
        assert_eq!(there.recv().await.unwrap(), None);
        // Their end leaves our sends working.
        there.send(&message(6)).await.unwrap();
        there.close().await.unwrap();
    };
    join(ask, answer).await;
}

pub(crate) async fn a_full_queue_makes_senders_wait<S: Stream>(here: S, there: S) {
    let builder = MessageStream::<S, Codec>::builder().high_water(1000);
    let mut here = builder.over(here, codec());
    let mut there = messages(there);
    let piece = Bytes::from(vec![7; 5000]);
    let mut sent = 0;
    loop {
        match here.split().0.try_send(&piece) {
            Ok(()) => sent += 1,
            Err(TrySendError::Full) => break,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 20_000, "nothing bounds the queue");
    }
    // At most the high water and one frame are queued.
    assert!(here.split().0.unsent() < 1000 + 5004);
    // What is below may still make room.
    while here.send(&piece).now_or_never().is_some() {
        sent += 1;
        assert!(sent < 20_000, "nothing bounds the queue");
    }
    let drain = async {
        for _ in 0..sent + 1 {
            assert_eq!(there.recv().await.unwrap(), Some(piece.clone()));
        }
        assert_eq!(there.recv().await.unwrap(), None);
    };
    let more = async {
        here.send(&piece).await.unwrap();
        here.close().await.unwrap();
    };
    join(more, drain).await;
}

// TR4
pub(crate) async fn a_refused_frame_is_followed_by_a_good_one<S: Stream>(mut here: S, there: S) {
    use bowline_backend::stream::ByteStreamExt;
    let mut there = MessageStream::new(there, Lines::lf().max_frame(8).text());
    let send = async {
        here.write_all(b"good\nb\xffd\nlong beyond all limits\nlast\n")
            .await
            .unwrap();
        here.shutdown().await.unwrap();
    };
    let recv = async {
        assert_eq!(there.recv().await.unwrap().unwrap(), "good");
        let refused = |kind: fn(DecodeErrorKind) -> bool, error: bowline_transport::Error| {
            assert_eq!(error.kind(), ErrorKind::Decode);
            let source = error.source().and_then(|s| s.downcast_ref::<DecodeError>());
            let source = source.unwrap();
            assert!(source.is_recoverable() && kind(source.kind()), "{source:?}");
        };
        let error = there.recv().await.unwrap_err();
        refused(|kind| matches!(kind, DecodeErrorKind::Text { .. }), error);
        let error = there.recv().await.unwrap_err();
        refused(
            |kind| matches!(kind, DecodeErrorKind::TooLong { .. }),
            error,
        );
        assert_eq!(there.recv().await.unwrap().unwrap(), "last");
        assert_eq!(there.recv().await.unwrap(), None);
    };
    join(send, recv).await;
}

// TR4
pub(crate) async fn a_fatal_error_repeats<S: Stream>(mut here: S, there: S) {
    use bowline_backend::stream::ByteStreamExt;
    let codec = LengthDelimited::u32().max_frame(100).with(Raw::new());
    let mut there = MessageStream::new(there, codec);
    // The end of this is never read, so it need not be taken either.
    let send = async {
        here.write_all(b"\0\0\0\x02ok\0\0\x01\0\0\0\0\x02no")
            .await
            .unwrap();
        poll_fn(|cx| Pin::new(&mut here).poll_flush(cx))
            .await
            .unwrap();
        std::future::pending::<()>().await;
    };
    let recv = async {
        assert_eq!(there.recv().await.unwrap().unwrap(), "ok");
        for _ in 0..3 {
            let error = there.recv().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken(Break::Undecodable));
            assert!(!error.is_message() && error.is_connection());
            let source = error.source().and_then(|s| s.downcast_ref::<DecodeError>());
            assert!(!source.unwrap().is_recoverable(), "{source:?}");
        }
        // What cannot be read any more says nothing of what can be sent.
        there.send(&message(1)).await.unwrap();
    };
    select(pin!(send), pin!(recv)).await;
}

// TR10
pub(crate) async fn a_message_above_the_limit_leaves_the_stream_usable<S: Stream>(
    here: S,
    there: S,
) {
    let small = || LengthDelimited::u32().max_frame(100).with(Raw::new());
    let mut here = MessageStream::new(here, small());
    let mut there = messages(there);
    let (least, most) = (Bytes::from(vec![1; 100]), Bytes::from(vec![2; 101]));
    let send = async {
        here.send(&least).await.unwrap();
        for _ in 0..2 {
            let error = here.send(&most).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge { limit: 100 });
            assert!(error.is_message() && !error.is_connection());
            assert_eq!(error.delivery(), Delivery::NotSent);
            let error = error.source().and_then(|s| s.downcast_ref::<EncodeError>());
            assert_eq!(error.unwrap().limit(), Some(100));
        }
        let permit = here.split().0;
        let refused = permit.reserve().await.unwrap().send(&most);
        assert_eq!(refused.unwrap_err().limit(), Some(100));
        here.send(&least).await.unwrap();
        here.close().await.unwrap();
    };
    let recv = async {
        for _ in 0..2 {
            assert_eq!(there.recv().await.unwrap(), Some(least.clone()));
        }
        assert_eq!(there.recv().await.unwrap(), None);
    };
    join(send, recv).await;
}
