//! How connections end.

use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use bowline_concurrency::sync::Queue;
use bowline_concurrency::{AnyError, TaskGroup, sleep};
use bowline_transport::{
    Break, ConnectionHandler, End, Error, ErrorKind, MessageStream, Messages, Operation, Peer,
    Server, ServerHandle, TcpConnector, Transport,
};
use futures_util::future::{Either, select};

use crate::script::{Script, Scripted};
use crate::{Client, beside, connect, line, start, try_greet};

/// Connects and says who it is.
pub(crate) async fn greet(server: &ServerHandle, name: &str) -> Client {
    let mut client = connect(server).await;
    client.send(&name.to_owned()).await.unwrap();
    let welcome = client.recv().await.unwrap();
    assert_eq!(welcome.unwrap(), format!("welcome {name}"));
    client
}

pub(crate) async fn say(client: &mut Client, line: &str) {
    client.send(&line.to_owned()).await.unwrap();
}

pub(crate) async fn ask(client: &mut Client, line: &str) -> Option<String> {
    say(client, line).await;
    client.recv().await.unwrap()
}

pub(crate) async fn is_reset(mut client: Client) {
    let error = client.recv().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset), "{error}");
}

// SV4
pub(crate) async fn a_handler_that_returns_closes() {
    let told = Scripted::new();
    let (handle, serving) = start(Script::new(&told)).await;
    beside(serving, async {
        let mut client = greet(&handle, "Ada").await;
        assert_eq!(ask(&mut client, "hello").await.as_deref(), Some("hello"));
        assert_eq!(ask(&mut client, "leave").await, None);
        assert_eq!(told.end().await, ("Ada".to_owned(), End::Closed));
        for how in ["close", "abort"] {
            let mut client = greet(&handle, how).await;
            say(&mut client, how).await;
            let after = client.recv().await;
            assert_eq!(after.is_err(), how == "abort", "{after:?}");
            assert_eq!(told.end().await, (how.to_owned(), End::Closed));
        }
        handle.drain(Duration::from_secs(10)).await;
        let counters = handle.counters();
        assert_eq!((counters.accepted, counters.completed), (3, 3));
        assert_eq!(counters.failed + counters.broken + counters.cancelled, 0);
        assert!(!handle.is_serving());
    })
    .await;
}

// SV4
pub(crate) async fn a_handler_that_fails_or_panics_costs_its_connection() {
    let told = Scripted::new();
    let (handle, serving) = start(Script::new(&told)).await;
    beside(serving, async {
        let mut lives = greet(&handle, "lives").await;
        let mut failing = greet(&handle, "fails").await;
        say(&mut failing, "fail").await;
        is_reset(failing).await;
        assert_eq!(told.end().await, ("fails".to_owned(), End::Closed));
        let mut panicking = greet(&handle, "panics").await;
        say(&mut panicking, "panic").await;
        is_reset(panicking).await;
        assert_eq!(told.end().await, ("panics".to_owned(), End::Panicked));
        assert_eq!(ask(&mut lives, "still?").await.as_deref(), Some("still?"));
        handle.drain(Duration::from_secs(10)).await;
        assert_eq!(told.end().await, ("lives".to_owned(), End::Drained));
        let counters = handle.counters();
        assert_eq!((counters.failed, counters.panicked), (1, 1));
        assert_eq!(counters.completed, 1);
    })
    .await;
}

/// Panics where it is told to, and gives no future then.
struct Hasty {
    panics_in: &'static str,
    told: std::sync::Arc<Scripted>,
}

impl Hasty {
    fn comes_to(&self, place: &str) {
        assert!(self.panics_in != place, "told to panic");
    }
}

impl<T: Transport + 'static> ConnectionHandler<T> for Hasty {
    type Error = Error;

    fn on_connection(
        &self,
        _: &Peer<T>,
        _: &mut Messages<T>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.comes_to("on_connection");
        ready(Ok(()))
    }

    fn handle(
        &self,
        _: &Peer<T>,
        _: &mut Messages<T>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.comes_to("handle");
        ready(Ok(()))
    }

    fn on_end(&self, _: &Peer<T>, end: End) -> impl Future<Output = ()> + Send {
        self.told.ends.try_send((String::new(), end)).unwrap();
        self.comes_to("on_end");
        ready(())
    }
}

/// What the server says to who is silent; a reset may be told to the connect already.
async fn hear(server: &ServerHandle) -> Result<Option<String>, Error> {
    let address = server.local_addrs()[0].as_inet().unwrap();
    let stream = TcpConnector::new(address).connect().await?;
    MessageStream::new(stream, line()).recv().await
}

// SV4
pub(crate) async fn a_handler_that_panics_at_once_costs_its_connection() {
    for (panics_in, panicked, end) in [
        ("on_connection", 2, None),
        ("handle", 2, Some(End::Panicked)),
        ("on_end", 0, Some(End::Closed)),
    ] {
        let told = Scripted::new();
        let hasty = Hasty {
            panics_in,
            told: told.clone(),
        };
        let (handle, serving) = start(hasty).await;
        beside(serving, async {
            for _ in 0..2 {
                assert_eq!(hear(&handle).await.is_err(), panicked > 0, "{panics_in}");
            }
            handle.drain(Duration::from_secs(10)).await;
        })
        .await;
        let ends: Vec<End> = std::iter::from_fn(|| told.ends.try_recv().ok())
            .map(|(_, end)| end)
            .collect();
        assert_eq!(
            ends,
            Vec::from_iter([end, end].into_iter().flatten()),
            "{panics_in}"
        );
        let counters = handle.counters();
        assert_eq!(
            (counters.panicked, counters.completed, counters.cancelled),
            (panicked, 2 - panicked, 0),
            "{panics_in}"
        );
    }
}

