//! What is lost with a connection is counted, and never sent again.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_backend::stream::ByteStream;
use bowline_codec::{Framing, LengthDelimited, Lines, Raw};
use bowline_concurrency::{Backoff, Jitter, sleep, timeout};
use bowline_transport::{
    Break, Client, Delivery, DynTransport, ErrorKind, Listener, MemoryStream, MessageStream,
    Transport, TransportRecv, TransportRegistry, TransportSend,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, join, select};

use crate::{Count, accept, client, in_sim, listen, text};

const MS: Duration = Duration::from_millis(1);

fn plain(base: Duration) -> Backoff {
    Backoff::exponential(base).jitter(Jitter::None)
}

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
            let send = async {
                client.send(&last).await.unwrap();
                client.flush().await.unwrap();
            };
            let ((), received) = join(send, there.recv()).await;
            assert_eq!(received.unwrap(), Some(last.clone()));
        });
    }
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
