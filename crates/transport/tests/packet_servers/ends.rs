//! How servers of packets end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_codec::Text;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{cancelled, sleep, sleep_forever};
use bowline_transport::{
    DatagramTransport, Error, ErrorKind, MemoryDatagram, PacketLimits, PacketPeer, Packets, Server,
    Transport,
};
use futures_util::future::{Either, join, select};

use crate::{bind, client, recv, send, until};

pub(crate) const SEEDS: u64 = 20;

const LONG: Duration = Duration::from_secs(60);

// SV5, SV7
pub(crate) async fn handlers_that_wait_leave_at_once() {
    let server = bind(PacketLimits::new()).await;
    let handle = server.handle();
    assert!(!handle.is_serving());
    let serving = server.serve_fn(crate::echo);
    let talking = async {
        let mut clients = [client(&handle), client(&handle)];
        for client in &mut clients {
            send(client, "hello").await;
            assert_eq!(recv(client).await, "hello");
        }
        assert!(handle.is_serving() && handle.peers() == 2);
        handle.drain(LONG).await
    };
    let (served, report) = join(serving, talking).await;
    served.unwrap();
    assert_eq!(
        (report.finished, report.cancelled, report.aborted),
        (2, 0, 0)
    );
    assert!(!handle.is_serving());
    // Nothing is received any more, nor waits in a socket.
    assert_eq!(handle.drain(LONG).await.finished, 2);
}

// SV5, SV7
pub(crate) async fn what_waits_is_handed_out_first() {
    let server = bind(PacketLimits::new()).await;
    let handle = server.handle();
    let awake = Arc::new(Event::new());
    let found = Arc::new(AtomicUsize::new(0));
    let serving = {
        let (awake, found) = (awake.clone(), found.clone());
        server.serve_fn(move |_, mut packets: Packets<_, Text>| {
            let (awake, found) = (awake.clone(), found.clone());
            async move {
                awake.wait().await;
                assert!(packets.is_draining() && packets.waiting() > 0);
                // Only one: the others begin runs of their own.
                found.fetch_add(
                    usize::from(packets.recv().await?.is_some()),
                    Ordering::Relaxed,
                );
                Ok::<_, Error>(())
            }
        })
    };
    let talking = async {
        let mut client = client(&handle);
        for n in 0..10 {
            send(&mut client, n.to_string()).await;
        }
        until(|| handle.counters().received == 10).await;
        handle.stop_accepting();
        awake.set();
    };
    join(serving, talking).await.0.unwrap();
    assert_eq!(found.load(Ordering::Relaxed), 10);
}

// SV5, SV7
pub(crate) async fn stuck_handlers_are_cut_after_deadline_and_grace() {
    let limits = PacketLimits::new().grace(Duration::from_millis(20));
    let server = bind(limits).await;
    let handle = server.handle();
    let serving = server.serve_each(|_, text: String| async move {
        match text.as_str() {
            "obeys" => drop(cancelled().await),
            _ => match sleep_forever().await {},
        }
        Ok::<_, Error>(())
    });
    let talking = async {
        let (mut obeys, mut stuck, mut queued) =
            (client(&handle), client(&handle), client(&handle));
        send(&mut obeys, "obeys").await;
        send(&mut stuck, "stuck").await;
        for _ in 0..3 {
            send(&mut queued, "stuck").await;
        }
        until(|| handle.counters().taken == 3 && handle.counters().received == 5).await;
        handle.drain(Duration::from_millis(20)).await
    };
    let (served, report) = join(serving, talking).await;
    served.unwrap();
    assert_eq!(
        (report.finished, report.cancelled, report.aborted),
        (0, 1, 2)
    );
    let counters = handle.counters();
    assert_eq!(
        (counters.cancelled, counters.unhandled, counters.taken),
        (2, 2, 3)
    );
}

// SV7
pub(crate) async fn a_peer_outlives_its_server() {
    let server = bind(PacketLimits::new()).await;
    let handle = server.handle();
    let kept = Arc::new(Mutex::new(None));
    let serving = {
        let kept = kept.clone();
        server.serve_each(move |peer: PacketPeer<_, Text>, _| {
            *kept.lock().unwrap() = Some(peer);
            async { Ok::<_, Error>(()) }
        })
    };
    let talking = async {
        let mut client = client(&handle);
        send(&mut client, "hello").await;
        until(|| kept.lock().unwrap().is_some()).await;
        let peer: PacketPeer<_, Text> = kept.lock().unwrap().clone().unwrap();
        peer.send(&"unasked".to_owned()).await.unwrap();
        assert_eq!(recv(&mut client).await, "unasked");
        handle.drain(LONG).await;
        peer
    };
    let (served, peer) = join(serving, talking).await;
    served.unwrap();
    let error = peer.send(&"late".to_owned()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.peer()),
        (ErrorKind::Closed, Some(peer.peer_addr()))
    );
}

