//! One message stream for many tasks.

use bowline_backend::task;
use bowline_transport::{
    Break, Delivery, Error, ErrorKind, MessageStream, Operation, Shared, Transport, TransportSend,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use std::pin::pin;

use crate::Stream;
use crate::message_stream::{Codec, codec, message, messages};

type Messages<S> = MessageStream<S, Codec>;

fn shared<S: Stream>(stream: S) -> Shared<Messages<S>> {
    Shared::new(messages(stream))
}

/// A queue in which one message is a crowd.
fn crowded<S: Stream>(stream: S) -> Shared<Messages<S>> {
    let builder = Messages::<S>::builder().high_water(1);
    Shared::new(builder.over(stream, codec()))
}

// TR9
pub(crate) async fn a_second_receiver_is_busy<S: Stream>(here: S, there: S) {
    let (here, mut there) = (shared(here), messages(there));
    let second = here.clone();
    {
        let mut first = pin!(here.recv());
        assert!(first.as_mut().now_or_never().is_none());
        for _ in 0..3 {
            let refused = second.recv().await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Busy);
            assert!(second.try_recv().is_err());
        }
        // Sending is nobody's business but the sender's.
        second.send(&message(4)).await.unwrap();
        let (flushed, got) = join(second.flush(), there.recv()).await;
        flushed.unwrap();
        assert_eq!(got.unwrap(), Some(message(4)));
        let say = async {
            there.send(&message(5)).await.unwrap();
            there.flush().await.unwrap();
        };
        let ((), got) = join(say, first).await;
        assert_eq!(got.unwrap(), Some(message(5)));
    }
    // It left no trace, also when it was dropped while it waited.
    assert!(here.recv().now_or_never().is_none());
    let say = async {
        there.send(&message(6)).await.unwrap();
        there.flush().await.unwrap();
    };
    let ((), got) = join(say, second.recv()).await;
    assert_eq!(got.unwrap(), Some(message(6)));
}

// TR9
pub(crate) async fn a_hundred_senders_take_turns<S: Stream>(here: S, there: S) {
    let (here, mut there) = (crowded(here), messages(there));
    let large = |number: usize| Bytes::from(vec![number as u8; 20_000]);
    // The third leaves the queue before its turn has come; nobody is held up by it.
    let permit = here.reserve().await.unwrap();
    let send = join_all((0..100).map(|number| {
        let (here, frame) = (here.clone(), large(number));
        async move {
            let mut send = pin!(here.send(&frame));
            if number == 3 {
                return assert!(send.now_or_never().is_none());
            }
            send.as_mut().await.unwrap();
        }
    }));
    let free = async {
        task::yield_now().await;
        permit.send(&message(0)).unwrap();
    };
    let recv = async {
        assert_eq!(there.recv().await.unwrap(), Some(message(0)));
        for number in (0..100).filter(|number| *number != 3) {
            assert_eq!(there.recv().await.unwrap(), Some(large(number)));
        }
    };
    let flush = async {
        send.await;
        here.flush().await.unwrap();
        here.shutdown().await.unwrap();
        let refused = here.send(&message(1)).await.unwrap_err();
        assert!(refused.is_closed() && !here.is_closed());
    };
    join(join(free, flush), recv).await;
    assert_eq!(there.recv().await.unwrap(), None);
}

/// A sender that has its turn and waits for room, two that wait for theirs, and a receiver; what
/// became of each when `end` ended.
async fn everybody_waits<S: Stream, R>(
    here: &Shared<Messages<S>>,
    end: impl Future<Output = R>,
) -> (R, usize, [Result<(), Error>; 4]) {
    let large = Bytes::from(vec![9; 300_000]);
    let mut queued = 0;
    while here.try_send(&large).is_ok() {
        queued += 1;
        assert!(queued < 1000, "nothing bounds the queue");
    }
    let recv = async { here.recv().await.map(|got| assert_eq!(got, None)) };
    let waiting = join_all([
        here.send(&large).boxed_local(),
        here.send(&large).boxed_local(),
        here.flush().boxed_local(),
        recv.boxed_local(),
    ]);
    let mut waiting = pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    let (ended, results) = join(end, waiting).await;
    (ended, queued, results.try_into().unwrap())
}

