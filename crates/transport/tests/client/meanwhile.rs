//! What happens to a client while something of the user's runs that it polls: a dial, or a codec.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bowline_codec::{DecodeError, EncodeError, Framing, Lines, MessageCodec, Text as TextCodec};
use bowline_transport::{
    Client, Delivery, DynTransport, Error, ErrorKind, MemoryStream, MessageStream, Transport,
};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::pauses::refused;
use crate::reconnecting::{MS, Peers, connected, plain};
use crate::{Count, Dialled, Lined, Text, Woken, on_every_backend, text};

on_every_backend!(
    a_connection_that_is_made_for_a_client_which_is_over_is_reset,
    a_failure_of_a_client_that_is_over_changes_nothing,
    a_close_waits_for_a_half_that_is_in_use,
    an_abort_ends_a_close_that_waits_for_a_half,
    what_is_queued_while_its_connection_goes_is_told_as_lost,
    who_waits_is_told_of_what_came_of_the_attempt_of_another,
    who_waits_begins_anew_after_the_panic_of_another,
);

/// Done once, the next time that there is occasion.
type Act = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

fn next_time(act: &Act, what: impl FnOnce() + Send + 'static) {
    *act.lock().unwrap() = Some(Box::new(what));
}

fn done(act: &Act) {
    let what = act.lock().unwrap().take();
    if let Some(what) = what {
        what();
    }
}

/// A codec of text that does something while a half of its client is in use.
struct Acting {
    encoding: Act,
    decoding: Act,
}

impl MessageCodec for Acting {
    type Sent = String;
    type Received = String;

    fn encode(&self, message: &String, out: &mut BytesMut) -> Result<(), EncodeError> {
        done(&self.encoding);
        TextCodec::new().encode(message, out)
    }

    fn decode(&self, frame: &Bytes) -> Result<String, DecodeError> {
        done(&self.decoding);
        TextCodec::new().decode(frame)
    }
}

/// A client whose codec does what is put into these, the one who encodes first; the far ends of its
/// connections.
fn acting() -> (Text, Act, Act, Peers) {
    let (encoding, decoding, peers) = (Act::default(), Act::default(), Peers::default());
    let (encodes, decodes, made) = (encoding.clone(), decoding.clone(), peers.clone());
    let client = Client::with_dial(move || -> std::future::Ready<Dialled> {
        let (here, there) = MemoryStream::pair();
        let there = MessageStream::new(there, Lines::lf().text());
        made.lock().unwrap().push(there);
        let (encoding, decoding) = (encodes.clone(), decodes.clone());
        let codec = Lines::lf().with(Acting { encoding, decoding });
        std::future::ready(Ok(DynTransport::new(MessageStream::new(here, codec))))
    });
    (client, encoding, decoding, peers)
}

fn far_end(peers: &Peers) -> Lined<MemoryStream> {
    peers.lock().unwrap().pop().unwrap()
}

/// A client of a dial that aborts it before it answers.
fn aborting(dial: impl Fn() -> Dialled + Send + Sync + 'static) -> Text {
    let client: Arc<Mutex<Option<Text>>> = Arc::default();
    let aborted = client.clone();
    let made = Client::with_dial(move || {
        let aborted = aborted.lock().unwrap().take().unwrap();
        let dialled = dial();
        async move {
            aborted.abort();
            dialled
        }
    });
    let made = made.reconnect(plain(MS));
    *client.lock().unwrap() = Some(made.clone());
    made
}

// CL1
async fn a_connection_that_is_made_for_a_client_which_is_over_is_reset() {
    let peers = Peers::default();
    let made = peers.clone();
    let client = aborting(move || connected(&made));
    let closed = client.connect().await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
    far_end(&peers).recv().await.unwrap_err();
    assert_eq!(client.peer_addr(), None);
}

// CL1, CL2
async fn a_failure_of_a_client_that_is_over_changes_nothing() {
    let client = aborting(|| Err(refused())).reconnect_attempts(1);
    for _ in 0..2 {
        let closed = client.connect().await.unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
    }
}

type Closing = Arc<Mutex<BoxFuture<'static, Result<(), Error>>>>;

/// Whether who closes is told to go on.
type Told = Arc<Mutex<Option<Arc<Woken>>>>;

