//! Nobody waits any more for what a registry opened: the attempt to connect goes with him.
#![cfg(feature = "webpki-roots")]

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::ByteStreamExt;
use bowline_concurrency::{Root, sleep, timeout};
use bowline_transport::{
    Client, DynReceiver, DynSender, DynTransport, Error, ErrorKind, Listener, MessageStream,
    Shared, Transport, TransportRecv, TransportSend, TryRecvError, TrySendError,
};
use bytes::BytesMut;
use futures_util::future::{Either, LocalBoxFuture, join, select};
use futures_util::{FutureExt, StreamExt};

use crate::{lines, on_each, registry};

/// A server that takes connections, and answers no handshake.
struct Silent(TcpListener);

fn silent() -> (Silent, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    (Silent(listener), at)
}

impl Silent {
    /// The next connection, once the client has begun its handshake.
    async fn greeted(&self) -> TcpStream {
        let (mut stream, _) = self.0.accept().await.unwrap();
        assert!(read(&mut stream).await.unwrap() > 0, "no greeting");
        stream
    }

    fn has_another(&self) -> bool {
        self.0.accept().now_or_never().is_some()
    }
}

async fn read(stream: &mut TcpStream) -> std::io::Result<usize> {
    let most = NonZeroUsize::new(4096).unwrap();
    stream.read_into(&mut BytesMut::new(), most).await
}

/// Waits until the client has let go.
async fn until_gone(mut stream: TcpStream) {
    while read(&mut stream).await.is_ok_and(|count| count > 0) {}
}

/// The connection that the future makes before it is given up.
async fn give_up<T>(server: &Silent, waits: impl Future<Output = T>) -> TcpStream {
    match select(pin!(server.greeted()), pin!(waits)).await {
        Either::Left((stream, _)) => stream,
        Either::Right(_) => panic!("it did not wait for the handshake"),
    }
}

fn open(at: SocketAddr) -> DynTransport<String, String> {
    registry().open(&format!("tls://{at}?sni=there")).unwrap()
}

type Op<'a> = LocalBoxFuture<'a, Result<(), Error>>;

// CL1, TR11
#[test]
fn an_operation_that_is_given_up_lets_go_of_the_server() {
    on_each(async || {
        let (server, at) = silent();
        let message = "lost?".to_owned();
        let mut whole = open(at);
        for round in 0..4 {
            let op: Op<'_> = match round {
                0 => whole.send(&message).boxed_local(),
                1 => whole.connect().boxed_local(),
                _ => whole.recv().map(|got| got.map(drop)).boxed_local(),
            };
            until_gone(give_up(&server, op).await).await;
        }
        let (mut sender, mut receiver) = whole.into_split();
        for round in 0..5 {
            let op: Op<'_> = match round {
                0 => sender.send(&message).boxed_local(),
                1 => sender.feed(&message).boxed_local(),
                2 => sender.reserve().map(|got| got.map(drop)).boxed_local(),
                3 => receiver.recv().map(|got| got.map(drop)).boxed_local(),
                _ => sender.shutdown().boxed_local(),
            };
            until_gone(give_up(&server, op).await).await;
        }
        let mut whole = DynTransport::reunite(sender, receiver).unwrap();
        {
            let (mut sender, mut receiver) = whole.split();
            until_gone(give_up(&server, sender.send(&message)).await).await;
            until_gone(give_up(&server, receiver.recv()).await).await;
        }
        let shared = Shared::new(whole);
        for round in 0..4 {
            let op: Op<'_> = match round {
                0 => shared.send(&message).boxed_local(),
                1 => shared.recv().map(|got| got.map(drop)).boxed_local(),
                2 => shared.reserve().map(|got| got.map(drop)).boxed_local(),
                _ => shared.shutdown().boxed_local(),
            };
            until_gone(give_up(&server, op).await).await;
        }
        assert!(!server.has_another());
    });
}

/// Polls once, by hand.
async fn poll_once<T>(mut poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>) {
    let waits = poll_fn(|cx| Poll::Ready(poll(cx).is_pending())).await;
    assert!(waits, "it was to wait");
}

// CL1, TR11
#[test]
fn halves_that_are_dropped_or_stop_let_go_of_the_server() {
    on_each(async || {
        for stops in [false, true] {
            let (server, at) = silent();
            let halves = || -> (DynSender<_, _>, DynReceiver<_>) { open(at).into_split() };

            let (mut sender, receiver) = halves();
            let sending = poll_fn(|cx| sender.poll_send(cx, &"?".to_owned()));
            let stream = give_up(&server, sending).await;
            match stops {
                true => sender.stop_waiting(),
                false => drop(sender),
            }
            until_gone(stream).await;
            drop(receiver);

            let (sender, mut receiver) = halves();
            let stream = give_up(&server, poll_fn(|cx| receiver.poll_recv(cx))).await;
            match stops {
                true => receiver.stop_waiting(),
                false => drop(receiver),
            }
            until_gone(stream).await;
            drop(sender);

            let (sender, receiver) = halves();
            let mut items = receiver.into_stream();
            let stream = give_up(&server, items.next()).await;
            let receiver = items.into_inner();
            until_gone(stream).await;
            drop((sender, receiver));
        }
    });
}

