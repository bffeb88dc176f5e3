//! Halves put together again are the stream they came from.

use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::time::now;
use bowline_codec::{Framed, Framing, LengthDelimited, Raw};
use bowline_transport::{
    ErrorKind, MemoryStream, MessageStream, MessageStreamBuilder, Transport, TransportSend,
};
use bytes::Bytes;

fn codec() -> Framed<LengthDelimited, Raw> {
    LengthDelimited::u32().with(Raw::new())
}

// TR3
#[test]
fn a_reunited_stream_keeps_addresses_and_limits() {
    Backend::Sim.block_on(async {
        let (here, _there) = MemoryStream::builder().capacity(7).pair();
        let limit = Duration::from_secs(90);
        let builder = MessageStreamBuilder::default()
            .close_timeout(limit)
            .write_stall_timeout(None);
        let whole = builder.over(here, codec());
        let (local, peer) = (whole.local_addr().cloned(), whole.peer_addr().cloned());
        assert!(local.is_some() && local != peer);

        let (sender, receiver) = whole.into_split();
        let mut whole = MessageStream::reunite(sender, receiver).expect("halves of one stream");
        assert_eq!(whole.local_addr(), local.as_ref());
        assert_eq!(whole.peer_addr(), peer.as_ref());

        // Nobody reads at the other end, so what is queued stays and closing takes its whole time.
        let stuck = Bytes::from_static(b"more than seven bytes");
        whole.split().0.queue(&stuck).expect("below the high water");
        let started = now();
        let error = whole.close().await.expect_err("not all is written");
        assert_eq!(error.kind(), ErrorKind::Elapsed);
        assert_eq!(error.unsent_frames(), 1);
        let took = now().saturating_duration_since(started);
        assert_eq!(took.as_secs(), limit.as_secs());
    });
}

// TR3
#[test]
fn halves_of_two_streams_come_back() {
    let (here, there) = MemoryStream::pair();
    let (here, there) = (
        MessageStream::new(here, codec()),
        MessageStream::new(there, codec()),
    );
    let ((sender, of_here), (_, receiver)) = (here.into_split(), there.into_split());
    let Err((sender, _)) = MessageStream::reunite(sender, receiver) else {
        panic!("the halves are of two streams");
    };
    assert!(MessageStream::reunite(sender, of_here).is_ok());
}
