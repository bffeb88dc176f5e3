//! Peers that are not there, others that are, and sockets without room.

use std::io::ErrorKind as Io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bowline_backend::net::{Received, UdpSocket};
use bowline_backend::stream::Address;
use bowline_codec::Raw;
use bowline_transport::{
    AttributeRequest, Break, DatagramRecv, DatagramSend, DatagramTransport, Delivery, DynTransport,
    Error, ErrorKind, Extra, MemoryDatagram, Shared, Transport, TransportRecv, TransportSend,
    TrySendError,
};
use bytes::{Bytes, BytesMut};
use futures_util::future::join;
use futures_util::{FutureExt, StreamExt};

use crate::pairs::{free, loopback};
use crate::scripted::{self, Scripted};
use crate::{on_every_backend, over};

on_every_backend!(
    super::a_refusal_is_shown_and_the_transport_lives as a_refusal_is_shown_and_the_transport_lives,
    super::a_connected_socket_hears_its_peer_alone as a_connected_socket_hears_its_peer_alone,
    super::what_came_before_the_connect_is_dropped as what_came_before_the_connect_is_dropped,
    super::a_refusal_costs_no_packet as a_refusal_costs_no_packet,
    super::a_stream_goes_on_after_errors_of_packets as a_stream_goes_on_after_errors_of_packets,
    super::a_packet_that_is_refused_itself_is_an_error
        as a_packet_that_is_refused_itself_is_an_error,
    super::whatever_wraps_it_says_at_once_that_a_packet_was_refused
        as whatever_wraps_it_says_at_once_that_a_packet_was_refused,
    super::a_held_packet_goes_while_the_other_half_receives
        as a_held_packet_goes_while_the_other_half_receives,
    super::a_dropped_send_queued_its_packet_or_not as a_dropped_send_queued_its_packet_or_not,
    super::a_close_waits_for_the_held_packet as a_close_waits_for_the_held_packet,
    super::a_receiver_is_told_that_memory_is_gone as a_receiver_is_told_that_memory_is_gone,
);

fn packet(text: &'static str) -> Bytes {
    Bytes::from(text)
}

// T9
async fn a_refusal_is_shown_and_the_transport_lives() {
    let at = free();
    let mut here = DatagramTransport::udp(at, Raw::new()).unwrap();
    let mut shown = None;
    for _ in 0..100 {
        if let Err(error) = here.send(&packet("is anybody there?")).await {
            shown = Some(error);
            break;
        }
        // The word that nobody is takes a moment in the simulator.
        bowline_concurrency::yield_now().await;
        if bowline_backend::Backend::current() == Ok(bowline_backend::Backend::Sim) {
            let soon = bowline_backend::time::now() + std::time::Duration::from_millis(1);
            bowline_backend::time::sleep_until(soon).await;
        }
    }
    let error = shown.expect("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.is_retryable() && error.peer() == Some(&at.into()));
    assert_eq!(error.delivery(), Delivery::NotSent);

    // Now somebody is; the refusals of what was sent before are told meanwhile.
    let there = UdpSocket::bind(at).unwrap();
    let mut there = over(there);
    while here.send(&packet("and now?")).await.is_err() {}
    assert_eq!(there.recv().await.unwrap(), Some(packet("and now?")));
}

// T9
async fn a_connected_socket_hears_its_peer_alone() {
    let peer = UdpSocket::bind(loopback()).unwrap();
    let stranger = UdpSocket::bind(loopback()).unwrap();
    let mut here = DatagramTransport::udp(peer.local_addr().unwrap(), Raw::new()).unwrap();
    let to = here.local_addr().unwrap().clone();
    // The system drops what strangers send.
    stranger.send_to(b"from a stranger", &to).await.unwrap();
    peer.send_to(b"from the peer", &to).await.unwrap();
    assert_eq!(here.recv().await.unwrap(), Some(packet("from the peer")));
    assert_eq!(here.counters().foreign, 0);
}

// T9
async fn what_came_before_the_connect_is_dropped() {
    let peer = UdpSocket::bind(loopback()).unwrap();
    let stranger = UdpSocket::bind(loopback()).unwrap();
    // As a socket that was bound first: the system gives it what strangers sent before.
    let socket = UdpSocket::bind(loopback()).unwrap();
    let to = Address::from(socket.local_addr().unwrap());
    let socket = Scripted::new(socket).hears(peer.local_addr().unwrap().into());
    let mut here = over(socket);
    for _ in 0..40 {
        stranger.send_to(b"from a stranger", &to).await.unwrap();
    }
    peer.send_to(b"from the peer", &to).await.unwrap();
    assert_eq!(here.recv().await.unwrap(), Some(packet("from the peer")));
    assert_eq!(here.counters().foreign, 40);
}

// T9
async fn a_refusal_costs_no_packet() {
    let (here, there) = scripted::pair();
    let (mut here, mut there) = (over(here.send_errors([Io::ConnectionRefused])), over(there));
    // The system tells of an earlier packet instead of taking this one: it is offered again.
    here.send(&packet("one")).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(packet("one")));
    let error = here.send(&packet("two")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.unsent_frames()),
        (ErrorKind::Refused, 0)
    );
    here.send(&packet("three")).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(packet("three")));

    let (here, there) = scripted::pair();
    let here = here.recv_errors([Io::ConnectionRefused]);
    let (mut here, mut there) = (over(here), over(there));
    there.send(&packet("four")).await.unwrap();
    assert_eq!(here.recv().await.unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(here.recv().await.unwrap(), Some(packet("four")));
}

