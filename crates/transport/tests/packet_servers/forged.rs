//! A socket that says what it likes of senders, as a network may.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::net::Received;
use bowline_backend::stream::Address;
use bowline_codec::Text;
use bowline_concurrency::sync::Event;
use bowline_concurrency::timeout;
use bowline_transport::Transport as _;
use bowline_transport::{DatagramRecv, DatagramSend, Error, Extra, PacketLimits, Packets, Server};
use bytes::BytesMut;
use futures_util::future::join;

use crate::{bind, client, send, until};

pub(crate) const SEEDS: u64 = 3;

/// Addresses that each send one packet.
const FORGED: usize = 100_000;

/// Packets of the one peer that is always there.
const STEADY: usize = 10_000;

/// How many of its packets wait at most.
const MOST: usize = 64;

/// Every eleventh packet is of one peer, the others of one address each.
#[derive(Default)]
struct Forging {
    given: AtomicUsize,
    waited: AtomicBool,
}

impl Forging {
    fn packet(n: usize) -> (SocketAddr, String) {
        match n % 11 {
            0 => (
                SocketAddr::from((Ipv4Addr::LOCALHOST, 7)),
                (n / 11).to_string(),
            ),
            _ => {
                let address = Ipv4Addr::from_bits(0x0a00_0000 + n as u32);
                (SocketAddr::from((address, 9)), "forged".to_owned())
            }
        }
    }
}

impl DatagramRecv for Forging {
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        _: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        let n = self.given.load(Ordering::Acquire);
        if n == FORGED + STEADY {
            return Poll::Pending; // for ever
        }
        // Now and then it has to be waited for.
        if n % 500 == 499 && !self.waited.swap(true, Ordering::Relaxed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waited.store(false, Ordering::Relaxed);
        self.given.store(n + 1, Ordering::Release);
        let (from, text) = Forging::packet(n);
        buffer.extend_from_slice(text.as_bytes());
        Poll::Ready(Ok(Received::new(text.len(), Some(from.into()))))
    }

    async fn recv_from(&self, buffer: &mut BytesMut, max: NonZeroUsize) -> io::Result<Received> {
        std::future::poll_fn(|cx| self.poll_recv_from(cx, buffer, max)).await
    }

    fn hears(&self) -> Option<Address> {
        None
    }
}

impl DatagramSend for Forging {
    fn poll_send(&self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    async fn send_to(&self, _: &[u8], _: &Address) -> io::Result<()> {
        Ok(())
    }

    fn max_packet(&self) -> usize {
        1000
    }
}

impl Extra for Forging {}

// SV7
pub(crate) async fn a_flood_from_forged_peers_is_bounded() {
    let server = Server::over_datagrams(Forging::default())
        .codec(Text::new)
        .bind()
        .await
        .unwrap();
    let handle = server.handle();
    let awake = Arc::new(Event::new());
    let steady = Arc::new(Mutex::new(Vec::<usize>::new()));
    let serving = {
        let (awake, steady) = (awake.clone(), steady.clone());
        server.serve_fn(move |_, mut packets: Packets<_, Text>| {
            let (awake, steady) = (awake.clone(), steady.clone());
            async move {
                awake.wait().await;
                while let Some(text) = packets.recv().await? {
                    if let Ok(number) = text.parse() {
                        steady.lock().unwrap().push(number);
                    }
                }
                Ok::<_, Error>(())
            }
        })
    };
    let watching = async {
        let all = (FORGED + STEADY) as u64;
        let mut turn = 0;
        until(|| {
            turn += 1;
            assert!(handle.peers() <= 4096);
            // To look at all of them takes long.
            assert!(turn % 100 != 0 || handle.waiting_packets() < 4096 + MOST);
            handle.counters().received == all
        })
        .await;
        assert_eq!(handle.peers(), 4096);
        awake.set();
        handle.drain(Duration::from_secs(100)).await
    };
    let (served, report) = join(serving, watching).await;
    served.unwrap();
    assert_eq!(
        (report.finished, handle.peers(), handle.waiting_packets()),
        (4096, 0, 0)
    );
    // The newest of the steady peer, in their order.
    assert_eq!(
        *steady.lock().unwrap(),
        Vec::from_iter(STEADY - MOST..STEADY)
    );
    let counters = handle.counters();
    assert_eq!(counters.refused, (FORGED - 4095) as u64);
    assert_eq!(counters.overflowed, (STEADY - MOST) as u64);
    assert_eq!(counters.taken, (4095 + MOST) as u64);
    assert_eq!((counters.unhandled, counters.completed), (0, 4096));
}

/// Fails, then gives one packet, over and over.
struct Failing {
    errors: Mutex<Vec<i32>>,
    given: AtomicUsize,
}

impl DatagramRecv for Failing {
    fn poll_recv_from(
        &self,
        _: &mut Context<'_>,
        buffer: &mut BytesMut,
        _: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        if let Some(code) = self.errors.lock().unwrap().pop() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(code)));
        }
        if self.given.fetch_add(1, Ordering::Relaxed) == 0 {
            buffer.extend_from_slice(b"after all");
            let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
            return Poll::Ready(Ok(Received::new(9, Some(from.into()))));
        }
        Poll::Pending
    }

    async fn recv_from(&self, buffer: &mut BytesMut, max: NonZeroUsize) -> io::Result<Received> {
        std::future::poll_fn(|cx| self.poll_recv_from(cx, buffer, max)).await
    }

    fn hears(&self) -> Option<Address> {
        None
    }
}

