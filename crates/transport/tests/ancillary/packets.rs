//! Descriptors through servers of packets.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::net::UnixDatagram;
use bowline_backend::stream::UnixAddress;
use bowline_codec::{Raw, Text};
use bowline_concurrency::sync::Event;
use bowline_concurrency::{AnyError, timeout, yield_now};
use bowline_transport::{
    Ancillary, AncillaryError, DatagramEndpoint, DatagramTransport, Error, ErrorKind, Overflow,
    PacketLimits, PacketPeer, PacketServerHandle, Packets, Server, StapledDatagram, Transport,
};
use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::servers::{LONG, address, in_a_group};
use crate::{marked, marks, on_the_kernel, watched};

on_the_kernel!(
    a_handler_of_packets_gets_and_gives_descriptors,
    what_a_handler_of_packets_does_not_take_is_closed,
    what_cannot_be_decoded_brings_nothing,
    what_a_handler_leaves_is_closed,
    more_than_may_wait_are_closed_and_told_of,
    a_server_without_room_closes_all,
    what_overflows_is_closed_with_its_packet,
    what_waits_at_the_end_is_closed,
    a_stapled_socket_passes_them_on,
    the_room_comes_back_whatever_becomes_of_packets,
);

type Peer = PacketPeer<UnixDatagram, Text>;
type Asked = Packets<UnixDatagram, Text>;
type Client = DatagramTransport<UnixDatagram, Text>;

/// A server that gives each peer to `handle`, and how clients of it are made.
async fn with_server<H, Served, T, Talk>(limits: PacketLimits, handle: H, talk: T)
where
    H: Fn(Peer, Asked) -> Served + Send + Sync + 'static,
    Served: Future<Output = Result<(), Error>> + Send + 'static,
    T: FnOnce(UnixAddress, PacketServerHandle) -> Talk + Send,
    Talk: Future<Output = Result<(), AnyError>> + Send,
{
    in_a_group(|group| async move {
        let at = address();
        let socket = UnixDatagram::bind(&at)?;
        let server = Server::over_datagrams(socket)
            .codec(Text::new)
            .limits(limits);
        let bound = server.bind().await?;
        let handle_of_it = bound.handle();
        group.spawn(async move { Ok(bound.serve_fn(handle).await?) });
        talk(at, handle_of_it.clone()).await?;
        handle_of_it.drain(LONG).await;
        Ok(())
    })
    .await;
}

fn client(at: &UnixAddress) -> Client {
    DatagramTransport::unix_datagram(at, Text::new()).unwrap()
}

/// Sends a message and descriptors.
async fn give(
    client: &mut Client,
    text: &str,
    fds: impl IntoIterator<Item = OwnedFd>,
) -> Result<(), Error> {
    let ancillary = fds.into_iter().collect();
    client.send_with(&text.to_owned(), ancillary).await
}

fn limit_of(error: &Error) -> Option<AncillaryError> {
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    std::error::Error::source(error)?.downcast_ref().copied()
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        yield_now().await;
    }
}

// T8, SV7
async fn a_handler_of_packets_gets_and_gives_descriptors() {
    let give_back = |peer: Peer, mut packets: Asked| async move {
        let mut came = Ancillary::new();
        while let Some(text) = packets.recv_with(&mut came).await? {
            let back: Vec<OwnedFd> = came.take_fds().into_iter().rev().collect();
            peer.send_with(&text, back.into_iter().collect()).await?;
        }
        Ok(())
    };
    with_server(PacketLimits::new(), give_back, |at, handle| async move {
        let mut clients = [client(&at), client(&at)];
        // The packet that begins the handler, and those that it waits for.
        for count in [64, 0, 1, 2, 64] {
            for client in &mut clients {
                let fds = (0..count).map(|n| marked(&n.to_string()));
                let asked = format!("{count} of them");
                client.send_with(&asked, fds.collect()).await?;
                let mut came = Ancillary::new();
                assert_eq!(client.recv_with(&mut came).await?, Some(asked));
                let expected: Vec<String> = (0..count).rev().map(|n| n.to_string()).collect();
                assert_eq!(marks(came.take_fds()), expected);
            }
        }
        let counters = handle.counters();
        assert_eq!((counters.taken, counters.stripped), (10, 0));
        Ok(())
    })
    .await;
}