// T9, CL6
async fn a_stream_goes_on_after_errors_of_packets() {
    let (here, there) = scripted::pair();
    let errors = [
        (Io::ConnectionRefused, ErrorKind::Refused),
        (Io::HostUnreachable, ErrorKind::Connect),
        (Io::NetworkUnreachable, ErrorKind::Connect),
        (Io::PermissionDenied, ErrorKind::Permission),
        (Io::Other, ErrorKind::Broken(Break::Other)),
    ];
    let here = over(here.recv_errors(errors.map(|(error, _)| error)));
    let (_sender, receiver) = here.into_split();
    let mut stream = receiver.into_stream();
    for (_, kind) in errors {
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), kind);
    }
    let mut there = over(there);
    there.send(&packet("here")).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), packet("here"));
    drop(there);
    let gone = stream.next().await.unwrap().unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Broken(Break::Reset));
    assert!(stream.next().await.is_none());
}

// T9
async fn whatever_wraps_it_says_at_once_that_a_packet_was_refused() {
    let (lost, kept) = (packet("lost"), packet("kept"));
    let failing = || {
        let (here, there) = scripted::pair();
        let refused = [Io::PermissionDenied; 2];
        (over(here.send_errors(refused)), over(there))
    };
    let is_refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Permission);
        assert_eq!(
            (error.delivery(), error.unsent_frames()),
            (Delivery::NotSent, 1)
        );
    };
    let at_once = |error: TrySendError| match error {
        TrySendError::Failed(error) => is_refused(error),
        other => panic!("{other:?}"),
    };

    let (here, mut there) = failing();
    let mut whole = DynTransport::new(here);
    is_refused(whole.send(&lost).await.unwrap_err());
    is_refused(whole.split().0.send(&lost).await.unwrap_err());
    whole.send(&kept).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(kept.clone()));

    let (here, mut there) = failing();
    let (mut sender, _receiver) = DynTransport::new(here).into_split();
    is_refused(sender.send(&lost).await.unwrap_err());
    at_once(sender.try_send(&lost).unwrap_err());
    sender.send(&kept).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(kept.clone()));

    let (here, mut there) = failing();
    let shared = Shared::new(here);
    is_refused(shared.send(&lost).await.unwrap_err());
    at_once(shared.try_send(&lost).unwrap_err());
    shared.send(&kept).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(kept));
}

// T9
async fn a_packet_that_is_refused_itself_is_an_error() {
    let (here, there) = scripted::pair();
    let errors = [
        Io::ConnectionRefused,
        Io::ConnectionRefused,
        Io::PermissionDenied,
    ];
    let (mut here, mut there) = (over(here.send_errors(errors)), over(there));
    for kind in [ErrorKind::Refused, ErrorKind::Permission] {
        let error = here.send(&packet("lost")).await.unwrap_err();
        assert_eq!((error.kind(), error.unsent_frames()), (kind, 1));
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
    // Whoever sends by a permit learns of it from the next operation.
    let (failing, _there) = scripted::pair();
    let mut failing = over(failing.send_errors([Io::PermissionDenied]));
    let (sender, _) = failing.split();
    sender
        .reserve()
        .await
        .unwrap()
        .send(&packet("lost"))
        .unwrap();
    let error = sender.flush().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.unsent_frames()),
        (ErrorKind::Permission, 1)
    );

    here.send(&packet("arrives")).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(packet("arrives")));
}

/// A socket that the case keeps a handle of.
struct Kept(Arc<Scripted<MemoryDatagram>>);

impl DatagramRecv for Kept {
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: std::num::NonZeroUsize,
    ) -> Poll<std::io::Result<Received>> {
        self.0.poll_recv_from(cx, buffer, max)
    }

    async fn recv_from(
        &self,
        buffer: &mut BytesMut,
        max: std::num::NonZeroUsize,
    ) -> std::io::Result<Received> {
        self.0.recv_from(buffer, max).await
    }

    fn hears(&self) -> Option<Address> {
        DatagramRecv::hears(&*self.0)
    }
}

