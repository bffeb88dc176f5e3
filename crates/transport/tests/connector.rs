//! Dialling over TCP: the addresses of a host, tried as Happy Eyeballs says.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{Family, Query, ResolveError, TcpListener, TcpStream, resolve};
use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_backend::time::{now, sleep_until};
use bowline_sim::{Link, Report, Sim};
use bowline_transport::{ErrorKind, Extra, PeerAddr, TcpConnector};
use futures_util::future::{Either, select};

const PORT: u16 = 80;

async fn address(host: &str, family: Family) -> SocketAddr {
    let found = resolve(Query::host(host, PORT).family(family)).await;
    found.unwrap()[0]
}

/// Accepts, and sees every connection end.
async fn listening() -> io::Result<()> {
    for any in ["0.0.0.0", "::"] {
        let listener = TcpListener::bind(SocketAddr::new(any.parse().unwrap(), PORT))?;
        Sim::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                Sim::spawn(async move {
                    let mut read = bytes::BytesMut::new();
                    let most = std::num::NonZeroUsize::MIN;
                    while matches!(stream.read_into(&mut read, most).await, Ok(1)) {}
                });
            }
        });
    }
    std::future::pending().await
}

async fn idle() -> io::Result<()> {
    std::future::pending().await
}

/// Whether the world ends well under every seed: no socket of the client may be left in it.
fn over_seeds<F>(seeds: std::ops::Range<u64>, client: fn() -> F)
where
    F: Future<Output = ()> + 'static,
{
    let slow = Duration::from_millis(300);
    for seed in seeds {
        let world = Sim::builder()
            .seed(seed)
            .host("hole", listening)
            .host("far", listening)
            .host("near", listening)
            .host("refusing", idle)
            .client("client", client)
            .link("client", "hole", Link::lan().loss(1.0))
            .link("client", "far", Link::lan().latency(slow / 2..slow));
        let report: Report = world.run().unwrap_or_else(|failure| panic!("{failure}"));
        drop(report);
    }
}

// T1
#[test]
fn a_black_hole_costs_one_head_start() {
    over_seeds(0..100, || async {
        let hole = address("hole", Family::V6).await;
        let near = address("near", Family::V4).await;
        let start = now();
        // In whatever order the names said so: IPv6 goes first.
        let stream = TcpConnector::new(vec![near, hole]).connect().await.unwrap();
        let took = now() - start;
        assert_eq!(stream.extra::<PeerAddr>(), Some(near.into()));
        let head_start = Duration::from_millis(250);
        assert!(
            took >= head_start && took < head_start * 11 / 10,
            "{took:?}"
        );
    });
}

// T1
#[test]
fn a_refusal_costs_nothing_and_late_winners_are_closed() {
    over_seeds(100..200, || async {
        let addresses = vec![
            address("refusing", Family::V6).await,
            // Answers about when the one after it does.
            address("far", Family::V4).await,
            address("near", Family::V6).await,
            address("near", Family::V4).await,
        ];
        let start = now();
        let connector = TcpConnector::new(addresses.clone());
        let stream = connector.clone().connect().await.unwrap();
        assert!(now() - start < Duration::from_millis(350));
        assert_ne!(stream.peer_addr().unwrap(), addresses[0].into());
        drop(stream);
        // Without a head start all run at once, and the near ones win together.
        let stream = connector
            .happy_eyeballs(Duration::ZERO)
            .connect()
            .await
            .unwrap();
        assert_ne!(stream.peer_addr().unwrap(), addresses[1].into());
    });
}

// T1, TR12
#[test]
fn attempts_that_all_fail_are_all_told() {
    over_seeds(200..230, || async {
        let refused = [
            address("refusing", Family::V6).await,
            address("refusing", Family::V4).await,
        ];
        let error = TcpConnector::new(refused.to_vec())
            .connect()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.is_connection() && error.is_retryable());
        let tried: Vec<_> = error
            .attempts()
            .iter()
            .map(|one| one.address().clone())
            .collect();
        assert_eq!(tried, refused.map(Into::into));
        for attempt in error.attempts() {
            assert_eq!(attempt.error().kind(), io::ErrorKind::ConnectionRefused);
            assert!(error.to_string().contains(&attempt.to_string()), "{error}");
        }

        let start = now();
        let hole = address("hole", Family::V4).await;
        let connector = TcpConnector::new(vec![refused[0], hole]);
        let most = Duration::from_secs(5);
        let error = connector.connect_timeout(most).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectTimeout);
        assert!(error.is_timeout() && error.is_connection() && error.is_retryable());
        assert_eq!(error.attempts().len(), 1);
        assert!(now() - start >= most && now() - start < most * 11 / 10);
    });
}

// T1
#[test]
fn a_dropped_connect_closes_every_attempt() {
    over_seeds(230..260, || async {
        let addresses = vec![
            address("hole", Family::V6).await,
            address("far", Family::V4).await,
            address("hole", Family::V4).await,
        ];
        for after in [0, 100, 260, 400, 520] {
            let connector = TcpConnector::new(addresses.clone());
            let limit = sleep_until(now() + Duration::from_millis(after));
            let (connecting, limit) = (pin!(connector.connect()), pin!(limit));
            match select(connecting, limit).await {
                Either::Left((stream, _)) => drop(stream.unwrap()),
                Either::Right(((), _)) => {}
            }
        }
    });
}

// T1, TR12
#[test]
fn names_and_families_that_lead_nowhere() {
    over_seeds(260..265, || async {
        let error = TcpConnector::new(("nobody", PORT))
            .connect()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        let source = error.source().unwrap();
        assert!(
            source.downcast_ref::<ResolveError>().is_some(),
            "{source:?}"
        );

        let local = SocketAddr::new(address("client", Family::V4).await.ip(), 0);
        let v6 = TcpConnector::new(address("near", Family::V6).await).bind(local);
        let error = v6.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Address);
        let none = TcpConnector::new(Vec::new()).connect().await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::Address);

        let from = TcpConnector::new(("near", PORT)).bind(local);
        let stream = from.connect().await.unwrap();
        let ours = stream.local_addr().unwrap().as_inet().unwrap();
        assert_eq!(ours.ip(), local.ip());
    });
}

// T1
#[test]
fn the_first_address_that_answers_is_taken_on_real_sockets() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        backend.block_on(async {
            let local = || "127.0.0.1:0".parse().unwrap();
            let gone = TcpListener::bind(local()).unwrap().local_addr().unwrap();
            let listener = TcpListener::bind(local()).unwrap();
            let here = listener.local_addr().unwrap();

            let stream: TcpStream = TcpConnector::new(vec![gone, here]).connect().await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), here.into());
            let by_name = TcpConnector::new(("localhost", here.port()));
            let stream = by_name.connect().await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), here.into());

            let refused = TcpConnector::new(vec![gone, gone]).connect().await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Refused);
            assert_eq!(refused.attempts().len(), 2);
        });
    }
}
