//! What is lost with a connection is counted, and never sent again.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_backend::stream::ByteStream;
use bowline_codec::{Framing, LengthDelimited, Lines, Raw};
use bowline_concurrency::{Backoff, sleep, timeout};
use bowline_transport::{
    Break, Client, Delivery, DynTransport, ErrorKind, Listener, MemoryStream, MessageStream,
    MessageStreamBuilder, Transport, TransportRecv, TransportRegistry, TransportSend,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, join, select};

use crate::reconnecting::{MS, plain};
use crate::{Count, accept, client, in_sim, listen, text};

// CL2
#[test]
fn frames_that_were_not_wholly_written_are_counted_and_not_sent_again() {
    for (queued, capacity, unsent) in [(1, 64, 0), (2, 64, 1), (3, 64, 2), (3, 72, 1), (9, 1, 9)] {
        in_sim(7, async move {
            // A frame is 36 bytes on the wire.
            let codec = || LengthDelimited::u32().with(Raw::new());
            let peers: Arc<Mutex<Vec<MemoryStream>>> = Arc::default();
            let other = peers.clone();
            let client = Client::with_dial(move || {
                let (here, there) = MemoryStream::builder().capacity(capacity).pair();
                other.lock().unwrap().push(there);
                let here = MessageStream::new(here, codec());
                async move { Ok(DynTransport::new(here)) }
            });
            let client = client.reconnect(plain(MS));
            for n in 0..queued {
                client.send(&Bytes::from(vec![n; 32])).await.unwrap();
            }
            peers.lock().unwrap().pop().unwrap().abort();
            let error = client.recv().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset));
            assert_eq!(
                error.unsent_frames(),
                unsent,
                "{queued} queued, room for {capacity}"
            );
            client.connect().await.unwrap();
            let there = peers.lock().unwrap().pop().unwrap();
            let mut there = MessageStream::new(there, codec());
            let quiet = client.recv().now_or_never();
            assert!(quiet.is_none(), "told twice: {quiet:?}");
            assert!(there.recv().now_or_never().is_none(), "sent twice");
            let last = Bytes::from_static(b"fresh");
            let other = client.clone(); // that nothing was lost of
            let send = async {
                other.send(&last).await.unwrap();
                other.flush().await.unwrap();
            };
            let ((), received) = join(send, there.recv()).await;
            assert_eq!(received.unwrap(), Some(last.clone()));
        });
    }
}

/// A client over memory that takes `capacity` bytes, and the other ends of its connections.
pub(crate) fn narrow(capacity: usize) -> (Client<String, String>, Arc<Mutex<Vec<MemoryStream>>>) {
    let peers: Arc<Mutex<Vec<MemoryStream>>> = Arc::default();
    let other = peers.clone();
    let client = Client::with_dial(move || {
        let (here, there) = MemoryStream::builder().capacity(capacity).pair();
        other.lock().unwrap().push(there);
        let here = MessageStream::new(here, Lines::lf().text());
        async move { Ok(DynTransport::new(here)) }
    });
    (client.reconnect(plain(MS)), peers)
}

// CL2, TR1
#[test]
fn a_flush_tells_of_what_went_with_its_connection() {
    in_sim(8, async {
        let (client, peers) = narrow(8);
        let other = client.clone();
        client.send(&text("longer than that")).await.unwrap();
        let flush = async {
            let waits = client.flush().now_or_never();
            assert!(waits.is_none(), "the peer reads nothing: {waits:?}");
            peers.lock().unwrap().pop().unwrap().abort();
            client.flush().await
        };
        // The break is seen by who receives, while another one flushes or before he does.
        let received = client.recv().now_or_never();
        assert!(received.is_none(), "{received:?}");
        let receive = async { client.recv().await };
        let (received, flushed) = join(receive, flush).await;
        assert_eq!(received.unwrap_err().unsent_frames(), 1);
        let error = flushed.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
        let (delivery, unsent) = (error.delivery(), error.unsent_frames());
        assert_eq!((delivery, unsent), (Delivery::MaybeSent, 1), "{error}");
        client.flush().await.unwrap(); // told once

        other.send(&text("gone")).await.unwrap();
        other.send(&text("gone as well")).await.unwrap();
        peers.lock().unwrap().pop().unwrap().abort();
        client.recv().await.unwrap_err();
        client.send(&text("here")).await.unwrap();
        client.flush().await.unwrap(); // it has queued nothing on the one that went
        let error = other.flush().await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::MaybeSent, "{error}");
        other.flush().await.unwrap();
    });
}

