//! What a call finds broken is told to who receives, and what came before that is its reply.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};

use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_codec::{Cobs, Framing, Lines};
use bowline_concurrency::sleep;
use bowline_transport::{
    Break, Client, Delivery, DynTransport, Error, ErrorKind, MemoryStream, MessageStream,
    MessageStreamBuilder, Transport,
};
use futures_util::FutureExt;
use futures_util::future::join;

use crate::reconnecting::{MS, plain};
use crate::{Dialled, Lined, Text, on_every_backend, text};

on_every_backend!(
    a_call_leaves_what_came_and_broke_before_it_to_who_receives,
    a_break_that_a_call_finds_is_told_to_who_receives,
    breaks_that_only_calls_find_are_told_together,
    an_end_behind_what_nobody_asked_for_is_found,
    what_comes_between_calls_is_no_reply,
    an_end_is_found_behind_more_than_a_turn,
    the_latest_of_what_nobody_asked_for_is_kept,
    a_client_that_only_calls_goes_on_calling,
    a_reply_after_noise_is_nobodys,
    replies_that_came_before_the_last_break_are_those_of_their_calls,
    replies_that_a_silent_peer_sends_late_are_nobodys,
);

/// The far ends of what was dialled.
type Peers = Arc<Mutex<Vec<MemoryStream>>>;

/// A client that reconnects, over streams that hold `capacity` bytes.
fn small(capacity: usize) -> (Text, Peers) {
    let peers = Peers::default();
    let other = peers.clone();
    let client = Client::with_dial(move || -> std::future::Ready<Dialled> {
        let (here, there) = MemoryStream::builder().capacity(capacity).pair();
        other.lock().unwrap().push(there);
        let here = MessageStream::new(here, Lines::lf().text());
        std::future::ready(Ok(DynTransport::new(here)))
    });
    (client.reconnect(plain(MS)), peers)
}

/// The far end of the connection that was made last.
fn far_end(peers: &Peers) -> MemoryStream {
    peers.lock().unwrap().pop().unwrap()
}

/// Calls, answered by the connection that the call makes, or by `peer`.
async fn called(
    client: &Text,
    peers: &Peers,
    peer: Option<Lined<MemoryStream>>,
) -> Lined<MemoryStream> {
    let asked = text("asked");
    let call = async { assert_eq!(client.call(&asked).await.unwrap(), "re asked") };
    let answer = async {
        let mut peer = match peer {
            Some(peer) => peer,
            None => loop {
                if let Some(there) = peers.lock().unwrap().pop() {
                    break MessageStream::new(there, Lines::lf().text());
                }
                sleep(MS).await;
            },
        };
        assert_eq!(peer.recv().await.unwrap().as_deref(), Some("asked"));
        peer.send(&text("re asked")).await.unwrap();
        peer.flush().await.unwrap();
        peer
    };
    join(call, answer).await.1
}

async fn told_once(client: &Text, unsent: usize) {
    let error = client.recv().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Broken(_) | ErrorKind::Ended),
        "{error}"
    );
    assert_eq!(error.unsent_frames(), unsent);
    let quiet = client.recv().now_or_never();
    assert!(quiet.is_none(), "told twice: {quiet:?}");
}

// CL2, CL4
async fn a_call_leaves_what_came_and_broke_before_it_to_who_receives() {
    let (client, peers) = small(16);
    client
        .send(&text("longer than the stream holds"))
        .await
        .unwrap();
    let mut there = MessageStream::new(far_end(&peers), Lines::lf().text());
    // They come in one read, and one is asked for.
    there.send(&text("first")).await.unwrap();
    there.send(&text("second")).await.unwrap();
    assert_eq!(client.recv().await.unwrap().as_deref(), Some("first"));
    there.abort();
    // The first finds the stream broken, the second that there is another one.
    client.send(&text("lost")).await.unwrap();
    client.send(&text("sent")).await.unwrap();
    let mut there = MessageStream::new(far_end(&peers), Lines::lf().text());
    assert_eq!(there.recv().await.unwrap().as_deref(), Some("sent"));
    let there = called(&client, &peers, Some(there)).await;
    let there = called(&client, &peers, Some(there)).await;
    assert_eq!(client.recv().await.unwrap().as_deref(), Some("second"));
    let there = called(&client, &peers, Some(there)).await;
    told_once(&client, 2).await;
    drop(there);
}

// CL2, CL4
async fn a_break_that_a_call_finds_is_told_to_who_receives() {
    let (client, peers) = small(16);
    client
        .send(&text("longer than the stream holds"))
        .await
        .unwrap();
    far_end(&peers).abort();
    let mut there = called(&client, &peers, None).await;
    there.send(&text("unasked")).await.unwrap();
    // It comes after the break, however often somebody looks.
    let there = called(&client, &peers, Some(there)).await;
    let there = called(&client, &peers, Some(there)).await;
    let error = client.recv().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset));
    assert_eq!(error.unsent_frames(), 1);
    assert_eq!(client.recv().await.unwrap().as_deref(), Some("unasked"));
    assert!(client.recv().now_or_never().is_none());
    drop(there);
}