// T8
async fn what_a_handler_of_packets_does_not_take_is_closed() {
    let answer = |peer: Peer, mut packets: Asked| async move {
        let mut came = Ancillary::new().capacity(2).fd(marked("of before"));
        loop {
            let kind = match packets.recv().await? {
                None => return Ok(()),
                Some(kind) => kind,
            };
            peer.send(&kind).await?;
            let next = match kind.as_str() {
                "plain" => packets.recv().await,
                _ => packets.recv_with(&mut came).await,
            };
            let told = match next {
                Ok(Some(text)) => text,
                Ok(None) => return Ok(()),
                Err(error) => format!("{:?}", limit_of(&error)),
            };
            assert!(came.fds().is_empty() || kind == "taken");
            peer.send(&format!("{told}, {}", came.fds().len())).await?;
        }
    };
    with_server(PacketLimits::new(), answer, |at, _| async move {
        let mut client = client(&at);
        for (kind, count, told) in [
            ("too many", 3, "Some(Truncated { limit: 2 }), 0"),
            ("plain", 3, "here, 0"),
            ("taken", 2, "here, 2"),
            ("replaced", 0, "here, 0"),
        ] {
            client.send(&kind.to_owned()).await?;
            assert_eq!(client.recv().await?.as_deref(), Some(kind));
            let (fds, watch) = watched(count);
            give(&mut client, "here", fds).await?;
            assert_eq!(client.recv().await?.as_deref(), Some(told), "{kind}");
            if kind != "taken" {
                watch.all_closed();
            }
        }
        Ok(())
    })
    .await;
}

// T8, SV3
async fn what_cannot_be_decoded_brings_nothing() {
    let go_on = |peer: Peer, mut packets: Asked| async move {
        let (fds, of_before) = watched(1);
        let mut came: Ancillary = fds.into_iter().collect();
        let error = packets.recv_with(&mut came).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.peer()),
            (ErrorKind::Decode, Some(peer.peer_addr()))
        );
        assert_eq!((limit_of(&error), came.fds().len()), (None, 0));
        of_before.all_closed();
        peer.send(&"pardon?".to_owned()).await?;
        while packets.recv().await?.is_some() {}
        Ok(())
    };
    with_server(PacketLimits::new(), go_on, |at, _| async move {
        let mut client = DatagramTransport::unix_datagram(&at, Raw::new())?;
        let (fds, watch) = watched(2);
        let no_text = Bytes::from_static(b"\xff");
        client
            .send_with(&no_text, fds.into_iter().collect())
            .await?;
        assert_eq!(client.recv().await?.as_deref(), Some(&b"pardon?"[..]));
        watch.all_closed();
        Ok(())
    })
    .await;
}

// T8, SV4
async fn what_a_handler_leaves_is_closed() {
    let leave = |_: Peer, _: Asked| async { Ok(()) };
    with_server(PacketLimits::new(), leave, |at, handle| async move {
        let mut client = client(&at);
        let (fds, watch) = watched(2);
        give(&mut client, "left", fds).await?;
        until(|| handle.counters().unhandled == 1).await;
        watch.all_closed();
        Ok(())
    })
    .await;
}

/// A handler that goes on when it is told to, and then answers what comes with what came.
fn held(go: &Arc<Event>) -> impl Fn(Peer, Asked) -> Answering + Send + Sync + 'static {
    let go = go.clone();
    move |peer, mut packets| {
        let go = go.clone();
        Box::pin(async move {
            let mut came = Ancillary::new();
            go.wait().await;
            loop {
                let told = match packets.recv_with(&mut came).await {
                    Ok(Some(text)) => text,
                    Ok(None) => return Ok(()),
                    Err(error) => format!("{:?}", limit_of(&error)),
                };
                peer.send(&format!("{told}, {}", came.take_fds().len()))
                    .await?;
            }
        })
    }
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