// CL2, CL4
#[test]
fn what_goes_with_a_call_that_is_given_up_is_told_to_who_receives() {
    in_sim(12, async {
        let (client, peers) = narrow(8);
        client.connect().await.unwrap();
        let there = peers.lock().unwrap().pop().unwrap();
        let mut there = MessageStream::new(there, Lines::lf().text());
        there.send(&text("news")).await.unwrap();
        there.flush().await.unwrap();
        let (other, asked) = (client.clone(), text("?"));
        other.send(&text("longer than that")).await.unwrap();
        timeout(100 * MS, client.call(&asked)).await.unwrap_err();
        // Those beside each other are one; of the second nothing is left.
        timeout(100 * MS, client.call(&asked)).await.unwrap_err();
        assert_eq!(client.recv().await.unwrap(), Some(text("news")));
        let error = client.recv().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken(Break::Other));
        let (delivery, unsent) = (error.delivery(), error.unsent_frames());
        assert_eq!((delivery, unsent), (Delivery::MaybeSent, 2), "{error}");
        let quiet = client.recv().now_or_never();
        assert!(quiet.is_none(), "told twice: {quiet:?}");
        assert_eq!(other.flush().await.unwrap_err().unsent_frames(), 2);

        // So it is where the call failed, though the connection would have gone on.
        let client = Client::with_dial(|| {
            let (here, there) = MemoryStream::pair();
            std::mem::forget(there);
            let builder = MessageStreamBuilder::default().read_idle_timeout(20 * MS);
            let here = builder.over(here, Lines::lf().text());
            async move { Ok(DynTransport::new(here)) }
        });
        let client = client.reconnect(plain(MS));
        let late = client.call(&asked).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Elapsed);
        let error = client.recv().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken(Break::Other));
    });
}

// CL2, TR5
#[test]
fn a_shutdown_tells_of_what_went_with_its_connection() {
    in_sim(9, async {
        for written in [true, false] {
            let (client, peers) = narrow(if written { 64 } else { 8 });
            client.send(&text("longer than that")).await.unwrap();
            peers.lock().unwrap().pop().unwrap().abort();
            client.recv().await.unwrap_err();
            let ended = client.shutdown().await;
            assert_eq!(ended.is_ok(), written, "{ended:?}");
            if let Err(error) = ended {
                assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
                assert_eq!(error.delivery(), Delivery::MaybeSent);
            }
            client.shutdown().await.unwrap();
            let late = client.send(&text("late")).await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Closed);
        }
    });
}

/// A flush has nothing to say of what was handed to the stream, whatever became of it there.
// CL2, TR11
#[test]
fn what_was_written_is_flushed_though_the_connection_is_gone() {
    in_sim(10, async {
        let (client, peers) = narrow(64);
        client.send(&text("short")).await.unwrap();
        peers.lock().unwrap().pop().unwrap().abort();
        client.recv().await.unwrap_err();
        client.flush().await.unwrap();

        let registry = TransportRegistry::with_builtin(|| Lines::lf().text());
        let mut listener = registry.memory().listen("shop").unwrap();
        let transport = registry.open("mem://shop?reconnect=true").unwrap();
        let (mut sender, mut receiver) = transport.into_split();
        let long = || "x".repeat(60_000);
        for (messages, is_written) in [(vec![text("short")], true), (vec![long(), long()], false)] {
            for message in messages {
                sender.send(&message).await.unwrap();
            }
            let (there, _) = listener.accept().await.unwrap();
            there.abort();
            receiver.recv().await.unwrap_err();
            let flushed = sender.flush().await;
            assert_eq!(flushed.is_ok(), is_written, "{flushed:?}");
        }
        sender.flush().await.unwrap();
    });
}

// CL1, TR6
#[test]
fn a_second_close_has_the_result_of_the_first() {
    in_sim(11, async {
        let (client, peers) = narrow(8);
        let other = client.clone();
        client.send(&text("longer than that")).await.unwrap();
        // The peer reads nothing.
        let (first, second) = join(client.close(), other.close()).await;
        for result in [first, second, client.close().await] {
            let error = result.unwrap_err();
            assert_eq!(
                (error.kind(), error.unsent_frames()),
                (ErrorKind::Elapsed, 1)
            );
        }
        drop(peers);

        let (client, _peers) = narrow(8);
        client.send(&text("longer than that")).await.unwrap();
        let mut first = Box::pin(client.close());
        assert!(first.as_mut().now_or_never().is_none());
        let other = client.clone();
        let mut second = Box::pin(other.close());
        assert!(
            second.as_mut().now_or_never().is_none(),
            "the first goes on"
        );
        drop(first);
        let error = second.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Closed, Delivery::MaybeSent)
        );

        let (client, _peers) = narrow(64);
        client.send(&text("written")).await.unwrap();
        client.abort();
        client.close().await.unwrap(); // there is nothing to wait for
    });
}