// CL2, CL4
async fn breaks_that_only_calls_find_are_told_together() {
    let (client, peers) = small(16);
    let mut there = called(&client, &peers, None).await;
    for _ in 0..3 {
        client
            .send(&text("longer than the stream holds"))
            .await
            .unwrap();
        there.abort();
        there = called(&client, &peers, None).await;
    }
    told_once(&client, 3).await;
    drop(there);
}

async fn heard(client: &Text, due: &str) {
    assert_eq!(client.recv().await.unwrap().as_deref(), Some(due));
}

async fn said(peer: &mut Lined<MemoryStream>, words: impl IntoIterator<Item = impl ToString>) {
    for word in words {
        peer.send(&text(word)).await.unwrap();
    }
    peer.flush().await.unwrap();
}

// CL2, CL4
async fn an_end_behind_what_nobody_asked_for_is_found() {
    let (client, peers) = small(1024);
    let mut there = called(&client, &peers, None).await;
    said(&mut there, ["idle for too long", "good bye"]).await;
    there.close().await.unwrap();
    let there = called(&client, &peers, None).await;
    heard(&client, "idle for too long").await;
    heard(&client, "good bye").await;
    assert_eq!(client.recv().await.unwrap_err().kind(), ErrorKind::Ended);
    assert!(client.recv().now_or_never().is_none());
    drop(there);
}

// CL2, CL4
async fn what_comes_between_calls_is_no_reply() {
    let (client, peers) = small(1024);
    let mut there = called(&client, &peers, None).await;
    for word in ["one", "two", "three"] {
        said(&mut there, [word]).await;
        there = called(&client, &peers, Some(there)).await;
    }
    there.abort();
    let mut there = called(&client, &peers, None).await;
    said(&mut there, ["four"]).await;
    let all = client.call_all([text("asked")], 1).into_future();
    let answer = async {
        assert_eq!(there.recv().await.unwrap().as_deref(), Some("asked"));
        said(&mut there, ["re asked"]).await;
    };
    let (results, ()) = join(all, answer).await;
    assert_eq!(results[0].as_deref().unwrap(), "re asked");
    for word in ["one", "two", "three"] {
        heard(&client, word).await;
    }
    let error = client.recv().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset));
    heard(&client, "four").await;
    assert!(client.recv().now_or_never().is_none());
}

// CL2, CL4
async fn an_end_is_found_behind_more_than_a_turn() {
    let (client, peers) = small(1024);
    client.connect().await.unwrap();
    let mut there = MessageStream::new(far_end(&peers), Lines::lf().text());
    said(&mut there, 0..40).await;
    there.close().await.unwrap();
    for n in 0..30 {
        heard(&client, &text(n)).await;
    }
    let there = called(&client, &peers, None).await;
    for n in 30..40 {
        heard(&client, &text(n)).await;
    }
    assert_eq!(client.recv().await.unwrap_err().kind(), ErrorKind::Ended);
    drop(there);
}

// CL2, CL4, TR12
async fn the_latest_of_what_nobody_asked_for_is_kept() {
    let (client, peers) = small(1024);
    client.connect().await.unwrap();
    let mut there = MessageStream::new(far_end(&peers), Lines::lf().text());
    said(&mut there, 0..20).await;
    let mut there = called(&client, &peers, Some(there)).await;
    // More than is looked at without a turn for others.
    said(&mut there, 20..120).await;
    let there = called(&client, &peers, Some(there)).await;
    let lagged = client.recv().await.unwrap_err();
    assert_eq!(lagged.kind(), ErrorKind::Lagged { missed: 104 });
    assert!(lagged.is_message() && !lagged.is_connection());
    let said =
        "recv: 104 messages that nobody received were dropped for later ones (peer memory:b)";
    assert_eq!(lagged.to_string(), said);
    for n in 104..120 {
        heard(&client, &text(n)).await;
    }
    assert!(client.recv().now_or_never().is_none());
    drop(there);
}

// CL2, CL4
async fn a_client_that_only_calls_goes_on_calling() {
    let (client, peers) = small(1024);
    let client = client.reconnect(plain(MS).max(2 * MS));
    for _ in 0..40 {
        let mut there = called(&client, &peers, None).await;
        said(&mut there, ["421 too quiet"]).await;
        there.close().await.unwrap();
    }
    let there = called(&client, &peers, None).await;
    let lagged = client.recv().await.unwrap_err();
    assert_eq!(lagged.kind(), ErrorKind::Lagged { missed: 24 });
    // What broke before the first of those that are left.
    let before = client.recv().await.unwrap_err();
    assert_eq!(before.kind(), ErrorKind::Ended);
    for _ in 0..16 {
        heard(&client, "421 too quiet").await;
        assert_eq!(client.recv().await.unwrap_err().kind(), ErrorKind::Ended);
    }
    assert!(client.recv().now_or_never().is_none());
    drop(there);
}