// CL1, TR11
#[test]
fn the_attempt_goes_on_for_the_half_that_waits() {
    on_each(async || {
        let (server, at) = silent();
        let (mut sender, mut receiver) = open(at).into_split();
        let message = "lost?".to_owned();
        {
            let mut receiving = pin!(receiver.recv());
            let stream = {
                let mut sending = pin!(sender.send(&message));
                let both = select(&mut sending, &mut receiving);
                let stream = give_up(&server, both).await;
                poll_once(|cx| receiving.as_mut().poll(cx)).await;
                stream
            };
            let mut stream = stream;
            stream.write_all(b"This is no TLS.\n").await.unwrap();
            let (received, ()) = join(receiving, until_gone(stream)).await;
            let error = received.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Tls(_)), "{error}");
        }
        assert!(!server.has_another());

        // Who gave up before it failed hears nothing of that: he begins anew.
        until_gone(give_up(&server, sender.send(&message)).await).await;
        // And the other way round.
        let mut sending = pin!(sender.send(&message));
        let stream = give_up(&server, select(receiver.recv().boxed_local(), &mut sending)).await;
        poll_once(|cx| sending.as_mut().poll(cx)).await;
        let mut stream = stream;
        stream.write_all(b"This is no TLS.\n").await.unwrap();
        let (sent, ()) = join(sending, until_gone(stream)).await;
        let error = sent.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Tls(_)), "{error}");
        assert!(!server.has_another());
        until_gone(give_up(&server, receiver.recv()).await).await;
    });
}

// CL1, TR11
#[test]
fn what_only_tries_makes_no_connection() {
    fn full(tried: Result<(), TrySendError>) {
        assert!(matches!(tried, Err(TrySendError::Full)), "{tried:?}");
    }
    fn empty(tried: Result<Option<String>, TryRecvError>) {
        assert!(matches!(tried, Err(TryRecvError::Empty)), "{tried:?}");
    }
    on_each(async || {
        let registry = registry();
        let mut listener = registry.memory().listen("patient").unwrap();
        let message = "tried".to_owned();
        for url in ["mem://patient", "mem://patient?reconnect=yes"] {
            let mut whole = registry.open(url).unwrap();
            {
                let (mut sender, mut receiver) = whole.split();
                full(sender.try_send(&message));
                empty(receiver.try_recv());
            }
            let (mut sender, mut receiver) = whole.into_split();
            full(sender.try_send(&message));
            empty(receiver.try_recv());
            let whole = DynTransport::reunite(sender, receiver).unwrap();
            let shared = Shared::new(whole);
            full(shared.try_send(&message));
            empty(shared.try_recv());
            assert!(listener.accept().now_or_never().is_none());

            let mut whole = shared.into_inner().unwrap();
            whole.connect().await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut peer = MessageStream::new(stream, lines());
            {
                let (mut sender, mut receiver) = whole.split();
                sender.try_send(&message).unwrap();
                assert_eq!(peer.recv().await.unwrap(), Some(message.clone()));
                empty(receiver.try_recv());
                peer.send(&message).await.unwrap();
                assert_eq!(receiver.try_recv().unwrap(), Some(message.clone()));
            }
            whole.close().await.unwrap();
            let (mut sender, mut receiver) = whole.split();
            let error = sender.try_send(&message).unwrap_err();
            assert!(
                matches!(&error, TrySendError::Failed(error) if error.kind() == ErrorKind::Closed)
            );
            let error = receiver.try_recv().unwrap_err();
            assert!(
                matches!(&error, TryRecvError::Failed(error) if error.kind() == ErrorKind::Closed)
            );
        }
    });
}

// TR11
#[test]
fn what_was_tried_is_counted_where_it_is_lost() {
    on_each(async || {
        let registry = registry();
        let mut listener = registry.memory().listen("brief").unwrap();
        let mut whole = registry.open("mem://brief?reconnect=yes").unwrap();
        whole.connect().await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        {
            let (mut sender, _) = whole.split();
            for _ in 0..2 {
                sender.try_send(&"x".repeat(60_000)).unwrap();
            }
        }
        drop(stream);
        // The connection is gone before anybody flushes.
        assert_eq!(whole.recv().await.unwrap_err().unsent_frames(), 1);
        let (mut sender, _) = whole.split();
        assert_eq!(sender.flush().await.unwrap_err().unsent_frames(), 1);
    });
}

// CL1, TR11
#[test]
fn an_attempt_that_was_left_alone_too_long_is_begun_anew() {
    Root::new().backend(Backend::Sim).block_on(async {
        for (late, anew) in [(19, false), (21, true)] {
            let (server, at) = silent();
            let (_sender, receiver) = open(at).into_split();
            let mut items = receiver.into_stream();
            let left = timeout(Duration::from_millis(50), items.next()).await;
            assert!(left.is_err(), "there is nobody who answers");
            let first = server.greeted().await;
            sleep(Duration::from_secs(late)).await;
            if anew {
                let ((), _second) = join(until_gone(first), give_up(&server, items.next())).await;
                continue;
            }
            let error = items.next().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectTimeout);
            assert!(!server.has_another());
        }
    });
}

// CL1, TR11
#[test]
fn a_client_connects_what_its_dial_opens() {
    on_each(async || {
        let client: Client<String, String> =
            Client::with_dial(|| async { registry().open("mem://nobody") });
        let refused = client.connect().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);

        let (server, at) = silent();
        let client: Client<String, String> = Client::with_dial(move || async move { Ok(open(at)) });
        let message = "?".to_owned();
        until_gone(give_up(&server, client.send(&message)).await).await;
        until_gone(give_up(&server, client.recv()).await).await;
    });
}
