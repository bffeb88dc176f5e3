//! Connecting again, and what is said of what was lost.

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_codec::Lines;
use bowline_concurrency::{Backoff, Jitter, sleep, timeout};
use bowline_transport::{
    Break, ClientState, DynTransport, Error, ErrorKind, MemoryStream, MessageStream, Operation,
    TlsFailure, Transport,
};
use futures_util::FutureExt;
use futures_util::future::join;

use crate::pauses::{dialled, refused};
use crate::{Dialled, Lined, accept, client, in_sim, listen, on_every_backend, text};

on_every_backend!(
    a_break_is_told_once_and_then_the_next_connection,
    frames_before_a_break_come_first,
    a_sender_that_sees_a_break_leaves_it_to_the_receiver,
    an_end_is_told_once_and_counts_as_a_break,
    without_it_a_break_is_the_end,
    a_shut_down_client_does_not_come_back,
    errors_that_no_time_mends_are_given_up_at_once,
    errors_that_may_pass_are_not_the_end,
    a_call_does_not_trip_over_a_break_nobody_saw,
    what_came_unasked_is_kept_for_who_receives,
);

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn plain(base: Duration) -> Backoff {
    Backoff::exponential(base).jitter(Jitter::None)
}

pub(crate) type Peers = Arc<Mutex<Vec<Lined<MemoryStream>>>>;

/// A connection whose other end is put into `peers`.
pub(crate) fn connected(peers: &Peers) -> Dialled {
    let (here, there) = MemoryStream::pair();
    peers
        .lock()
        .unwrap()
        .push(MessageStream::new(there, Lines::lf().text()));
    Ok(DynTransport::new(MessageStream::new(
        here,
        Lines::lf().text(),
    )))
}

// CL2
async fn a_break_is_told_once_and_then_the_next_connection() {
    let (listener, at) = listen();
    let client = client(at).reconnect(plain(MS));
    let server = async {
        for n in 0..5 {
            let mut peer = accept(&listener).await;
            peer.send(&text(n)).await.unwrap();
            peer.flush().await.unwrap();
            // Gone only after it was read.
            assert_eq!(peer.recv().await.unwrap(), Some(text(n)));
            peer.abort();
        }
    };
    let talk = async {
        for n in 0..5 {
            assert_eq!(client.recv().await.unwrap(), Some(text(n)));
            client.send(&text(n)).await.unwrap();
            let error = client.recv().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset));
            assert_eq!(error.unsent_frames(), 0);
        }
    };
    join(server, talk).await;
}

// CL2
async fn frames_before_a_break_come_first() {
    let (listener, at) = listen();
    let client = client(at).reconnect(plain(MS));
    client.connect().await.unwrap();
    let mut peer = accept(&listener).await;
    for n in 0..3 {
        peer.send(&text(n)).await.unwrap();
    }
    peer.close().await.unwrap();
    for n in 0..3 {
        assert_eq!(client.recv().await.unwrap(), Some(text(n)));
    }
    assert_eq!(client.recv().await.unwrap_err().kind(), ErrorKind::Ended);
    client.connect().await.unwrap();
    let mut peer = accept(&listener).await;
    peer.send(&text("next")).await.unwrap();
    peer.flush().await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(text("next")));
}

// CL2
#[test]
fn a_sender_waits_for_the_next_connection() {
    // On a clock that stands still while nothing waits: the pause is not over before it looks.
    for seed in 0..20 {
        in_sim(seed, waiting_sender());
    }
}

async fn waiting_sender() {
    let peers = Peers::default();
    let other = peers.clone();
    let (client, times) = dialled(move |_| connected(&other));
    let client = client.reconnect(plain(5 * MS));
    client.connect().await.unwrap();
    peers.lock().unwrap().clear();
    client.recv().await.unwrap_err();
    {
        let mut reserving = Box::pin(client.reserve());
        assert!((&mut reserving).now_or_never().is_none(), "it is connected");
        reserving
            .await
            .unwrap()
            .send(&text("on the second"))
            .unwrap();
    }
    let mut peer = peers.lock().unwrap().pop().unwrap();
    assert_eq!(peer.recv().await.unwrap(), Some(text("on the second")));
    assert_eq!(times.lock().unwrap().len(), 2);
}