impl DatagramSend for Kept {
    fn poll_send(&self, cx: &mut Context<'_>, packet: &[u8]) -> Poll<std::io::Result<()>> {
        self.0.poll_send(cx, packet)
    }

    async fn send_to(&self, packet: &[u8], to: &Address) -> std::io::Result<()> {
        self.0.send_to(packet, to).await
    }

    fn max_packet(&self) -> usize {
        self.0.max_packet()
    }
}

impl Extra for Kept {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.0.provide(request);
    }
}

// T9
async fn a_held_packet_goes_while_the_other_half_receives() {
    let (here, there) = scripted::pair();
    let socket = Arc::new(here.full());
    let (mut sender, mut receiver) = over(Kept(socket.clone())).into_split();
    let mut there = over(there);
    sender
        .reserve()
        .await
        .unwrap()
        .send(&packet("question"))
        .unwrap();
    let again = packet("no room");
    assert!(matches!(sender.try_send(&again), Err(TrySendError::Full)));
    assert!(sender.send(&again).now_or_never().is_none());
    assert!(there.recv().now_or_never().is_none());
    let answering = async {
        socket.make_room();
        assert_eq!(there.recv().await.unwrap(), Some(packet("question")));
        there.send(&packet("answer")).await.unwrap();
    };
    // Nobody polls the sender.
    let (answer, ()) = join(receiver.recv(), answering).await;
    assert_eq!(answer.unwrap(), Some(packet("answer")));
    // And a sender that waits for room is woken by the receiver that made it.
    sender.send(&packet("more")).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(packet("more")));
}

// T9
async fn a_dropped_send_queued_its_packet_or_not() {
    // Room for one packet, so that the next has to wait.
    let (here, there) = MemoryDatagram::builder().capacity(1).pair();
    let (mut here, mut there) = (over(here), over(there));
    let (mut queued, mut received) = (Vec::new(), Vec::new());
    for round in 0..200_u8 {
        let packet = Bytes::copy_from_slice(&[round]);
        if let Some(sent) = here.send(&packet).now_or_never() {
            sent.unwrap();
            queued.push(packet);
            continue;
        }
        // Whoever has a permit has the packet queued, and held.
        let (sender, _) = here.split();
        let permit = (round % 5 == 0)
            .then(|| sender.reserve().now_or_never())
            .flatten();
        if let Some(permit) = permit {
            permit.unwrap().send(&packet).unwrap();
            queued.push(packet);
        }
        if round % 3 == 0
            && let Some(came) = there.recv().now_or_never()
        {
            received.extend(came.unwrap());
        }
    }
    here.flush().now_or_never();
    while let Some(came) = there.recv().now_or_never() {
        received.extend(came.unwrap());
        here.flush().now_or_never();
    }
    assert_eq!(received, queued);
    assert!((60..140).contains(&queued.len()), "{}", queued.len());
}

/// Queues a packet that there is no room for.
async fn hold(here: &mut impl Transport<Sent = Bytes>, packet: &Bytes) {
    let (mut sender, _) = here.split();
    let permit = sender.reserve().await.unwrap();
    permit.send(packet).unwrap();
}

// T9
async fn a_close_waits_for_the_held_packet() {
    let (here, there) = scripted::pair();
    let socket = Arc::new(here.full());
    let mut here = over(Kept(socket.clone()));
    let mut there = over(there);
    hold(&mut here, &packet("last")).await;
    let (closed, ()) = join(here.close(), async { socket.make_room() }).await;
    closed.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(packet("last")));
    drop(here);
    assert_eq!(Arc::strong_count(&socket), 1);

    // One that never has room costs the close timeout.
    let (here, _there) = scripted::pair();
    let builder = bowline_transport::DatagramTransportBuilder::default();
    let mut here = builder
        .close_timeout(std::time::Duration::from_millis(5))
        .over(here.full(), Raw::new());
    hold(&mut here, &packet("never")).await;
    let error = here.close().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.unsent_frames()),
        (ErrorKind::Elapsed, 1)
    );
    assert_eq!(here.recv().await.unwrap_err().kind(), ErrorKind::Closed);
}

// T9
async fn a_receiver_is_told_that_memory_is_gone() {
    let (here, there) = MemoryDatagram::pair();
    let (mut here, mut there) = (over(here), over(there));
    there.send(&packet("last")).await.unwrap();
    assert_eq!(here.recv().await.unwrap(), Some(packet("last")));
    let (waited, ()) = join(here.recv(), async { drop(there) }).await;
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Broken(Break::Reset));
    let error = here.send(&packet("to nobody")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.unsent_frames()),
        (ErrorKind::Refused, 1)
    );
}