/// Every frame arrives at most once, in order, and each break is told once, whatever is cut where.
// CL2
#[test]
fn over_many_breaks_nothing_is_sent_twice() {
    for seed in 0..60 {
        in_sim(seed, async {
            let (listener, at) = listen();
            let client = client(at).reconnect(Backoff::exponential(10 * MS).max(40 * MS));
            let (got, breaks) = (Mutex::new(Vec::new()), Count::default());
            let server = async {
                for _ in 0..20 {
                    let mut peer = accept(&listener).await;
                    for _ in 0..draw(8) {
                        match timeout(5 * MS, peer.recv()).await {
                            Ok(Ok(Some(line))) => got.lock().unwrap().push(line),
                            _ => break,
                        }
                    }
                    match draw(2) {
                        0 => peer.abort(),
                        _ => drop(peer.close().await),
                    }
                }
            };
            let sending = async {
                for n in 0u32.. {
                    client.send(&text(n)).await.unwrap();
                    sleep(Duration::from_micros(draw(1500))).await;
                }
            };
            let receiving = async {
                loop {
                    match client.recv().await {
                        Ok(got) => panic!("{got:?} of a server that says nothing"),
                        Err(error) => {
                            assert!(
                                matches!(error.kind(), ErrorKind::Broken(_) | ErrorKind::Ended),
                                "{error}"
                            );
                            breaks.up();
                        }
                    }
                }
            };
            let using = pin!(join(sending, receiving));
            match select(pin!(server), using).await {
                Either::Left(((), _)) => {}
                Either::Right(_) => unreachable!("they go on"),
            }
            let got: Vec<u32> = got
                .lock()
                .unwrap()
                .iter()
                .map(|n| n.parse().unwrap())
                .collect();
            assert!(
                got.is_sorted_by(|one, next| one < next),
                "seed {seed}: {got:?}"
            );
            // The last break may not have been seen.
            assert!(
                (19..=20).contains(&breaks.get()),
                "seed {seed}: {}",
                breaks.get()
            );
        });
    }
}

fn draw(below: u64) -> u64 {
    bowline_backend::Backend::current().unwrap().random_u64() % below
}

// CL2, TR11
#[test]
fn a_message_whose_permit_outlived_its_connection_is_counted() {
    for query in ["", "?reconnect=yes"] {
        in_sim(3, async move {
            let registry = TransportRegistry::with_builtin(|| Lines::lf().text());
            let mut listener = registry.memory().listen("shop").unwrap();
            let transport = registry.open(&format!("mem://shop{query}")).unwrap();
            let (mut sender, mut receiver) = transport.into_split();
            sender.send(&text("first")).await.unwrap();
            let (there, _) = listener.accept().await.unwrap();
            let permit = sender.reserve().await.unwrap();
            there.abort();
            receiver.recv().await.unwrap_err();
            permit.send(&text("lost")).unwrap();
            let error = sender.flush().await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
            assert_eq!(error.unsent_frames(), 1);
            if !query.is_empty() {
                // There is no connection that could still count it, so it is told once.
                assert_eq!(error.delivery(), Delivery::NotSent);
                sender.flush().await.unwrap();
            }
        });
    }
}

// CL4, SV6
#[test]
fn what_is_fed_goes_out_together() {
    in_sim(4, async {
        let peers: Arc<Mutex<Vec<MemoryStream>>> = Arc::default();
        let other = peers.clone();
        let client: Client<String, String> = Client::with_dial(move || {
            let (here, there) = MemoryStream::pair();
            other.lock().unwrap().push(there);
            let here = MessageStream::new(here, Lines::lf().text());
            async move { Ok(DynTransport::new(here)) }
        });
        for n in 0..3 {
            client.feed(&text(n)).await.unwrap();
        }
        let there = peers.lock().unwrap().pop().unwrap();
        let mut there = MessageStream::new(there, Lines::lf().text());
        assert!(there.recv().now_or_never().is_none(), "it was written");
        // A receiver that has to wait writes it, as a flush does.
        assert!(client.recv().now_or_never().is_none());
        for n in 0..3 {
            assert_eq!(there.recv().await.unwrap(), Some(text(n)));
        }
        client.feed(&text("last")).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(there.recv().await.unwrap(), Some(text("last")));
    });
}