// CL2
async fn a_sender_that_sees_a_break_leaves_it_to_the_receiver() {
    let peers = Peers::default();
    let other = peers.clone();
    let (client, _) = dialled(move |_| connected(&other));
    let client = client.reconnect(plain(MS));
    client.send(&text("first")).await.unwrap();
    let mut peer = peers.lock().unwrap().pop().unwrap();
    peer.send(&text("read before the break is told"))
        .await
        .unwrap();
    peer.flush().await.unwrap();
    peer.abort();
    // Two breaks that only senders saw, then one more connection.
    client.send(&text("lost")).await.unwrap();
    client.send(&text("second")).await.unwrap();
    let mut peer = peers.lock().unwrap().pop().unwrap();
    assert_eq!(peer.recv().await.unwrap(), Some(text("second")));
    peer.abort();
    client.send(&text("lost too")).await.unwrap();
    client.send(&text("third")).await.unwrap();
    let mut peer = peers.lock().unwrap().pop().unwrap();
    assert_eq!(peer.recv().await.unwrap(), Some(text("third")));
    peer.send(&text("news")).await.unwrap();

    let kept = client.recv().await.unwrap();
    assert_eq!(kept.as_deref(), Some("read before the break is told"));
    let error = client.recv().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    assert_eq!(error.unsent_frames(), 1, "{error}");
    let error = client.recv().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    assert_eq!(error.unsent_frames(), 1, "{error}");
    assert_eq!(client.recv().await.unwrap().as_deref(), Some("news"));
}

// CL2
async fn an_end_is_told_once_and_counts_as_a_break() {
    let (listener, at) = listen();
    let client = client(at).reconnect(plain(MS));
    let server = async {
        accept(&listener).await.close().await.unwrap();
        let mut peer = accept(&listener).await;
        peer.send(&text("again")).await.unwrap();
        peer.flush().await.unwrap();
        peer.recv().await.unwrap_err();
    };
    let talk = async {
        let error = client.recv().await.unwrap_err();
        assert_eq!((error.kind(), error.unsent_frames()), (ErrorKind::Ended, 0));
        assert_eq!(client.recv().await.unwrap().as_deref(), Some("again"));
        client.abort();
    };
    join(server, talk).await;
}

// CL2
async fn without_it_a_break_is_the_end() {
    let (listener, at) = listen();
    let client = client(at);
    client.connect().await.unwrap();
    accept(&listener).await.abort();
    for _ in 0..2 {
        let error = client.recv().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    }
    assert_eq!(*client.state().latest(), ClientState::Closed);
    let error = client.connect().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    assert_eq!(error.operation(), Operation::Connect);
    assert!(listener.accept().now_or_never().is_none());

    // So it is where a sender finds it out.
    let client = self::client(listener.local_addr().unwrap());
    client.connect().await.unwrap();
    accept(&listener).await.abort();
    while client.send(&text("on")).await.is_ok() {
        sleep(MS).await;
    }
    let error = client.connect().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    client.close().await.unwrap_err();
    assert_eq!(
        client.connect().await.unwrap_err().kind(),
        ErrorKind::Closed
    );
}

// CL2
async fn a_shut_down_client_does_not_come_back() {
    let (listener, at) = listen();
    let client = client(at).reconnect(plain(MS));
    client.send(&text(1)).await.unwrap();
    client.shutdown().await.unwrap();
    let mut peer = accept(&listener).await;
    assert_eq!(peer.recv().await.unwrap(), Some(text(1)));
    peer.close().await.unwrap();
    assert_eq!(client.recv().await.unwrap(), None);
    assert_eq!(client.recv().await.unwrap(), None);
    assert!(listener.accept().now_or_never().is_none());
}