/// Has the client closed the next time that it decodes something, by somebody who waits then, and
/// `after` done.
fn closes(client: &Text, decoding: &Act, after: impl FnOnce() + Send + 'static) -> (Closing, Told) {
    let (closed, told) = (client.clone(), Told::default());
    let closing = async move { closed.close().await };
    let closing: Closing = Arc::new(Mutex::new(closing.boxed()));
    let (polled, telling) = (closing.clone(), told.clone());
    next_time(decoding, move || {
        let woken = Woken::polled(&mut *polled.lock().unwrap());
        *telling.lock().unwrap() = Some(woken);
        after();
    });
    (closing, told)
}

async fn result_of(closing: &Closing) -> Result<(), Error> {
    poll_fn(|cx| closing.lock().unwrap().poll_unpin(cx)).await
}

// CL1, TR6
async fn a_close_waits_for_a_half_that_is_in_use() {
    let (client, _, decoding, peers) = acting();
    client.connect().await.unwrap();
    let mut there = far_end(&peers);
    let (closing, told) = closes(&client, &decoding, || {});
    there.send(&text("last")).await.unwrap();
    let _ = client.recv().await;
    assert!(told.lock().unwrap().as_ref().unwrap().is_set());
    result_of(&closing).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), None);
}

// CL1, TR6, TR8
async fn an_abort_ends_a_close_that_waits_for_a_half() {
    let (client, _, decoding, peers) = acting();
    client.connect().await.unwrap();
    let mut there = far_end(&peers);
    let aborted = client.clone();
    let (closing, told) = closes(&client, &decoding, move || aborted.abort());
    there.send(&text("last")).await.unwrap();
    let _ = client.recv().await;
    assert!(told.lock().unwrap().as_ref().unwrap().is_set());
    let error = result_of(&closing).await.unwrap_err();
    let due = (ErrorKind::Closed, Delivery::MaybeSent);
    assert_eq!((error.kind(), error.delivery()), due);
    there.recv().await.unwrap_err();
}

// CL2, TR1
async fn what_is_queued_while_its_connection_goes_is_told_as_lost() {
    let (client, encoding, _, peers) = acting();
    let client = client.reconnect(plain(MS));
    client.connect().await.unwrap();
    far_end(&peers).abort();
    let other = client.clone();
    next_time(&encoding, move || {
        let told = other.recv().now_or_never().expect("it has broken");
        assert!(told.unwrap_err().is_connection());
    });
    client.send(&text("queued on what is gone")).await.unwrap();
    let lost = client.flush().await.unwrap_err();
    assert!(matches!(lost.kind(), ErrorKind::Broken(_)), "{lost}");
    assert_eq!(
        (lost.delivery(), lost.unsent_frames()),
        (Delivery::MaybeSent, 1)
    );
    client.flush().await.unwrap();
}

/// Somebody receives, and another one polls the same attempt a second time, which wakes nobody by
/// itself; `second` is what it comes to then.
async fn beside_another(second: fn(&Peers) -> Dialled, another: impl AsyncFnOnce(&Text)) {
    let (dials, peers) = (Count::default(), Peers::default());
    let (counted, made) = (dials.clone(), peers.clone());
    let client: Text = Client::with_dial(move || {
        let (number, made) = (counted.up(), made.clone());
        let mut polled = false;
        poll_fn(move |_| {
            if number > 1 {
                return Poll::Ready(connected(&made));
            }
            match std::mem::replace(&mut polled, true) {
                false => Poll::Pending,
                true => Poll::Ready(second(&made)),
            }
        })
    });
    let mut receiving = Box::pin(client.recv());
    let waits = Woken::polled(&mut receiving);
    another(&client).await;
    assert!(waits.is_set(), "it is to be told");
    assert!((&mut receiving).now_or_never().is_none());
    far_end(&peers).send(&text("for who waits")).await.unwrap();
    assert_eq!(receiving.await.unwrap(), Some(text("for who waits")));
}

// CL1
async fn who_waits_is_told_of_what_came_of_the_attempt_of_another() {
    let connect = async |client: &Text| client.connect().await.unwrap();
    beside_another(connected, connect).await;
}

// CL1
async fn who_waits_begins_anew_after_the_panic_of_another() {
    let connect = async |client: &Text| {
        let connecting = std::panic::AssertUnwindSafe(client.connect());
        assert!(connecting.catch_unwind().await.is_err());
    };
    beside_another(|_| panic!("a dial of somebody's"), connect).await;
}
