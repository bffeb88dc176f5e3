//! The first use connects, once for all who come meanwhile.

use std::collections::BTreeSet;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bowline_concurrency::sync::Event;
use bowline_concurrency::{sleep, yield_now};
use bowline_transport::{
    Client, ClientState, Error, ErrorKind, Extra, Operation, PeerAddr, Transport, TransportRecv,
    TrySendError,
};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join, join_all, select};

use crate::{Count, Dialled, OnDrop, Text, accept, client, listen, on_every_backend, text};

on_every_backend!(
    a_hundred_first_users_share_one_connection,
    a_hundred_first_users_share_one_failure,
    a_failed_first_use_is_not_the_last,
    a_close_ends_the_attempt,
    a_close_before_the_first_use,
    a_second_connect_does_nothing,
    an_on_connect_comes_before_all_messages,
    the_last_drop_resets,
    an_address_is_known_once_connected,
    a_permit_sends_without_waiting,
    senders_take_turns,
    who_waits_for_a_turn_is_told_of_the_end,
);

// CL1
async fn a_hundred_first_users_share_one_connection() {
    let (listener, at) = listen();
    let made = Count::default();
    let counted = made.clone();
    let client = client(at).on_connect(move |transport| {
        counted.up();
        async move { Ok(transport) }
    });
    assert_eq!(*client.state().latest(), ClientState::Idle);
    let users = (0..100).map(|n| {
        let client = client.clone();
        async move {
            match n % 3 {
                0 => client.connect().await,
                _ => client.send(&text(n)).await,
            }
        }
    });
    let server = async {
        let mut peer = accept(&listener).await;
        let mut got = BTreeSet::new();
        while got.len() < 66 {
            let line = peer.recv().await.unwrap().unwrap();
            assert!(got.insert(line.parse::<usize>().unwrap()));
        }
        assert!(got.iter().all(|n| n % 3 != 0));
        peer
    };
    let (results, _peer) = join(join_all(users), server).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(made.get(), 1);
    assert!(listener.accept().now_or_never().is_none());
    assert_eq!(*client.state().latest(), ClientState::Ready);
}

// CL1
async fn a_hundred_first_users_share_one_failure() {
    let (dials, go) = (Count::default(), Arc::new(Event::new()));
    let (counted, released) = (dials.clone(), go.clone());
    let client: Text = Client::with_dial(move || {
        counted.up();
        let go = released.clone();
        async move {
            go.wait().await;
            Err(Error::new(Operation::Connect, ErrorKind::Refused))
        }
    });
    let mut users: Vec<LocalBoxFuture<'_, Result<(), Error>>> = Vec::new();
    for n in 0..99 {
        let client = client.clone();
        users.push(match n % 2 {
            0 => Box::pin(async move { client.send(&text(n)).await }),
            _ => Box::pin(async move { client.connect().await }),
        });
    }
    let receiver = client.clone();
    users.push(Box::pin(async move { receiver.recv().await.map(drop) }));
    // Polled last: all of them wait by then.
    users.push(Box::pin(async move {
        go.set();
        Ok(())
    }));
    let results = join_all(users).await;
    let kinds = results[..100]
        .iter()
        .map(|result| result.as_ref().unwrap_err().kind());
    assert!(
        kinds.clone().all(|kind| kind == ErrorKind::Refused),
        "{results:?}"
    );
    assert_eq!(dials.get(), 1);
}

// CL1
async fn a_failed_first_use_is_not_the_last() {
    let (listener, at) = listen();
    drop(listener);
    let client = client(at);
    assert_eq!(
        client.connect().await.unwrap_err().kind(),
        ErrorKind::Refused
    );
    assert_eq!(*client.state().latest(), ClientState::Idle);
    assert_eq!(
        client.send(&text(1)).await.unwrap_err().kind(),
        ErrorKind::Refused
    );
    let listener = bowline_backend::net::TcpListener::bind(at).unwrap();
    client.send(&text(2)).await.unwrap();
    assert_eq!(accept(&listener).await.recv().await.unwrap(), Some(text(2)));
}

