//! How a conversation over any byte stream ends, or becomes another one.

use crate::Stream;
use bowline_codec::Lines;
use bowline_transport::{Break, ErrorKind, MessageStream, Transport, TransportSend};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join;

use crate::message_stream::{message, messages};

// TR5
pub(crate) async fn an_end_flushes_and_leaves_the_other_direction<S: Stream>(here: S, there: S) {
    let (mut here, mut there) = (messages(here), messages(there));
    // More than most streams take at once: the end has to wait behind it.
    let large = Bytes::from(vec![9; 200_000]);
    let ask = async {
        here.send(&large).await.unwrap();
        here.split().0.shutdown().await.unwrap();
        let refused = here.send(&message(1)).await.unwrap_err();
        assert!(refused.is_closed(), "{refused:?}");
        for number in 0..50 {
            assert_eq!(here.recv().await.unwrap(), Some(message(number)));
        }
        assert_eq!(here.recv().await.unwrap(), None);
        here.close().await.unwrap();
    };
    let answer = async {
        assert_eq!(there.recv().await.unwrap(), Some(large.clone()));
        assert_eq!(there.recv().await.unwrap(), None);
        // The end of the peer is none of ours: it hears us, and then our end.
        for number in 0..50 {
            there.send(&message(number)).await.unwrap();
        }
        assert_eq!(there.recv().await.unwrap(), None);
        there.split().0.shutdown().await.unwrap();
        assert_eq!(there.recv().await.unwrap(), None);
        there.close().await.unwrap();
    };
    join(ask, answer).await;
}

pub(crate) async fn a_close_is_idempotent_and_final<S: Stream>(here: S, there: S) {
    let (mut here, mut there) = (messages(here), messages(there));
    let close = async {
        here.send(&message(2)).await.unwrap();
        for _ in 0..3 {
            here.close().await.unwrap();
        }
        here.abort();
        let kinds = [
            here.connect().await.unwrap_err().kind(),
            here.send(&message(1)).await.unwrap_err().kind(),
            here.recv().await.unwrap_err().kind(),
            here.flush().await.unwrap_err().kind(),
            here.split().0.shutdown().await.unwrap_err().kind(),
        ];
        assert_eq!(kinds, [ErrorKind::Closed; 5]);
        let (sender, receiver) = here.into_split();
        assert_eq!((sender.unsent(), receiver.buffered()), (0, 0));
    };
    let hear = async {
        assert_eq!(there.recv().await.unwrap(), Some(message(2)));
        assert_eq!(there.recv().await.unwrap(), None);
    };
    join(close, hear).await;
}

// TR8
pub(crate) async fn a_dropped_close_aborts<S: Stream>(here: S, there: S) {
    let (mut here, mut there) = (messages(here), messages(there));
    // Nobody reads, so the close has to wait; and then nobody waits for it.
    let large = Bytes::from(vec![9; 1_000_000]);
    for _ in 0..20 {
        here.split().0.feed(&large).await.ok();
        if here.flush().now_or_never().is_none() {
            break;
        }
    }
    assert!(here.close().now_or_never().is_none());
    assert_eq!(
        here.send(&message(1)).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    let error = loop {
        match there.recv().await {
            Ok(Some(whole)) => assert_eq!(whole, large),
            Ok(None) => panic!("a cut conversation is no finished one"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Broken(Break::Reset | Break::Truncated)
        ),
        "{error:?}"
    );
}

// TR13
pub(crate) async fn an_upgrade_loses_no_byte<S: Stream>(here: S, there: S) {
    let mut here = MessageStream::new(here, Lines::lf().text());
    let mut there = MessageStream::new(there, Lines::lf().text());
    // The one who asks goes on at once, so that its frames may be read together with the line; the
    // one who is asked answers in lines before it changes too.
    let ask = async {
        here.send(&"frames?".to_owned()).await.unwrap();
        assert_eq!(here.recv().await.unwrap().as_deref(), Some("frames!"));
        let mut here = here.upgrade(messages).await.unwrap();
        for number in 0..100 {
            assert_eq!(here.recv().await.unwrap(), Some(message(number)));
            here.send(&message(number + 1)).await.unwrap();
        }
        here.close().await.unwrap();
    };
    let answer = async {
        assert_eq!(there.recv().await.unwrap().as_deref(), Some("frames?"));
        there.send(&"frames!".to_owned()).await.unwrap();
        let mut there = there.upgrade(messages).await.unwrap();
        for number in 0..100 {
            there.send(&message(number)).await.unwrap();
            assert_eq!(there.recv().await.unwrap(), Some(message(number + 1)));
        }
        assert_eq!(there.recv().await.unwrap(), None);
    };
    join(ask, answer).await;
}

pub(crate) async fn a_stream_that_ended_is_not_upgraded<S: Stream>(here: S, there: S) {
    let (mut here, there) = (messages(here), messages(there));
    here.split().0.shutdown().await.unwrap();
    let error = here.upgrade(|_| panic!("it was handed out")).await;
    let refused = error.map(|_: ()| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    drop(there);
}
