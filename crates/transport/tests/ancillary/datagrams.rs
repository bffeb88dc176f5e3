//! Messages in packets: how many go, what is closed, what is refused.

use std::os::fd::OwnedFd;

use bowline_backend::net::UnixDatagram;
use bowline_codec::Raw;
use bowline_transport::{Ancillary, DatagramTransport, ErrorKind, Transport};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::{marked, marks, on_the_kernel, watched};

on_the_kernel!(
    descriptors_arrive_with_their_packet,
    what_is_not_taken_is_closed,
    too_many_are_refused_or_closed,
    halves_pass_and_a_dropped_send_did_nothing,
);

type Packets = DatagramTransport<UnixDatagram, Raw>;

fn pair() -> (Packets, Packets) {
    let (here, there) = UnixDatagram::pair().unwrap();
    let over = |socket| DatagramTransport::new(socket, Raw::new());
    (over(here), over(there))
}

// T8
async fn descriptors_arrive_with_their_packet() {
    let (mut here, mut there) = pair();
    let mut came = Ancillary::new();
    for count in [0_usize, 1, 64, 0, 3] {
        let message = Bytes::from(vec![1; count * 100]);
        let fds = (0..count).map(|n| marked(&n.to_string()));
        here.send_with(&message, fds.collect()).await.unwrap();
        assert_eq!(there.recv_with(&mut came).await.unwrap(), Some(message));
        let expected: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        assert_eq!(marks(came.take_fds()), expected);
    }
}

// T8
async fn what_is_not_taken_is_closed() {
    let (mut here, mut there) = pair();
    let message = Bytes::from("some");
    for asked in [true, false] {
        let (fds, watch) = watched(2);
        let fds = fds.into_iter().collect();
        here.send_with(&message, fds).await.unwrap();
        let mut came = Ancillary::new();
        match asked {
            true => drop(there.recv_with(&mut came).await.unwrap()),
            false => drop(there.recv().await.unwrap()),
        }
        assert_eq!(came.fds().len(), if asked { 2 } else { 0 });
        drop(came);
        watch.all_closed();
    }
}

// T8
async fn too_many_are_refused_or_closed() {
    let (mut here, mut there) = pair();
    let message = Bytes::from("some");
    let (fds, watch) = watched(65);
    let fds = fds.into_iter().collect();
    let error = here.send_with(&message, fds).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    watch.all_closed();
    let (fds, watch) = watched(3);
    let fds = fds.into_iter().collect();
    here.send_with(&message, fds).await.unwrap();
    let mut came = Ancillary::new().capacity(2);
    let error = there.recv_with(&mut came).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    watch.all_closed();
    let mine = Ancillary::new().fd(marked("next"));
    here.send_with(&message, mine).await.unwrap();
    there.recv_with(&mut came).await.unwrap().unwrap();
    assert_eq!(marks(came.take_fds()), ["next"]);
}

// T8
async fn halves_pass_and_a_dropped_send_did_nothing() {
    let (here, there) = pair();
    let ((mut sender, _keep), (_alive, mut receiver)) = (here.into_split(), there.into_split());
    let message = Bytes::from("some");
    let mine = Ancillary::new().fd(marked("first"));
    sender.send_with(&message, mine).await.unwrap();
    let mut sent = 1;
    let watch = loop {
        let (fds, watch) = watched(1);
        let fds = fds.into_iter().collect();
        if sender.send_with(&message, fds).now_or_never().is_none() {
            break watch;
        }
        sent += 1;
    };
    watch.all_closed();
    let mut came = Ancillary::new();
    for _ in 0..sent {
        receiver.recv_with(&mut came).await.unwrap().unwrap();
        assert_eq!(came.take_fds().len(), 1);
    }
    let mine = Ancillary::new().fd(marked("last"));
    sender.send_with(&message, mine).await.unwrap();
    receiver.recv_with(&mut came).await.unwrap().unwrap();
    assert_eq!(marks(came.take_fds()), ["last"]);
}

// T8
#[test]
fn the_simulator_carries_none() {
    bowline_sim::block_on(0, async {
        let (mut here, mut there) = pair();
        let message = Bytes::from("some");
        let (fds, watch) = watched(1);
        let fds: Vec<OwnedFd> = fds;
        let refused = here.send_with(&message, fds.into_iter().collect()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
        watch.all_closed();
        here.send(&message).await.unwrap();
        let mut came = Ancillary::new();
        assert_eq!(there.recv_with(&mut came).await.unwrap(), Some(message));
    });
}