// T8, SV7
async fn more_than_may_wait_are_closed_and_told_of() {
    let go = Arc::new(Event::new());
    let limits = PacketLimits::new().max_descriptors(3);
    with_server(limits, held(&go), |at, handle| async move {
        let handle = &handle;
        let mut clients = [client(&at), client(&at)];
        let waiting = |count| until(move || handle.waiting_packets() == count);
        let (fds, kept) = watched(2);
        give(&mut clients[0], "two", fds).await?;
        waiting(1).await;
        let (fds, stripped) = watched(2);
        give(&mut clients[1], "two more", fds).await?;
        waiting(2).await;
        stripped.all_closed();
        assert_eq!(handle.counters().stripped, 1);
        let (fds, fits) = watched(1);
        give(&mut clients[1], "one", fds).await?;
        waiting(3).await;
        assert_eq!(handle.counters().stripped, 1);

        go.set();
        assert_eq!(clients[0].recv().await?.as_deref(), Some("two, 2"));
        for told in ["Some(Truncated { limit: 64 }), 0", "one, 1"] {
            assert_eq!(clients[1].recv().await?.as_deref(), Some(told));
        }
        kept.all_closed();
        fits.all_closed();
        // There is room for as many again.
        let fds = (0..3).map(|_| marked("again"));
        give(&mut clients[0], "three", fds).await?;
        assert_eq!(clients[0].recv().await?.as_deref(), Some("three, 3"));
        Ok(())
    })
    .await;
}

// T8
async fn a_server_without_room_closes_all() {
    let go = Arc::new(Event::new());
    go.set();
    let limits = PacketLimits::new().max_descriptors(0);
    with_server(limits, held(&go), |at, handle| async move {
        let mut client = client(&at);
        let (fds, watch) = watched(1);
        give(&mut client, "one", fds).await?;
        let told = client.recv().await?;
        assert_eq!(told.as_deref(), Some("Some(Truncated { limit: 64 }), 0"));
        watch.all_closed();
        client.send(&"none".to_owned()).await?;
        assert_eq!(client.recv().await?.as_deref(), Some("none, 0"));
        assert_eq!(handle.counters().stripped, 1);
        Ok(())
    })
    .await;
}

// T8, SV7
async fn what_overflows_is_closed_with_its_packet() {
    for (policy, kept) in [(Overflow::DropOldest, 1), (Overflow::DropNewest, 0)] {
        let go = Arc::new(Event::new());
        let limits = PacketLimits::new().max_packets(1).overflow(policy);
        let limits = limits.max_descriptors(4);
        with_server(limits, held(&go), |at, handle| async move {
            let mut client = client(&at);
            let mut watches = Vec::new();
            for text in ["first", "second"] {
                let (fds, watch) = watched(2);
                give(&mut client, text, fds).await?;
                until(|| handle.waiting_packets() == 1).await;
                watches.push((text, watch));
            }
            until(|| handle.counters().overflowed == 1).await;
            let (text, kept) = watches.remove(kept);
            watches.remove(0).1.all_closed();
            go.set();
            assert_eq!(client.recv().await?, Some(format!("{text}, 2")));
            kept.all_closed();
            // The room of both is back.
            let fds = (0..4).map(|_| marked("again"));
            give(&mut client, "four", fds).await?;
            assert_eq!(client.recv().await?.as_deref(), Some("four, 4"));
            Ok(())
        })
        .await;
    }
}

