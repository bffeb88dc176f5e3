//! An attempt to connect belongs to nobody: who waits for it moves it on.

use std::error::Error as _;
use std::future::IntoFuture;
use std::pin::pin;
use std::time::Duration;

use bowline_codec::Lines;
use bowline_concurrency::{cancel_scope, move_on_after, sleep, sleep_forever, timeout, yield_now};
use bowline_transport::{
    Client, ClientState, DynTransport, Error, ErrorKind, MemoryStream, MessageStream, Operation,
    Transport, TryRecvError, TrySendError,
};
use futures_util::FutureExt;
use futures_util::future::join;

use crate::connecting::{begin, never};
use crate::reconnecting::{MS, Peers, SECOND, connected, plain};
use crate::{Count, Text, accept, client, in_sim, listen, on_every_backend, text};

on_every_backend!(
    who_is_cancelled_hands_the_attempt_over,
    who_is_not_polled_holds_nobody_up,
    an_attempt_nobody_waits_for_is_dropped,
    a_panicking_attempt_is_not_the_last,
    who_gives_up_again_and_again_dials_once_a_pause,
    who_only_tries_dials_nothing_after_a_break,
    calls_that_are_given_up_have_the_pauses_of_breaks,
    calls_that_are_given_up_are_bounded_as_breaks,
);

// CL1
async fn who_is_cancelled_hands_the_attempt_over() {
    let dials = Count::default();
    let counted = dials.clone();
    // Deadlines inside: they must not be those of who polls first, nor ring in his task alone.
    let client: Text = Client::with_dial(move || {
        counted.up();
        async move {
            for _ in 0..3 {
                let late = timeout(Duration::from_millis(5), sleep_forever()).await;
                assert!(late.is_err());
                yield_now().await;
            }
            let (here, there) = MemoryStream::pair();
            let mut there = MessageStream::new(there, Lines::lf().text());
            there.send(&text("welcome")).await?;
            there.flush().await?;
            std::mem::forget(there);
            Ok(DynTransport::new(MessageStream::new(
                here,
                Lines::lf().text(),
            )))
        }
    });
    let (first, message) = (client.clone(), text(1));
    let second = async { client.recv().await.unwrap() };
    let first = async move {
        let cut = move_on_after(Duration::from_millis(2), first.send(&message)).await;
        assert!(cut.done().is_none());
        let cut = cancel_scope(async |scope| {
            scope.cancel("at once");
            first.send(&message).await
        });
        assert!(cut.await.done().is_none());
    };
    let ((), got) = join(first, second).await;
    assert_eq!(got, Some(text("welcome")));
    assert_eq!(dials.get(), 1);
}

// CL1
async fn who_is_not_polled_holds_nobody_up() {
    let (listener, at) = listen();
    let client = client(at);
    let mut receiving = pin!(client.recv());
    begin(&mut receiving).await;
    // The one who began the attempt is not polled while this waits.
    client.send(&text(1)).await.unwrap();
    let mut peer = accept(&listener).await;
    assert_eq!(peer.recv().await.unwrap(), Some(text(1)));
    peer.send(&text(2)).await.unwrap();
    assert_eq!(receiving.await.unwrap(), Some(text(2)));
}

// CL1
async fn an_attempt_nobody_waits_for_is_dropped() {
    let (client, begun, dropped) = never();
    {
        let (mut one, mut two) = (Box::pin(client.connect()), Box::pin(client.recv()));
        begin(&mut one).await;
        begin(&mut two).await;
        drop(one);
        assert_eq!((begun.get(), dropped.get()), (1, 0));
    }
    assert_eq!((begun.get(), dropped.get()), (1, 1));
    assert_eq!(*client.state().latest(), ClientState::Idle);
    let mut again = Box::pin(client.connect());
    begin(&mut again).await;
    assert_eq!(begun.get(), 2);
}

// CL1
async fn a_panicking_attempt_is_not_the_last() {
    let dials = Count::default();
    let counted = dials.clone();
    let client: Text = Client::with_dial(move || {
        let dial = counted.up();
        async move {
            assert!(dial > 1, "the first one");
            Err(Error::new(Operation::Connect, ErrorKind::Refused))
        }
    });
    let panicked = std::panic::AssertUnwindSafe(client.connect())
        .catch_unwind()
        .await;
    assert!(panicked.is_err());
    assert_eq!(
        client.connect().await.unwrap_err().kind(),
        ErrorKind::Refused
    );
}

