//! Servers of packets, on every backend.

mod ends;
mod flood;
mod forged;
mod handlers;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::UdpSocket;
use bowline_codec::Text;
use bowline_concurrency::{Root, timeout, yield_now};
use bowline_transport::{
    BoundPackets, DatagramTransport, Error, PacketLimits, PacketPeer, PacketServerHandle, Packets,
    Server, Transport,
};

/// One test for each backend; `in_sim` under some seeds.
macro_rules! on_every_backend {
    ($($module:ident: $($case:ident,)*;)*) => { $( mod $module {
        mod on_tokio { $(#[test] fn $case() { crate::on(crate::Backend::Tokio, crate::$module::$case()); })* }
        mod on_smol { $(#[test] fn $case() { crate::on(crate::Backend::Smol, crate::$module::$case()); })* }
        mod on_async_std { $(#[test] fn $case() { crate::on(crate::Backend::AsyncStd, crate::$module::$case()); })* }
        mod in_sim { $(#[test] fn $case() {
            for seed in 0..crate::$module::SEEDS {
                let root = crate::Root::new().backend(crate::Backend::Sim);
                bowline_sim::block_on(seed, root.entered(crate::$module::$case()));
            }
        })* }
    } )* };
}

mod everywhere {
    on_every_backend! {
        flood:
            a_flood_from_one_peer_leaves_the_newest,
            a_flood_from_one_peer_leaves_the_oldest_where_that_is_asked_for,
            bytes_are_bounded_too,
            a_packet_longer_than_all_may_be_begins_no_handler,
            each_peer_has_its_order,
        ;
        forged:
            a_flood_from_forged_peers_is_bounded,
            failures_of_the_socket_are_survived,
            who_means_well_gets_in_among_forged_peers,
        ;
        handlers:
            a_peer_has_one_task_at_a_time,
            a_handler_that_takes_nothing_costs_one_packet,
            failures_and_panics_are_counted,
            a_panic_at_once_costs_one_packet,
            what_cannot_be_decoded_reaches_the_handler,
            a_silent_peer_ends_its_handler,
            a_peer_that_was_answered_takes_no_place,
            packets_kept_beyond_their_run_are_empty,
            who_waits_beyond_a_run_is_told,
        ;
        ends:
            handlers_that_wait_leave_at_once,
            what_waits_is_handed_out_first,
            stuck_handlers_are_cut_after_deadline_and_grace,
            a_peer_outlives_its_server,
            a_dropped_server_cancels_all,
            a_broken_socket_ends_the_server,
            every_kind_of_place,
        ;
    }
}

/// A hang is a failure with a name, not a stuck run.
fn on(backend: Backend, law: impl Future<Output = ()>) {
    let limit = Duration::from_secs(120);
    let ended = Root::new()
        .backend(backend)
        .block_on(timeout(limit, Box::pin(law)));
    ended.expect("it did not end within two minutes");
}

pub(crate) type Client = DatagramTransport<UdpSocket, Text>;

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) async fn bind(limits: PacketLimits) -> BoundPackets<UdpSocket, Text> {
    let server = Server::udp(loopback()).codec(Text::new).limits(limits);
    server.bind().await.unwrap()
}

pub(crate) fn client(server: &PacketServerHandle) -> Client {
    let at = server.local_addrs()[0].as_inet().unwrap();
    DatagramTransport::udp(at, Text::new()).unwrap()
}

pub(crate) async fn send(client: &mut Client, text: impl Into<String>) {
    client.send(&text.into()).await.unwrap();
}

pub(crate) async fn recv(client: &mut Client) -> String {
    client.recv().await.unwrap().unwrap()
}

/// Sends back what comes, for as long as something may come.
pub(crate) async fn echo(
    peer: PacketPeer<UdpSocket, Text>,
    mut packets: Packets<UdpSocket, Text>,
) -> Result<(), Error> {
    while let Some(text) = packets.recv().await? {
        peer.send(&text).await?;
    }
    Ok(())
}

/// Lets others run until it is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        yield_now().await;
        if Backend::current() == Ok(Backend::Sim) {
            // Packets are under way for some time.
            bowline_concurrency::sleep(Duration::from_micros(50)).await;
        }
    }
}