impl DatagramSend for Failing {
    fn poll_send(&self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    async fn send_to(&self, _: &[u8], _: &Address) -> io::Result<()> {
        Ok(())
    }

    fn max_packet(&self) -> usize {
        1000
    }
}

impl Extra for Failing {}

// SV7
pub(crate) async fn failures_of_the_socket_are_survived() {
    // ENOMEM, EHOSTUNREACH and EBADF of Linux.
    const NO_MEMORY: i32 = 12;
    const UNREACHABLE: i32 = 113;
    const BAD_DESCRIPTOR: i32 = 9;
    let over = |errors: Vec<i32>| {
        let socket = Failing {
            errors: Mutex::new(errors),
            given: AtomicUsize::new(0),
        };
        Server::over_datagrams(socket).codec(Text::new)
    };
    let server = over(vec![NO_MEMORY, UNREACHABLE, UNREACHABLE])
        .bind()
        .await
        .unwrap();
    let handle = server.handle();
    let stops = handle.clone();
    let serving = server.serve_each(move |_, text: String| {
        let stops = stops.clone();
        async move {
            assert_eq!(text, "after all");
            stops.stop_accepting();
            Ok::<_, Error>(())
        }
    });
    serving.await.unwrap();
    let counters = handle.counters();
    assert_eq!((counters.skipped, counters.exhausted), (2, 1));
    assert_eq!((counters.taken, counters.completed), (1, 1));

    let server = over(vec![BAD_DESCRIPTOR]).bind().await.unwrap();
    let handle = server.handle();
    let serving = server.serve_each(|_, _: String| async { Ok::<_, Error>(()) });
    assert!(serving.await.is_err());
    assert!(!handle.is_serving());
}

// SV7
pub(crate) async fn who_means_well_gets_in_among_forged_peers() {
    const PLACES: usize = 4;
    // Nobody leaves by himself.
    let ages = Duration::from_secs(1_000_000);
    let limits = PacketLimits::new().max_peers(PLACES).peer_idle(ages);
    let server = bind(limits).await;
    let handle = server.handle();
    let serving = server.serve_fn(crate::echo);
    let talking = async {
        for round in 0..20 {
            let mut forging = Vec::new();
            for _ in 0..PLACES {
                let mut forged = client(&handle);
                send(&mut forged, "forged").await;
                forging.push(forged);
            }
            let mut honest = client(&handle);
            let said = format!("honest {round}");
            // Where all handlers are at work for the moment, a packet is lost.
            loop {
                send(&mut honest, said.clone()).await;
                match timeout(Duration::from_millis(500), honest.recv()).await {
                    Ok(answer) => break assert_eq!(answer.unwrap(), Some(said)),
                    Err(_) => assert!(handle.peers() <= PLACES),
                }
            }
            drop(forging);
        }
        handle.drain(Duration::from_secs(60)).await
    };
    let (served, report) = join(serving, talking).await;
    served.unwrap();
    let counters = handle.counters();
    assert!(report.finished <= PLACES, "{report:?}");
    assert!(counters.displaced as usize >= 20 - PLACES, "{counters:?}");
    assert_eq!(counters.received, counters.taken + counters.refused);
    assert_eq!(handle.waiting_packets(), 0);
}