// TR6
pub(crate) async fn a_close_ends_every_wait<S: Stream>(here: S, there: S) {
    let (here, mut there) = (crowded(here), messages(there));
    let other = here.clone();
    let end = async {
        let close = async {
            // Two at once are one.
            let (first, second) = join(other.close(), other.close()).await;
            first.unwrap();
            second.unwrap();
        };
        let read = async {
            let mut read = 0;
            while there.recv().await.unwrap().is_some() {
                read += 1;
            }
            read
        };
        join(close, read).await.1
    };
    // All that was queued before arrives, and nothing that waited.
    let (read, queued, results) = everybody_waits(&here, end).await;
    assert_eq!(read, queued);
    for result in results {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Closed);
    }
    other.close().await.unwrap();
    here.close().await.unwrap();
    here.abort();
    let kinds = [
        here.send(&message(1)).await.unwrap_err().kind(),
        here.reserve().await.unwrap_err().kind(),
        other.recv().await.unwrap_err().kind(),
        here.flush().await.unwrap_err().kind(),
        other.shutdown().await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Closed; 5]);
    assert!(here.try_send(&message(1)).is_err() && here.try_recv().is_err());
    drop(here);
    assert!(other.into_inner().is_none());
}

// TR6, TR8
pub(crate) async fn an_abort_ends_every_wait<S: Stream>(here: S, there: S) {
    let (here, mut there) = (crowded(here), messages(there));
    let other = here.clone();
    let end = async {
        other.abort();
        other.abort();
        loop {
            match there.recv().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a cut conversation is no finished one"),
                Err(error) => break error,
            }
        }
    };
    let (error, _, results) = everybody_waits(&here, end).await;
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Broken(Break::Reset | Break::Truncated)
        ),
        "{error:?}"
    );
    for result in results {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Closed);
    }
    here.close().await.unwrap();
}

// TR6, TR8
pub(crate) async fn a_dropped_shared_close_aborts<S: Stream>(here: S, there: S) {
    let (here, mut there) = (crowded(here), messages(there));
    let large = Bytes::from(vec![9; 300_000]);
    while here.try_send(&large).is_ok() {}
    let mut first = here.close().boxed_local();
    let mut second = here.close().boxed_local();
    assert!(first.as_mut().now_or_never().is_none());
    assert!(
        second.as_mut().now_or_never().is_none(),
        "the first goes on"
    );
    assert!(here.recv().await.unwrap_err().is_closed());
    drop(first);
    let error = second.await.unwrap_err();
    let told = (error.kind(), error.operation(), error.delivery());
    let due = (ErrorKind::Closed, Operation::Close, Delivery::MaybeSent);
    assert_eq!(told, due);
    loop {
        match there.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cut conversation is no finished one"),
            Err(_) => break,
        }
    }
}

// TR6
pub(crate) async fn a_second_close_waits_for_the_first<S: Stream>(here: S, there: S) {
    let (here, mut there) = (crowded(here), messages(there));
    let large = Bytes::from(vec![9; 300_000]);
    let mut queued = 0;
    while here.try_send(&large).is_ok() {
        queued += 1;
    }
    let other = here.clone();
    let mut closing = pin!(join(here.close(), other.close()));
    // A turn of both, in which neither can end.
    assert!(closing.as_mut().now_or_never().is_none());
    let mut second = pin!(other.close());
    assert!(
        second.as_mut().now_or_never().is_none(),
        "the first goes on"
    );
    let read = async {
        for _ in 0..queued {
            assert_eq!(
                there.recv().await.unwrap().map(|got| got.len()),
                Some(300_000)
            );
        }
        assert_eq!(there.recv().await.unwrap(), None);
    };
    let (((first, again), third), ()) = join(join(closing, second), read).await;
    first.unwrap();
    again.unwrap();
    third.unwrap();
}

pub(crate) async fn the_last_user_gets_the_transport_back<S: Stream>(here: S, there: S) {
    let (here, mut there) = (shared(here), messages(there));
    here.send(&message(2)).await.unwrap();
    let other = here.clone();
    assert!(other.into_inner().is_none());
    let mut here = here.into_inner().unwrap();
    here.split().0.feed(&message(3)).await.unwrap();
    let hear = async {
        assert_eq!(there.recv().await.unwrap(), Some(message(2)));
        assert_eq!(there.recv().await.unwrap(), Some(message(3)));
        assert_eq!(there.recv().await.unwrap(), None);
    };
    let (closed, ()) = join(here.close(), hear).await;
    closed.unwrap();
}
