//! What becomes of connections whose handlers give something up, or are given up.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::sync::Queue;
use bowline_concurrency::{Root, now, sleep};
use bowline_transport::{
    Break, ConnectionHandler, End, Error, ErrorKind, MemoryNetwork, Messages, Peer, Server,
    ServerCounters, Transport,
};
use futures_util::FutureExt;
use futures_util::future::{Either, select};

use crate::endings::is_reset;
use crate::script::Scripted;
use crate::{beside, connect, line, start};

/// Says more than goes out, and gives up to wait for that, or returns.
struct Stuffed {
    told: Arc<Scripted>,
    gives_up: bool,
}

impl<T: Transport<Sent = String> + 'static> ConnectionHandler<T> for Stuffed {
    type Error = Error;

    async fn handle(&self, peer: &Peer<T>, _: &mut Messages<T>) -> Result<(), Error> {
        for _ in 0..2 {
            peer.feed(&"x".repeat(60_000)).await?;
        }
        if self.gives_up {
            let closed = peer.close().now_or_never();
            assert!(closed.is_none(), "nobody reads: {closed:?}");
        }
        self.told.waiting.send(()).await.unwrap();
        Ok(())
    }

    async fn on_end(&self, _: &Peer<T>, end: End) {
        self.told.ends.send((String::new(), end)).await.unwrap();
    }
}

/// One connection to a handler that is [`Stuffed`], whose server is drained at once.
async fn stuffed(gives_up: bool) -> (End, ServerCounters) {
    let told = Scripted::new();
    let network = MemoryNetwork::new();
    let bound = Server::memory(&network, "shop").codec(line).bind().await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    let stuffed = Stuffed {
        told: told.clone(),
        gives_up,
    };
    beside(bound.serve(stuffed), async {
        let stream = network.connect("shop").await.unwrap();
        told.waiting.recv().await.unwrap();
        let most = match gives_up {
            true => Duration::from_secs(60),
            false => Duration::ZERO,
        };
        handle.drain(most).await;
        let (_, end) = told.end().await;
        assert!(told.ends.try_recv().is_err(), "it ends once");
        drop(stream);
        (end, handle.counters())
    })
    .await
}

// SV4
pub(crate) async fn a_close_that_a_handler_gave_up_is_no_failure() {
    let (end, counters) = stuffed(true).await;
    assert_eq!(end, End::Closed);
    assert_eq!((counters.completed, counters.broken), (1, 0));
}

// SV4, SV5
pub(crate) async fn a_connection_that_is_cut_while_it_closes_has_one_end() {
    let (end, counters) = stuffed(false).await;
    assert_eq!(end, End::Cancelled);
    assert_eq!((counters.completed, counters.cancelled), (0, 1));
}

/// Lets its peer get away, and never ends.
struct Stays<T: Transport>(Arc<Queue<Peer<T>>>);

impl<T: Transport + 'static> ConnectionHandler<T> for Stays<T> {
    type Error = Error;

    async fn handle(&self, peer: &Peer<T>, _: &mut Messages<T>) -> Result<(), Error> {
        let _ = self.0.send(peer.clone()).await;
        pending().await
    }
}

// SV4, TR8
pub(crate) async fn a_cut_connection_is_reset_though_somebody_has_its_peer() {
    let peers = Arc::new(Queue::bounded(8).unwrap());
    let bound = Server::tcp(("127.0.0.1", 0)).codec(line).bind().await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    let serving = Box::pin(bound.serve(Stays(peers.clone())));
    let meeting = pin!(async { (connect(&handle).await, peers.recv().await.unwrap()) });
    let Either::Right(((client, peer), serving)) = select(serving, meeting).await else {
        panic!("the server has ended");
    };
    drop(serving);
    is_reset(client).await;
    // On a thread of its own the task may be about to say so.
    while !peer.is_closed() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Asks once more after an error, without waiting.
struct Tries(Arc<Scripted>);

impl<T: Transport + 'static> ConnectionHandler<T> for Tries {
    type Error = Error;

    async fn handle(&self, _: &Peer<T>, messages: &mut Messages<T>) -> Result<(), Error> {
        let error = messages.recv().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset), "{error}");
        for _ in 0..2 {
            let after = messages.try_recv().map(|got| got.is_some());
            assert!(matches!(after, Ok(false)), "{after:?}");
        }
        self.0.waiting.send(()).await.unwrap();
        Ok(())
    }
}

// SV3, SV4
pub(crate) async fn who_asks_after_the_end_without_waiting_is_told_of_it() {
    let told = Scripted::new();
    let (handle, serving) = start(Tries(told.clone())).await;
    beside(serving, async {
        connect(&handle).await.abort();
        told.waiting.recv().await.unwrap();
        handle.drain(Duration::from_secs(60)).await;
        let counters = handle.counters();
        assert_eq!((counters.broken, counters.panicked), (1, 0));
    })
    .await;
}

/// Does not come to its end.
struct Lingers(Arc<Scripted>);

impl<T: Transport + 'static> ConnectionHandler<T> for Lingers {
    type Error = Error;

    async fn handle(&self, _: &Peer<T>, messages: &mut Messages<T>) -> Result<(), Error> {
        messages.recv().await.map(drop)
    }

    async fn on_end(&self, _: &Peer<T>, end: End) {
        sleep(Duration::from_secs(4)).await;
        self.0.ends.send((String::new(), end)).await.unwrap();
        pending().await
    }
}

// SV4
#[test]
fn an_end_that_is_told_has_five_seconds() {
    let law = async {
        let told = Scripted::new();
        let (handle, serving) = start(Lingers(told.clone())).await;
        beside(serving, async {
            connect(&handle).await.close().await.unwrap();
            assert_eq!(told.end().await.1, End::Ended);
            let begun = now();
            let report = handle.drain(Duration::from_secs(60)).await;
            assert_eq!((report.finished, report.aborted), (1, 0));
            let passed = now().saturating_duration_since(begun);
            assert!(passed < Duration::from_millis(1100), "{passed:?}");
        })
        .await;
    };
    bowline_sim::block_on(0, Root::new().backend(Backend::Sim).entered(law));
}