// CL2, CL3
async fn who_gives_up_again_and_again_dials_once_a_pause() {
    let (client, begun, dropped) = never();
    let client = client.reconnect(plain(3600 * SECOND));
    for _ in 0..5 {
        assert!(client.recv().now_or_never().is_none());
        assert!(client.connect().now_or_never().is_none());
    }
    assert_eq!((begun.get(), dropped.get()), (1, 1));
}

/// A client, whom it reaches, who say nothing by themselves, and how often it dialled.
fn counting() -> (Text, Peers, Count) {
    let (peers, dials) = (Peers::default(), Count::default());
    let (made, counted) = (peers.clone(), dials.clone());
    let client = Client::with_dial(move || {
        counted.up();
        let made = connected(&made);
        async move { made }
    });
    (client, peers, dials)
}

// CL2, CL4
async fn calls_that_are_given_up_have_the_pauses_of_breaks() {
    let (client, _peers, dials) = counting();
    let client = client.reconnect(plain(3600 * SECOND).max(3600 * SECOND));
    for given_up in 1..6 {
        assert!(client.call(&text("?")).now_or_never().is_none());
        // After the first it is made anew at once.
        assert_eq!(dials.get(), given_up.min(2));
    }
    assert_eq!(*client.state().latest(), ClientState::Idle);
    // Where it is not to be replaced there is no pause either.
    let (client, _peers, dials) = counting();
    for given_up in 1..6 {
        assert!(client.call(&text("?")).now_or_never().is_none());
        assert_eq!(dials.get(), given_up);
    }
}

// CL2, CL4
async fn calls_that_are_given_up_are_bounded_as_breaks() {
    let (client, _peers, dials) = counting();
    let client = client.reconnect(plain(MS)).reconnect_attempts(3);
    for _ in 0..3 {
        let call = timeout(20 * MS, client.call_all([text("?")], 1).into_future());
        assert!(call.await.is_err());
    }
    let error = client.call(&text("?")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert_eq!(error.gave_up_after(), Some(3));
    let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Elapsed);
    let why = cause.source().unwrap().to_string();
    assert_eq!(why, "its reply was not waited for any longer");
    assert_eq!(*client.state().latest(), ClientState::Closed);
    assert_eq!(dials.get(), 3);
}

// CL1, CL2
async fn who_only_tries_dials_nothing_after_a_break() {
    let (client, peers, dials) = counting();
    let client = client.reconnect(plain(MS));
    client.connect().await.unwrap();
    let mut peer = peers.lock().unwrap().pop().unwrap();
    peer.send(&text("first")).await.unwrap();
    peer.abort();
    client.try_send(&text("queued")).unwrap(); // where it breaks
    for _ in 0..3 {
        // What came before the break is still to be received.
        let tried = client.try_send(&text("nobody"));
        assert!(matches!(tried, Err(TrySendError::Full)), "{tried:?}");
        sleep(2 * MS).await; // the pause before another attempt may be over
    }
    assert_eq!(client.try_recv().unwrap(), Some(text("first")));
    assert!(client.try_recv().is_err());
    for _ in 0..2 {
        assert!(matches!(client.try_recv(), Err(TryRecvError::Empty)));
        sleep(2 * MS).await;
    }
    assert_eq!(dials.get(), 1);
    client.send(&text("again")).await.unwrap();
    assert_eq!(dials.get(), 2);
}

// CL1
#[test]
fn what_is_done_with_a_connection_takes_what_it_takes() {
    in_sim(3, async {
        let (_listener, at) = listen();
        let begun = Count::default();
        let counted = begun.clone();
        let client = client(at).on_connect(move |transport| {
            counted.up();
            async move {
                sleep(30 * SECOND).await; // longer than a dial may take
                Ok(transport)
            }
        });
        client
            .on_connect_timeout(40 * SECOND)
            .connect()
            .await
            .unwrap();
        assert_eq!(begun.get(), 1);
    });
}