// SV7
pub(crate) async fn a_dropped_server_cancels_all() {
    let server = bind(PacketLimits::new()).await;
    let handle = server.handle();
    let serving = server.serve_each(|_, _: String| async {
        sleep_forever().await;
        Ok::<_, Error>(())
    });
    let talking = async {
        send(&mut client(&handle), "hello").await;
        until(|| handle.counters().taken == 1).await;
    };
    match select(Box::pin(serving), Box::pin(talking)).await {
        Either::Left(_) => panic!("nobody ended it"),
        Either::Right(((), serving)) => drop(serving),
    }
    until(|| !handle.is_serving()).await;
    assert_eq!(handle.peers(), 0);
}

// SV7
pub(crate) async fn a_broken_socket_ends_the_server() {
    let (here, there) = MemoryDatagram::pair();
    let limits = PacketLimits::new().grace(Duration::from_millis(10));
    let server = Server::over_datagrams(here).codec(Text::new).limits(limits);
    let server = server.bind().await.unwrap();
    let handle = server.handle();
    let serving = server.serve_each(|_, _: String| async {
        sleep_forever().await;
        Ok::<_, Error>(())
    });
    let talking = async {
        let mut client = DatagramTransport::new(there, Text::new());
        client.send(&"hello".to_owned()).await.unwrap();
        until(|| handle.counters().taken == 1).await;
        drop(client);
    };
    let (served, ()) = join(serving, talking).await;
    assert!(served.unwrap_err().is_connection());
    assert_eq!((handle.peers(), handle.counters().cancelled), (0, 1));
}

// SV7
pub(crate) async fn every_kind_of_place() {
    let (here, there) = MemoryDatagram::pair();
    let server = Server::over_datagrams(here)
        .codec(Text::new)
        .bind()
        .await
        .unwrap();
    let handle = server.handle();
    let serving = server.serve_each(|peer, text: String| async move { peer.send(&text).await });
    let talking = async {
        let mut client = DatagramTransport::new(there, Text::new());
        client.send(&"in memory".to_owned()).await.unwrap();
        assert_eq!(client.recv().await.unwrap().as_deref(), Some("in memory"));
        handle.drain(LONG).await;
    };
    join(serving, talking).await.0.unwrap();
    at_a_host().await;
    #[cfg(target_os = "linux")]
    at_a_path().await;
    sleep(Duration::ZERO).await;
}

async fn at_a_host() {
    for host in ["localhost", "127.0.0.1"] {
        let server = Server::udp((host, 0)).codec(Text::new);
        let server = server.bind().await.unwrap();
        let handle = server.handle();
        let bound = handle.local_addrs()[0].as_inet().unwrap();
        assert!(bound.ip().is_loopback() && bound.port() > 0, "{bound}");
        let serving = server.serve_fn(crate::echo);
        let talking = async {
            let mut client = client(&handle);
            send(&mut client, "to a host").await;
            assert_eq!(recv(&mut client).await, "to a host");
            handle.drain(LONG).await;
        };
        join(serving, talking).await.0.unwrap();
    }
    // Who cannot be had says which address.
    let taken = bind(PacketLimits::new()).await;
    let port = taken.local_addrs()[0].as_inet().unwrap().port();
    let again = Server::udp(("127.0.0.1", port)).codec(Text::new).bind();
    let error = again.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.attempts().len()),
        (ErrorKind::Address, 1)
    );
    let nowhere = Server::udp(("no such host", 0)).codec(Text::new).bind();
    assert_eq!(nowhere.await.unwrap_err().kind(), ErrorKind::Connect);
}

#[cfg(target_os = "linux")]
async fn at_a_path() {
    use bowline_backend::net::{Stale, UnixDatagram, UnixOptions};
    use bowline_backend::stream::UnixAddress;
    use bowline_transport::UnixDatagramPlace;

    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bowline-packets-{}-{count}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let address = UnixAddress::from_path(&path).unwrap();
    // What a server that was killed left behind.
    drop(UnixDatagram::bind(&address).unwrap());
    let bind = |place: UnixDatagramPlace| Server::unix_datagram(place).codec(Text::new).bind();
    let refused = bind(path.as_path().into()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Address);
    let replacing = || {
        let options = UnixOptions::new().stale(Stale::ReplaceIfRefused);
        UnixDatagramPlace::from(&path).options(options.unlink_at_close())
    };
    let server = bind(replacing()).await.unwrap();
    let refused = bind(replacing()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Address, "it lives");
    let handle = server.handle();
    let serving = server.serve_each(|peer, text: String| async move { peer.send(&text).await });
    let talking = async {
        let at = handle.local_addrs()[0].as_unix().unwrap().clone();
        let mut client = DatagramTransport::unix_datagram(&at, Text::new()).unwrap();
        client.send(&"at a path".to_owned()).await.unwrap();
        assert_eq!(client.recv().await.unwrap().as_deref(), Some("at a path"));
        handle.drain(LONG).await;
    };
    join(serving, talking).await.0.unwrap();
    assert!(!path.exists());
    // So the path is free for its successor.
    Server::unix_datagram(&path)
        .codec(Text::new)
        .bind()
        .await
        .map(drop)
        .unwrap();
}