// CL2
async fn errors_that_no_time_mends_are_given_up_at_once() {
    for kind in [ErrorKind::Config, ErrorKind::Unsupported] {
        let failed = move |_| Err(Error::new(Operation::Connect, kind).with_source(refused()));
        let (client, times) = dialled(failed);
        let client = client.reconnecting();
        let error = client.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
        assert_eq!(cause.kind(), kind);
        assert_eq!(times.lock().unwrap().len(), 1);
        // What it was is told by the text, too.
        let said = error.to_string();
        assert!(
            said.ends_with(&format!(": {kind}: {}", refused())),
            "{said}"
        );
    }
    let (client, times) = dialled(|_| Err(refused()));
    let nonsense = client.reconnect(Backoff::default().factor(0));
    let error = nonsense.connect().await.unwrap_err();
    let cause = error.source().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Config);
    assert_eq!(times.lock().unwrap().len(), 0);
}

// CL2
async fn errors_that_may_pass_are_not_the_end() {
    let kinds = [
        ErrorKind::Permission,
        ErrorKind::Address,
        ErrorKind::Resource,
        ErrorKind::Tls(TlsFailure::Certificate),
        ErrorKind::Tls(TlsFailure::Refused),
        ErrorKind::Tls(TlsFailure::Plaintext),
        ErrorKind::Tls(TlsFailure::Timeout),
        ErrorKind::Tls(TlsFailure::Protocol),
        ErrorKind::Broken(Break::Undecodable),
        ErrorKind::Broken(Break::Panicked),
        ErrorKind::Decode,
        ErrorKind::Closed,
    ];
    let peers = Peers::default();
    let (other, failures) = (peers.clone(), kinds.len());
    let (client, times) = dialled(move |number| match kinds.get(number - 1) {
        Some(kind) => Err(Error::new(Operation::Connect, *kind)),
        None => connected(&other),
    });
    let client = client.reconnect(plain(MS).max(MS));
    client.connect().await.unwrap();
    assert_eq!(times.lock().unwrap().len(), failures + 1);
}

// CL2, CL4
async fn a_call_does_not_trip_over_a_break_nobody_saw() {
    let (listener, at) = listen();
    let client = client(at).reconnect(plain(MS));
    let server = async {
        for n in 0..4 {
            let mut peer = accept(&listener).await;
            assert_eq!(peer.recv().await.unwrap(), Some(text(n)));
            peer.send(&text(n)).await.unwrap();
            peer.close().await.unwrap();
        }
    };
    let talk = async {
        for n in 0..4 {
            assert_eq!(client.call(&text(n)).await.unwrap(), text(n));
            // The end of the peer is on its way; whoever would receive now sees it, and before it
            // the one that a call found.
            let ended = timeout(SECOND, async {
                for _ in 0..=n / 2 {
                    while client
                        .try_recv()
                        .is_err_and(|error| matches!(error, bowline_transport::TryRecvError::Empty))
                    {
                        sleep(MS).await;
                    }
                }
            });
            if n % 2 == 0 {
                ended.await.unwrap();
            } else {
                sleep(20 * MS).await;
            }
        }
    };
    join(server, talk).await;
}

// CL4
async fn what_came_unasked_is_kept_for_who_receives() {
    let peers = Peers::default();
    let other = peers.clone();
    let (client, _) = dialled(move |_| connected(&other));
    let client = client.reconnect(plain(MS));
    client.connect().await.unwrap();
    let mut peer = peers.lock().unwrap().pop().unwrap();
    peer.send(&text("unasked")).await.unwrap();
    peer.flush().await.unwrap();
    let server = async {
        let asked = peer.recv().await.unwrap().unwrap();
        peer.send(&format!("re {asked}")).await.unwrap();
        peer.flush().await.unwrap();
    };
    let asked = text("asked");
    let (reply, ()) = join(client.call(&asked), server).await;
    assert_eq!(reply.unwrap(), "re asked");
    assert_eq!(client.recv().await.unwrap().as_deref(), Some("unasked"));
}
