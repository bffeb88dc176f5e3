//! Calls: each gets its own reply, whoever else calls or gives up.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bowline_backend::net::TcpListener;
use bowline_concurrency::{GroupError, move_on_after, now, sleep, task_group, yield_now};
use bowline_transport::{Client, Delivery, Error, ErrorKind, Operation, Transport};
use futures_util::FutureExt;
use futures_util::future::{Either, LocalBoxFuture, join, join_all, select};

use crate::{Count, accept, client, in_sim, listen, on_every_backend, text};

on_every_backend!(
    a_hundred_tasks_get_their_own_replies,
    a_cancelled_call_drops_its_connection,
    a_call_that_waits_for_its_turn_costs_nothing,
    a_call_beside_a_receiver_is_busy,
    an_end_instead_of_a_reply,
    a_reply_that_cannot_be_decoded_is_the_answer,
    results_are_in_order,
    each_message_has_its_own_result,
    a_time_limit_keeps_what_has_come,
    a_break_fails_those_in_flight,
    many_calls_to_nobody_share_one_attempt,
);

/// Answers every line of every connection, `answer` permitting.
async fn echo(listener: &TcpListener, connections: &Count) {
    loop {
        let mut peer = accept(listener).await;
        connections.up();
        while let Ok(Some(line)) = peer.recv().await {
            if peer.send(&format!("re {line}")).await.is_err() {
                break;
            }
        }
    }
}

/// Runs `talk` beside a server that answers everything.
async fn beside_echo<T>(listener: &TcpListener, talk: impl Future<Output = T>) -> (T, usize) {
    let connections = Count::default();
    let server = pin!(echo(listener, &connections));
    match select(pin!(talk), server).await {
        Either::Left((done, _)) => (done, connections.get()),
        Either::Right(((), _)) => unreachable!("the server goes on"),
    }
}

