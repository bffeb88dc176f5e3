//! What becomes of the last answer where the peer sends more than anybody wants.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_backend::stream::ByteStreamExt;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{now, sleep};
use bowline_transport::{
    Break, Error, ErrorKind, MessageStreamBuilder, Messages, Peer, Server, ServerHandle,
    ServerLimits, TcpConnector,
};
use bytes::BytesMut;

use crate::draining::{passed, report};
use crate::{Client, beside, line};

/// More than a peer that does not read has room for, and less than it has with our side's.
const ANSWER: usize = 5 * 32 * 1024;

/// A server that answers the first line, though it may be too long, and leaves; the event is set once
/// it has.
async fn start(
    limits: ServerLimits,
    stream: MessageStreamBuilder,
) -> (
    ServerHandle,
    Arc<Event>,
    impl Future<Output = Result<(), Error>> + Send,
) {
    let server = Server::tcp(("127.0.0.1", 0)).codec(line);
    let bound = server.limits(limits).stream(stream).bind().await.unwrap();
    let answered = Arc::new(Event::new());
    let set = answered.clone();
    let handle = bound.handle();
    let serving = bound.serve_fn(move |peer: Peer<Client>, mut messages: Messages<Client>| {
        let set = set.clone();
        async move {
            match messages.recv().await {
                Ok(_) => {}
                // It cannot be understood any more, and is to hear why.
                Err(error) if error.kind() == ErrorKind::Broken(Break::Undecodable) => {}
                Err(error) => return Err(error),
            }
            for _ in 0..5 {
                peer.send(&"x".repeat(ANSWER / 5 - 1)).await?;
            }
            peer.flush().await?;
            set.set();
            Ok::<(), Error>(())
        }
    });
    (handle, answered, serving)
}

/// A client that has sent far more than one line.
async fn flooding(server: &ServerHandle) -> TcpStream {
    let address = server.local_addrs()[0].as_inet().unwrap();
    let mut stream = TcpConnector::new(address).connect().await.unwrap();
    stream.write_all(&b"hello\n".repeat(16_000)).await.unwrap();
    stream
}

/// How much there is to read, up to the end or a reset.
async fn read_all(mut stream: TcpStream) -> usize {
    let (mut read, most) = (BytesMut::new(), NonZeroUsize::new(64 * 1024).unwrap());
    while matches!(stream.read_into(&mut read, most).await, Ok(1..)) {}
    read.len()
}

// SV4, TR5
pub(crate) async fn the_last_answer_arrives() {
    let (handle, answered, serving) =
        start(ServerLimits::new(), MessageStreamBuilder::default()).await;
    beside(serving, async {
        let stream = flooding(&handle).await;
        answered.wait().await;
        sleep(Duration::from_millis(20)).await; // it is slow
        assert_eq!(read_all(stream).await, ANSWER);
        let drained = handle.drain(Duration::from_secs(100)).await;
        assert_eq!((drained.cancelled, drained.aborted), (0, 0));
        assert_eq!(handle.counters().completed, 1);
    })
    .await;
}

// SV4, TR5
pub(crate) async fn who_sends_too_much_hears_why() {
    let stream = MessageStreamBuilder::default().max_frame(ANSWER / 5);
    let (handle, answered, serving) = start(ServerLimits::new(), stream).await;
    beside(serving, async {
        let address = handle.local_addrs()[0].as_inet().unwrap();
        let mut stream = TcpConnector::new(address).connect().await.unwrap();
        stream.write_all(&[b'x'; ANSWER / 5 + 1]).await.unwrap();
        answered.wait().await;
        // The server has nothing unread, and the rest of the line is on its way.
        sleep(Duration::from_millis(20)).await;
        stream.write_all(&[b'x'; ANSWER]).await.unwrap();
        assert_eq!(read_all(stream).await, ANSWER);
        let drained = handle.drain(Duration::from_secs(100)).await;
        assert_eq!((drained.cancelled, drained.aborted), (0, 0));
        assert_eq!(handle.connections(), 0);
    })
    .await;
}

// SV4
pub(crate) async fn without_lingering_it_is_lost() {
    let limits = ServerLimits::new().linger(None);
    let (handle, answered, serving) = start(limits, MessageStreamBuilder::default()).await;
    beside(serving, async {
        let stream = flooding(&handle).await;
        answered.wait().await;
        handle.drain(Duration::from_secs(100)).await;
        assert!(read_all(stream).await < ANSWER);
    })
    .await;
}

// SV4, SV5
pub(crate) async fn who_never_ends_is_not_waited_for_longer() {
    let most = Duration::from_millis(300);
    let limits = ServerLimits::new().linger(most);
    let (handle, answered, serving) = start(limits, MessageStreamBuilder::default()).await;
    beside(serving, async {
        let stream = flooding(&handle).await;
        answered.wait().await;
        let begun = now();
        let drained = handle.drain(Duration::from_secs(100)).await;
        if Backend::current() == Ok(Backend::Sim) {
            // It began a moment before we heard that the answer was written.
            let passed = now().saturating_duration_since(begun);
            assert!(
                most.abs_diff(passed) < Duration::from_millis(1),
                "{passed:?}"
            );
        }
        assert_eq!(drained, report(1, 0, 0));
        drop(stream);
    })
    .await;
}

// SV4, SV5
pub(crate) async fn who_sends_without_end_is_not_read_for_ever() {
    let limits = ServerLimits::new().linger(Duration::from_secs(50));
    let stream = MessageStreamBuilder::default().linger_bytes(10_000);
    let (handle, answered, serving) = start(limits, stream).await;
    beside(serving, async {
        let stream = flooding(&handle).await;
        answered.wait().await;
        let begun = now();
        let drained = handle.drain(Duration::from_secs(100)).await;
        passed(begun, Duration::ZERO);
        assert_eq!((drained.cancelled, drained.aborted), (0, 0));
        assert_eq!(handle.counters().completed, 1);
        drop(stream);
    })
    .await;
}