// CL4
async fn a_reply_after_noise_is_nobodys() {
    let codec = || Cobs::new().with(bowline_codec::Text::new());
    // What is no text is a frame all the same, and the reply; what is no frame stands for nothing.
    for (noise, shifts) in [(&[2, 0xff, 0][..], false), (&[5, 1, 0], true)] {
        let peers = Peers::default();
        let other = peers.clone();
        let client: Text = Client::with_dial(move || -> std::future::Ready<Dialled> {
            let (here, there) = MemoryStream::pair();
            other.lock().unwrap().push(there);
            std::future::ready(Ok(DynTransport::new(MessageStream::new(here, codec()))))
        });
        client.connect().await.unwrap();
        let mut there = far_end(&peers);
        there.write_all(noise).await.unwrap();
        let refused = client.call(&text("first")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Decode);
        let mut there = MessageStream::new(there, codec());
        let second = text("second");
        let answer = async {
            if shifts {
                let _ = there.send(&text("re first")).await;
                there = MessageStream::new(far_end(&peers), codec());
            } else {
                assert_eq!(there.recv().await.unwrap(), Some(text("first")));
            }
            assert_eq!(there.recv().await.unwrap(), Some(text("second")));
            there.send(&text("re second")).await.unwrap();
            there
        };
        let (reply, _there) = join(client.call(&second), answer).await;
        assert_eq!(reply.unwrap(), "re second");
    }
}

// CL2, CL4
async fn replies_that_came_before_the_last_break_are_those_of_their_calls() {
    let (client, peers) = small(1024);
    let client = client.reconnect_attempts(1);
    client.connect().await.unwrap();
    let mut there = MessageStream::new(far_end(&peers), Lines::lf().text());
    let answer = async {
        for n in 0..4 {
            assert_eq!(there.recv().await.unwrap(), Some(text(n)));
        }
        for n in 0..4 {
            there.send(&format!("re {n}")).await.unwrap();
        }
        there.flush().await.unwrap();
        there.abort();
    };
    // Two more are sent between the first replies: one is lost, and the other finds it out.
    let calls = client.call_all((0..6).map(text), 4).into_future();
    let (results, ()) = join(calls, answer).await;
    for (n, result) in results[..4].iter().enumerate() {
        assert_eq!(result.as_deref().unwrap(), format!("re {n}"));
    }
    let kinds = results[4..]
        .iter()
        .map(|result| result.as_ref().unwrap_err().kind());
    let kinds: Vec<_> = kinds.collect();
    assert!(matches!(kinds[0], ErrorKind::Broken(_)), "{kinds:?}");
    assert_eq!(kinds[1], ErrorKind::NotConnected);
    let late = client.recv().await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NotConnected);
}

// CL4
async fn replies_that_a_silent_peer_sends_late_are_nobodys() {
    let peers = Peers::default();
    let other = peers.clone();
    let silence = 20 * MS;
    let client: Text = Client::with_dial(move || -> std::future::Ready<Dialled> {
        let (here, there) = MemoryStream::pair();
        other.lock().unwrap().push(there);
        let builder = MessageStreamBuilder::default().read_idle_timeout(silence);
        let here = builder.over(here, Lines::lf().text());
        std::future::ready(Ok(DynTransport::new(here)))
    });
    let own = |question: &str, result: Result<String, Error>| match result {
        Ok(reply) => assert_eq!(reply, format!("re {question}")),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Elapsed);
            assert_eq!(error.delivery(), Delivery::MaybeSent);
        }
    };
    // It answers everything, later than the client waits.
    let late = async |questions: usize| {
        sleep(2 * silence).await;
        let mut there = MessageStream::new(far_end(&peers), Lines::lf().text());
        for _ in 0..questions {
            let Ok(Some(question)) = there.recv().await else {
                break;
            };
            let _ = there.send(&format!("re {question}")).await;
        }
        let _ = there.flush().await;
        there
    };
    let (result, first) = join(client.call(&text("one")), late(1)).await;
    own("one", result);
    let (result, second) = join(client.call(&text("two")), late(1)).await;
    own("two", result);
    let questions = ["three", "four", "five"];
    let all = client.call_all(questions.map(text), 3);
    let (results, third) = join(all.into_future(), late(3)).await;
    assert_eq!(results.len(), 3);
    for (question, result) in questions.into_iter().zip(results) {
        own(question, result);
    }
    drop((first, second, third));
    drop(called(&client, &peers, None).await);
}