// CL4
async fn a_hundred_tasks_get_their_own_replies() {
    let (listener, at) = listen();
    let client = client(at);
    let done = task_group(|group| async move {
        group.spawn_ok(async move {
            let mut peer = accept(&listener).await;
            while let Ok(Some(line)) = peer.recv().await {
                peer.send(&format!("re {line}")).await.unwrap();
            }
        });
        let callers = (0..100).map(|n| {
            let client = client.clone();
            group.spawn_ok(async move {
                for round in 0..3 {
                    let asked = format!("{n}.{round}");
                    assert_eq!(client.call(&asked).await.unwrap(), format!("re {asked}"));
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        for caller in callers {
            caller.join().await.unwrap();
        }
        client.close().await.unwrap();
        Ok::<_, Error>(())
    });
    let done: Result<(), GroupError<Error>> = done.await;
    done.unwrap();
}

// CL4
async fn a_cancelled_call_drops_its_connection() {
    let (listener, at) = listen();
    let client = client(at);
    let asked = text("never answered");
    let mut first = Box::pin(client.call(&asked));
    let mut peer = match select(&mut first, pin!(accept(&listener))).await {
        Either::Right((peer, _)) => peer,
        Either::Left((early, _)) => panic!("{early:?}"),
    };
    let received = match select(&mut first, pin!(peer.recv())).await {
        Either::Right((received, _)) => received,
        Either::Left((early, _)) => panic!("{early:?}"),
    };
    assert_eq!(received.unwrap().as_deref(), Some("never answered"));
    drop(first);
    // The answer comes, too late, and is nobody's.
    let _ = peer.send(&text("too late")).await;
    let _ = peer.flush().await;
    let (reply, connections) =
        beside_echo(&listener, async { client.call(&text("second")).await }).await;
    assert_eq!(reply.unwrap(), "re second");
    assert_eq!(connections, 1);
    // A reset, or, where the late answer met it, an end.
    let old = peer.recv().await;
    assert!(!matches!(old, Ok(Some(_))), "{old:?}");
}

// CL4
async fn a_call_that_waits_for_its_turn_costs_nothing() {
    let (listener, at) = listen();
    let client = client(at);
    let (one, two) = (text("one"), text("two"));
    let mut first = Box::pin(client.call(&one));
    assert!((&mut first).now_or_never().is_none());
    assert!(client.call(&two).now_or_never().is_none());
    let (reply, connections) = beside_echo(&listener, first).await;
    assert_eq!(reply.unwrap(), "re one");
    assert_eq!(connections, 1);
}

// CL4, TR9
async fn a_call_beside_a_receiver_is_busy() {
    let (listener, at) = listen();
    let client = client(at);
    client.connect().await.unwrap();
    let mut peer = accept(&listener).await;
    let mut receiving = Box::pin(client.recv());
    assert!((&mut receiving).now_or_never().is_none());
    let busy = client.call(&text(1)).await.unwrap_err();
    assert_eq!(
        (busy.kind(), busy.delivery()),
        (ErrorKind::Busy, Delivery::NotSent)
    );
    peer.send(&text("news")).await.unwrap();
    peer.flush().await.unwrap();
    assert_eq!(receiving.await.unwrap().as_deref(), Some("news"));
}

// CL4
async fn an_end_instead_of_a_reply() {
    let (listener, at) = listen();
    let client = client(at);
    let server = async {
        let mut peer = accept(&listener).await;
        peer.recv().await.unwrap();
        peer.close().await.unwrap();
    };
    let asked = text(1);
    let (reply, ()) = join(client.call(&asked), server).await;
    let error = reply.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Ended, Delivery::MaybeSent)
    );
    assert!(!error.is_retryable());
}

// CL4
async fn a_reply_that_cannot_be_decoded_is_the_answer() {
    use bowline_backend::stream::ByteStreamExt;
    let (listener, at) = listen();
    let client = client(at);
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"\xff\xff\ngood\n").await.unwrap();
        stream
    };
    let (one, two) = (text(1), text(2));
    let talk = async {
        let first = client.call(&one).await;
        (first, client.call(&two).await)
    };
    let ((first, second), _stream) = join(talk, server).await;
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(second.unwrap(), "good");
}

// CL4
async fn results_are_in_order() {
    let (listener, at) = listen();
    let client = client(at);
    let most = Count::default();
    let server = async {
        let mut peer = accept(&listener).await;
        // Answers only when as many have come as may be in flight: fewer would hang.
        for round in 0..5 {
            for _ in 0..4 {
                let _ = peer.recv().await.unwrap().unwrap();
            }
            most.up();
            assert!(peer.recv().now_or_never().is_none(), "five in flight");
            for n in 0..4 {
                peer.send(&format!("re {}", round * 4 + n)).await.unwrap();
            }
            peer.flush().await.unwrap();
        }
        peer
    };
    let all = async { client.call_all((0..20).map(text), 4).await };
    let (results, _peer) = join(all, server).await;
    let replies: Vec<String> = results.into_iter().map(Result::unwrap).collect();
    let due: Vec<String> = (0..20).map(|n| format!("re {n}")).collect();
    assert_eq!(replies, due);
    assert_eq!(most.get(), 5);
}

// CL4
async fn each_message_has_its_own_result() {
    let (listener, at) = listen();
    let client = client(at);
    let messages = ["one", "two\nlines", "three"].map(str::to_owned);
    let (results, _) = beside_echo(&listener, async { client.call_all(messages, 8).await }).await;
    let [Ok(first), Err(refused), Ok(third)] = &results[..] else {
        panic!("{results:?}");
    };
    assert_eq!((first.as_str(), third.as_str()), ("re one", "re three"));
    assert!(refused.is_message());
    assert!(client.call_all([], 1).await.is_empty());
}

// CL4
async fn a_time_limit_keeps_what_has_come() {
    let (listener, at) = listen();
    let client = client(at);
    let server = async {
        let mut peer = accept(&listener).await;
        for n in 0..3 {
            let _ = peer.recv().await.unwrap().unwrap();
            peer.send(&format!("re {n}")).await.unwrap();
        }
        peer.flush().await.unwrap();
        while let Ok(Some(_)) = peer.recv().await {}
    };
    // Long enough for three replies on a busy machine; it has to pass, for there is no fourth.
    let limit = Duration::from_millis(300);
    let all = async { client.call_all((0..6).map(text), 2).timeout(limit).await };
    let (results, ()) = join(all, server).await;
    let finished = results.iter().take_while(|result| result.is_ok()).count();
    assert_eq!(finished, 3, "{results:?}");
    for (n, result) in results.iter().enumerate().skip(3) {
        let error = result.as_ref().unwrap_err();
        let delivery = match n {
            3 | 4 => Delivery::MaybeSent,
            _ => Delivery::NotSent,
        };
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Elapsed, delivery)
        );
    }
    // Late replies are nobody's.
    let (reply, _) = beside_echo(&listener, async { client.call(&text("next")).await }).await;
    assert_eq!(reply.unwrap(), "re next");
    // Who never had a turn.
    let past = client.call_all([text(1)], 1).deadline(now()).await;
    assert_eq!(past[0].as_ref().unwrap_err().delivery(), Delivery::NotSent);
}

