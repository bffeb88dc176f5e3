//! TCP listeners at several addresses as one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::ByteStreamExt;
use bowline_transport::{
    ErrorKind, Listener, Listeners, ListenersBuilder, Operation, TcpConnector,
};
use futures_util::FutureExt;

fn loopback(port: u16) -> ListenersBuilder {
    Listeners::builder(port).host("127.0.0.1").host("::1")
}

fn addresses(listeners: &Listeners) -> Vec<SocketAddr> {
    let local = listeners.local_addrs().unwrap();
    local
        .iter()
        .map(|address| address.as_inet().unwrap())
        .collect()
}

/// One test for each backend.
macro_rules! on_every_backend {
    ($($case:ident,)*) => {
        mod on_tokio { $(#[test] fn $case() { super::Backend::Tokio.block_on(super::$case()); })* }
        mod on_smol { $(#[test] fn $case() { super::Backend::Smol.block_on(super::$case()); })* }
        mod on_async_std {
            $(#[test] fn $case() { super::Backend::AsyncStd.block_on(super::$case()); })*
        }
        mod in_sim {
            $(#[test] fn $case() {
                for seed in 0..20 {
                    bowline_sim::block_on(seed, super::$case());
                }
            })*
        }
    };
}

on_every_backend!(
    every_address_once,
    all_interfaces,
    listeners_take_turns,
    a_batch_is_what_is_there,
    one_failure_closes_all,
    a_port_is_free_again_at_once,
);

// T11
async fn every_address_once() {
    let listeners = loopback(0).host("127.0.0.1").bind().await.unwrap();
    let [v4, v6] = addresses(&listeners)[..] else {
        panic!("{listeners:?}");
    };
    assert!(v4.is_ipv4() && v6.is_ipv6() && v4.port() != 0 && v6.port() != 0);
    let again = loopback(0).same_port().bind().await.unwrap();
    let ports: BTreeSet<u16> = addresses(&again).iter().map(SocketAddr::port).collect();
    assert_eq!((addresses(&again).len(), ports.len()), (2, 1));
    // One family each: the port of the IPv6 listener can be had for IPv4.
    let both = Listeners::builder(v6.port()).host("127.0.0.1").bind().await;
    assert!(both.is_ok() || v4.port() == v6.port());
}

// T11
async fn all_interfaces() {
    let mut listeners = Listeners::builder(0).same_port().bind().await.unwrap();
    let local = addresses(&listeners);
    assert_eq!(local.len(), 2, "{local:?}");
    for to in ["127.0.0.1", "::1"] {
        let to = SocketAddr::new(to.parse().unwrap(), local[0].port());
        let _stream = TcpStream::connect(to).await.unwrap();
        let (_accepted, peer) = listeners.accept().await.unwrap();
        assert_eq!(peer.as_inet().unwrap().ip(), to.ip());
    }
}

/// `count` connections to each of `listeners`, all of them made.
async fn connect_each(listeners: &Listeners, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        for to in addresses(listeners) {
            streams.push(TcpStream::connect(to).await.unwrap());
        }
    }
    streams
}

// T11
async fn listeners_take_turns() {
    let mut listeners = loopback(0).bind().await.unwrap();
    let _streams = connect_each(&listeners, 4).await;
    let mut families = Vec::new();
    for _ in 0..8 {
        let (_, peer) = listeners.accept().await.unwrap();
        families.push(peer.as_inet().unwrap().is_ipv6());
    }
    // The first may be of either; from there on they alternate.
    assert!(
        families.windows(2).all(|two| two[0] != two[1]),
        "{families:?}"
    );
    assert!(listeners.accept().now_or_never().is_none());
}

// T11
async fn a_batch_is_what_is_there() {
    let mut listeners = loopback(0).bind().await.unwrap();
    let most = NonZeroUsize::new(5).unwrap();
    assert!(listeners.accept_batch(most).now_or_never().is_none());
    let _streams = connect_each(&listeners, 4).await;
    let mut batches = Vec::new();
    while batches.iter().sum::<usize>() < 8 {
        batches.push(listeners.accept_batch(most).await.unwrap().len());
    }
    assert_eq!(batches.iter().sum::<usize>(), 8, "{batches:?}");
    assert!(
        batches.iter().all(|batch| (1..=5).contains(batch)),
        "{batches:?}"
    );
    assert!(listeners.accept_batch(most).now_or_never().is_none());
}

// T11
async fn one_failure_closes_all() {
    let taken = TcpListener::bind("[::1]:0".parse().unwrap()).unwrap();
    let port = taken.local_addr().unwrap().port();
    // Somebody else may have that port of IPv4; then both fail.
    let error = loopback(port).bind().await.unwrap_err();
    assert_eq!(
        (error.operation(), error.kind()),
        (Operation::Bind, ErrorKind::Address)
    );
    let failed: Vec<_> = error
        .attempts()
        .iter()
        .map(|one| one.address().clone())
        .collect();
    assert!(
        failed.contains(&taken.local_addr().unwrap().into()),
        "{error}"
    );
    if failed.len() == 1 {
        drop(taken);
        assert_eq!(addresses(&loopback(port).bind().await.unwrap()).len(), 2);
    }
    let nowhere = Listeners::builder(0).host("").bind().await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Connect);
}

// T11
async fn a_port_is_free_again_at_once() {
    // Somebody else may be given the port before us, but not each time.
    for _ in 0..5 {
        let mut listeners = loopback(0).same_port().bind().await.unwrap();
        let port = addresses(&listeners)[0].port();
        for to in addresses(&listeners) {
            leave_in_time_wait(&mut listeners, to).await;
        }
        drop(listeners);
        if loopback(port).bind().await.is_ok() {
            return;
        }
    }
    panic!("a port with connections in TIME_WAIT was never free");
}

/// Whoever ends first has the connection in TIME_WAIT: the side that accepted.
async fn leave_in_time_wait(listeners: &mut Listeners, to: SocketAddr) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let (mut accepted, _) = listeners.accept().await.unwrap();
    accepted.shutdown().await.unwrap();
    let mut read = bytes::BytesMut::new();
    let most = NonZeroUsize::MIN;
    assert_eq!(stream.read_into(&mut read, most).await.unwrap(), 0);
    stream.shutdown().await.unwrap();
    assert_eq!(accepted.read_into(&mut read, most).await.unwrap(), 0);
}

/// On systems, whose probes they are.
// T11
#[test]
fn what_is_accepted_is_probed_when_it_is_silent() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        backend.block_on(async {
            let mut listeners = Listeners::builder(0)
                .host("127.0.0.1")
                .bind()
                .await
                .unwrap();
            let dialling = TcpConnector::new(addresses(&listeners)[0]);
            let stream = dialling.connect().await.unwrap();
            let dialled = stream.raw_socket().unwrap();
            let (accepted, _) = listeners.accept().await.unwrap();
            let probes = accepted.raw_socket().unwrap().keepalive().unwrap();
            assert!(probes.is_some());
            assert_eq!(probes, dialled.keepalive().unwrap());
        });
    }
}