/// A client whose attempt never ends; counts dials begun and dropped.
pub(crate) fn never() -> (Text, Count, Count) {
    let (begun, dropped) = (Count::default(), Count::default());
    let (counted, told) = (begun.clone(), dropped.clone());
    let client = Client::with_dial(move || {
        counted.up();
        let told = OnDrop(told.clone());
        async move {
            let _told = told;
            pending::<Dialled>().await
        }
    });
    (client, begun, dropped)
}
// CL1
async fn a_close_ends_the_attempt() {
    let (client, begun, dropped) = never();
    let message = text(1);
    let (first, second, third) = (client.clone(), client.clone(), client.clone());
    let waiting = join_all([
        async { first.connect().await }.boxed(),
        async { second.send(&message).await }.boxed(),
        async { third.recv().await.map(drop) }.boxed(),
    ]);
    let close = async {
        assert_eq!((begun.get(), dropped.get()), (1, 0));
        client.close().await
    };
    let (results, closed) = join(waiting, close).await;
    assert!(closed.is_ok());
    assert_eq!((begun.get(), dropped.get()), (1, 1));
    for result in results {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(*client.state().latest(), ClientState::Closed);
}

// CL1
async fn a_close_before_the_first_use() {
    let (client, begun, _) = never();
    client.close().await.unwrap();
    client.close().await.unwrap();
    assert_eq!(
        client.connect().await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(
        client.send(&text(1)).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(client.recv().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(
        client.call(&text(1)).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(client.flush().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(begun.get(), 0);
}

// CL1
async fn a_second_connect_does_nothing() {
    let (listener, at) = listen();
    let client = client(at);
    client.connect().await.unwrap();
    client.connect().await.unwrap();
    let _peer = accept(&listener).await;
    client.connect().await.unwrap();
    assert!(listener.accept().now_or_never().is_none());
}

async fn an_on_connect_comes_before_all_messages() {
    let (listener, at) = listen();
    let client = client(at).on_connect(|mut transport| async move {
        transport.send(&text("login")).await?;
        assert_eq!(transport.recv().await?.as_deref(), Some("granted"));
        Ok(transport)
    });
    let server = async {
        let mut peer = accept(&listener).await;
        assert_eq!(peer.recv().await.unwrap(), Some(text("login")));
        peer.send(&text("granted")).await.unwrap();
        assert_eq!(peer.recv().await.unwrap(), Some(text("hello")));
        assert_eq!(peer.recv().await.unwrap(), None);
    };
    let talk = async {
        client.send(&text("hello")).await.unwrap();
        client.close().await.unwrap();
    };
    join(server, talk).await;
}

async fn the_last_drop_resets() {
    let (listener, at) = listen();
    let client = client(at);
    let other = client.clone();
    client.send(&text(1)).await.unwrap();
    let mut peer = accept(&listener).await;
    assert_eq!(peer.recv().await.unwrap(), Some(text(1)));
    drop(client);
    other.send(&text(2)).await.unwrap();
    assert_eq!(peer.recv().await.unwrap(), Some(text(2)));
    drop(other);
    assert!(peer.recv().await.is_err(), "a clean end");
}

async fn an_address_is_known_once_connected() {
    let (listener, at) = listen();
    let client = client(at);
    assert_eq!((client.peer_addr(), client.local_addr()), (None, None));
    client.connect().await.unwrap();
    assert_eq!(client.peer_addr(), Some(at.into()));
    assert_eq!(client.extra::<PeerAddr>(), Some(at.into()));
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(client.local_addr(), Some(peer));
}

async fn a_permit_sends_without_waiting() {
    let (listener, at) = listen();
    let client = client(at);
    let permit = client.reserve().await.unwrap();
    {
        let message = text("after it");
        let mut other = pin!(client.send(&message));
        begin(&mut other).await;
        permit.send(&text("first")).unwrap();
        other.await.unwrap();
    }
    client.try_send(&text("third")).unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(
        client.send(&text(4)).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    let (mut sender, mut receiver) = accept(&listener).await.into_split();
    for due in ["first", "after it", "third"] {
        assert_eq!(receiver.recv().await.unwrap().as_deref(), Some(due));
    }
    assert_eq!(receiver.recv().await.unwrap(), None);
    use bowline_transport::TransportSend;
    sender.send(&text("still there")).await.unwrap();
    sender.flush().await.unwrap();
    assert_eq!(client.recv().await.unwrap().as_deref(), Some("still there"));
}

// CL1, TR9
async fn who_waits_for_a_turn_is_told_of_the_end() {
    for closes in [true, false] {
        let (listener, at) = listen();
        let client = client(at);
        let permit = client.reserve().await.unwrap();
        let _peer = accept(&listener).await;
        let busy = client.try_send(&text(1)).unwrap_err();
        assert!(matches!(busy, TrySendError::Busy), "{busy:?}");
        let message = text(2);
        let mut waiting = pin!(client.send(&message));
        begin(&mut waiting).await;
        match closes {
            true => client.close().await.unwrap(),
            false => client.abort(),
        }
        assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::Closed);
        let tried = client.try_send(&text(3)).unwrap_err();
        assert!(
            matches!(&tried, TrySendError::Failed(error) if error.kind() == ErrorKind::Closed),
            "{tried:?}"
        );
        drop(permit);
    }
}

// TR9
async fn senders_take_turns() {
    let (listener, at) = listen();
    let client = client(at);
    client.connect().await.unwrap();
    let mut peer = accept(&listener).await;
    let long = "x".repeat(20_000);
    let senders = (0..100).map(|n| {
        let (client, message) = (client.clone(), format!("{n} {long}"));
        async move { client.send(&message).await.unwrap() }
    });
    let reading = async {
        for n in 0..100 {
            let got = peer.recv().await.unwrap().unwrap();
            assert!(got.starts_with(&format!("{n} ")), "{n}: {}", &got[..8]);
        }
    };
    let receiving = async { client.recv().await };
    let busy = async {
        yield_now().await;
        assert_eq!(client.recv().await.unwrap_err().kind(), ErrorKind::Busy);
    };
    // Whoever receives also writes what is queued.
    let talk = pin!(async { join(join(join_all(senders), reading), busy).await });
    let receiving = pin!(receiving);
    select(receiving, talk).await;
    sleep(Duration::ZERO).await;
}

/// Polls once, and no more.
pub(crate) async fn begin<F: Future + Unpin>(future: &mut F) {
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_ready())).await;
    assert!(!polled, "it was to wait");
}