// CL4
async fn a_break_fails_those_in_flight() {
    let (listener, at) = listen();
    let client = client(at);
    let server = async {
        let mut peer = accept(&listener).await;
        for _ in 0..3 {
            peer.recv().await.unwrap();
        }
        peer.send(&text("re 0")).await.unwrap();
        peer.close().await.unwrap();
    };
    let all = async { client.call_all((0..3).map(text), 3).await };
    let (results, ()) = join(all, server).await;
    assert_eq!(results[0].as_deref().unwrap(), "re 0");
    for result in &results[1..] {
        let error = result.as_ref().unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Ended, Delivery::MaybeSent)
        );
    }
}

// CL1, CL4
async fn many_calls_to_nobody_share_one_attempt() {
    let dials = Count::default();
    let counted = dials.clone();
    let client = Client::with_dial(move || {
        let number = counted.up();
        async move {
            yield_now().await;
            let error = Error::new(Operation::Connect, ErrorKind::Refused);
            Err(error.with_place(format!("dial {number}")))
        }
    });
    for round in 1..3 {
        let all = client.call_all((0..100).map(text), 8).await;
        assert_eq!(all.len(), 100);
        for result in all {
            let error: Error = result.map(|_: String| ()).unwrap_err();
            assert_eq!(error.place(), Some(&format!("dial {round}")[..]));
            assert_eq!(error.delivery(), Delivery::NotSent);
        }
        assert_eq!(dials.get(), round);
    }
}

// CL4
#[test]
fn calls_cut_anywhere_never_shift_replies() {
    for seed in 0..150 {
        in_sim(seed, async {
            let (listener, at) = listen();
            let client = client(at);
            let server = async {
                let mut serving = Vec::new();
                loop {
                    let mut next = Box::pin(accept(&listener));
                    let peer = poll_fn(|cx| {
                        serving.retain_mut(|one: &mut LocalBoxFuture<'_, ()>| {
                            one.as_mut().poll(cx).is_pending()
                        });
                        next.as_mut().poll(cx)
                    })
                    .await;
                    serving.push(Box::pin(async move {
                        let mut peer = peer;
                        while let Ok(Some(line)) = peer.recv().await {
                            sleep(random(4)).await;
                            if peer.send(&format!("re {line}")).await.is_err() {
                                return;
                            }
                        }
                    }));
                }
            };
            let replies = Count::default();
            let callers = (0..12).map(|n| {
                let (client, replies) = (client.clone(), replies.clone());
                async move {
                    for round in 0..6 {
                        let asked = format!("{n}.{round}");
                        let cut = move_on_after(random(40), client.call(&asked)).await;
                        if let Some(reply) = cut.done() {
                            assert_eq!(reply.unwrap(), format!("re {asked}"));
                            replies.up();
                        }
                    }
                }
            });
            select(pin!(join_all(callers)), pin!(server)).await;
            assert!(replies.get() > 0, "nobody was answered");
        });
    }
}

/// Up to so many milliseconds.
fn random(most: u64) -> Duration {
    let drawn = bowline_backend::Backend::current().unwrap().random_u64();
    Duration::from_micros(drawn % (most * 1000))
}