// T8, SV5
async fn what_waits_at_the_end_is_closed() {
    let never = Arc::new(Event::new());
    let limits = PacketLimits::new().grace(Duration::ZERO);
    with_server(limits, held(&never), |at, handle| async move {
        let mut client = client(&at);
        let mut watches = Vec::new();
        for number in 1..=3 {
            let (fds, watch) = watched(number);
            give(&mut client, "late", fds).await?;
            watches.push(watch);
        }
        until(|| handle.waiting_packets() == 3).await;
        let report = handle.drain(Duration::ZERO).await;
        assert_eq!((report.aborted, handle.counters().unhandled), (1, 3));
        for watch in watches {
            watch.all_closed();
        }
        Ok(())
    })
    .await;
}

// T8, T9
async fn a_stapled_socket_passes_them_on() {
    in_a_group(|group| async move {
        let at = address();
        let socket = StapledDatagram::new(UnixDatagram::bind(&at)?, UnixDatagram::unbound()?);
        let endpoint = DatagramEndpoint::new(socket, Text::new());
        let mut client = client(&at);
        let mut came = Ancillary::new();
        give(&mut client, "to the endpoint", [marked("one")]).await?;
        let (text, _) = endpoint.recv_from_with(&mut came).await?;
        assert_eq!(text, "to the endpoint");
        assert_eq!(marks(came.take_fds()), ["one"]);

        let seen = Arc::new(Event::new());
        let told = seen.clone();
        let at = address();
        let socket = StapledDatagram::new(UnixDatagram::bind(&at)?, UnixDatagram::unbound()?);
        let bound = Server::over_datagrams(socket)
            .codec(Text::new)
            .bind()
            .await?;
        let handle = bound.handle();
        let take = move |_: PacketPeer<_, Text>, mut packets: Packets<_, Text>| {
            let told = told.clone();
            async move {
                let mut came = Ancillary::new();
                packets.recv_with(&mut came).await?;
                assert_eq!(marks(came.take_fds()), ["two"]);
                told.set();
                Ok::<_, Error>(())
            }
        };
        group.spawn(async move { Ok(bound.serve_fn(take).await?) });
        let mut client = self::client(&at);
        give(&mut client, "to the server", [marked("two")]).await?;
        seen.wait().await;
        handle.drain(LONG).await;
        Ok(())
    })
    .await;
}

// T8, SV7
async fn the_room_comes_back_whatever_becomes_of_packets() {
    const ROOM: usize = 8;
    let by_turns = |peer: Peer, mut packets: Asked| async move {
        let mut came = Ancillary::new().capacity(2);
        for number in 0.. {
            let received = match number % 3 {
                0 => packets.recv().await,
                1 => packets.recv_with(&mut came).await,
                _ => return Ok(()), // the next packet begins another
            };
            match received {
                Ok(None) => return Ok(()),
                Ok(Some(text)) if text == "last" => {
                    peer.send(&text).await?;
                    return Ok(());
                }
                _ => yield_now().await,
            }
        }
        Ok(())
    };
    let limits = PacketLimits::new().max_descriptors(ROOM).max_packets(3);
    with_server(limits, by_turns, |at, handle| async move {
        let talks = (0..4).map(|client_number| {
            let mut client = client(&at);
            async move {
                let mut all = Vec::new();
                for number in 0..50 {
                    let (fds, watch) = watched((number + client_number) % 4);
                    give(&mut client, "some", fds).await?;
                    all.push(watch);
                }
                // It may overflow, as all may.
                let mut answer = None;
                while answer.is_none() {
                    client.send(&"last".to_owned()).await?;
                    let waited = timeout(Duration::from_millis(20), client.recv()).await;
                    answer = waited.ok().transpose()?.flatten();
                }
                Ok::<_, Error>(all)
            }
        });
        let all = try_join_all(talks).await?;
        until(|| handle.peers() == 0).await;
        for watch in all.into_iter().flatten() {
            watch.all_closed();
        }
        let stripped = handle.counters().stripped;
        let mut client = client(&at);
        let fds = (0..ROOM).map(|_| marked("again"));
        let taken = handle.counters().taken;
        give(&mut client, "some", fds).await?;
        until(|| handle.counters().taken > taken).await;
        assert_eq!(handle.counters().stripped, stripped, "the room is back");
        Ok(())
    })
    .await;
}