// SV4
pub(crate) async fn a_connection_that_is_not_begun_has_no_end() {
    let told = Scripted::new();
    let (handle, serving) = start(Script::new(&told)).await;
    beside(serving, async {
        for name in ["unwanted", "unlucky"] {
            let mut client = connect(&handle).await;
            say(&mut client, name).await;
            is_reset(client).await;
        }
        handle.drain(Duration::from_secs(10)).await;
        let counters = handle.counters();
        assert_eq!((counters.failed, counters.panicked), (1, 1));
        assert!(told.ends.try_recv().is_err());
    })
    .await;
}

// SV4
pub(crate) async fn peers_end_and_break() {
    let told = Scripted::new();
    let (handle, serving) = start(Script::new(&told)).await;
    beside(serving, async {
        let mut ends = greet(&handle, "ends").await;
        ends.close().await.unwrap();
        assert_eq!(told.end().await, ("ends".to_owned(), End::Ended));
        let mut breaks = greet(&handle, "breaks").await;
        breaks.abort();
        let end = End::Broken(ErrorKind::Broken(Break::Reset));
        assert_eq!(told.end().await, ("breaks".to_owned(), end));
        handle.drain(Duration::from_secs(10)).await;
        let counters = handle.counters();
        assert_eq!((counters.completed, counters.broken), (1, 1));
        assert_eq!(counters.failed, 0, "a connection that breaks is no failure");
    })
    .await;
}

/// Lets its peers get away.
struct Leaks<T: Transport>(std::sync::Arc<Queue<Peer<T>>>);

impl<T: Transport + 'static> ConnectionHandler<T> for Leaks<T> {
    type Error = Error;

    async fn handle(&self, peer: &Peer<T>, messages: &mut Messages<T>) -> Result<(), Error> {
        messages.recv().await?;
        let _ = self.0.send(peer.clone()).await;
        Ok(())
    }
}

// SV4
pub(crate) async fn a_peer_outlives_its_connection() {
    let peers = std::sync::Arc::new(Queue::bounded(8).unwrap());
    let bound = Server::tcp(("127.0.0.1", 0)).codec(line).bind().await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    beside(bound.serve(Leaks(peers.clone())), async {
        let mut client = connect(&handle).await;
        assert_eq!(ask(&mut client, "hello").await, None);
        let peer = peers.recv().await.unwrap();
        assert!(peer.is_closed());
        let address = client.local_addr().unwrap();
        assert_eq!((peer.peer_addr(), peer.id().as_u64()), (address, 1));
        let error = peer.send(&"too late".to_owned()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        handle.drain(Duration::from_secs(10)).await;
    })
    .await;
}

// SV2, SV4
pub(crate) async fn a_dropped_server_cancels_all() {
    let told = Scripted::new();
    let (handle, serving) = start(Script::new(&told)).await;
    let serving = Box::pin(serving);
    let clients = pin!(async {
        let mut hangs = greet(&handle, "hangs").await;
        say(&mut hangs, "hang").await;
        told.waiting.recv().await.unwrap();
        [greet(&handle, "idle").await, hangs]
    });
    let Either::Right((clients, serving)) = select(serving, clients).await else {
        panic!("the server has ended");
    };
    drop(serving);
    for client in clients {
        is_reset(client).await;
    }
    let mut ends = [told.end().await, told.end().await];
    ends.sort_by(|one, other| one.0.cmp(&other.0));
    let cancelled = |name: &str| (name.to_owned(), End::Cancelled);
    assert_eq!(ends, [cancelled("hangs"), cancelled("idle")]);
    // Their places are given back, with the last of the tasks, which may end on another thread; and
    // nothing waits for a server that is gone.
    while handle.connections() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let report = handle.drain(Duration::ZERO).await;
    assert_eq!((report.finished, report.cancelled), (0, 0));
    assert_eq!((handle.connections(), handle.is_serving()), (0, false));
}

/// Starts a task that fails once somebody connected.
struct FailingTask(std::sync::Arc<Scripted>);

impl<T: Transport + 'static> ConnectionHandler<T> for FailingTask {
    type Error = Error;

    async fn on_start(&self, _: &ServerHandle, group: &TaskGroup<AnyError>) {
        let told = self.0.clone();
        group.spawn::<(), _>(async move {
            told.gate.wait().await;
            Err(AnyError::new("the clock fell off the wall"))
        });
    }

    async fn handle(&self, _: &Peer<T>, messages: &mut Messages<T>) -> Result<(), Error> {
        self.0.gate.set();
        messages.recv().await?;
        Ok(())
    }
}

// SV4
pub(crate) async fn a_failed_task_of_the_start_ends_the_server() {
    let (handle, serving) = start(FailingTask(Scripted::new())).await;
    let served = Box::pin(serving);
    let client = try_greet(&handle, "hello");
    let (served, client) = futures_util::future::join(served, client).await;
    let error = served.unwrap_err();
    assert_eq!(
        (error.operation(), error.kind()),
        (Operation::Serve, ErrorKind::Closed)
    );
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.to_string().contains("the clock fell"), "{source}");
    assert!(!matches!(client, Ok((_, Some(_)))), "{client:?}");
}
