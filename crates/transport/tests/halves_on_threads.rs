//! The halves of one message stream on two threads: neither steals the other's wake.

#![expect(
    clippy::disallowed_methods,
    reason = "two threads are what this is about"
)]

use std::thread;

use bowline_backend::Backend;
use bowline_codec::{Framing, LengthDelimited, Raw};
use bowline_transport::{
    MemoryStream, MessageStreamBuilder, Transport, TransportRecv, TransportSend,
};
use bytes::Bytes;

/// Frames each way; with seven bytes of room nearly every write blocks.
const FRAMES: usize = 60;

fn frame(number: usize) -> Bytes {
    Bytes::from(vec![number as u8; number % 50])
}

// TR3
#[test]
fn both_ends_send_and_receive_on_threads_of_their_own() {
    for _ in 0..200 {
        let (here, there) = MemoryStream::builder().capacity(7).pair();
        let threads: Vec<_> = [here, there]
            .into_iter()
            .flat_map(|end| {
                let codec = LengthDelimited::u32().with(Raw::new());
                // A small queue too, so that senders wait for room as well.
                let stream = MessageStreamBuilder::default()
                    .high_water(64)
                    .over(end, codec);
                let (mut sender, mut receiver) = stream.into_split();
                let sending = thread::spawn(move || {
                    Backend::Smol.block_on(async {
                        for number in 0..FRAMES {
                            sender.send(&frame(number)).await.unwrap();
                        }
                        sender.shutdown().await.unwrap();
                    });
                });
                let receiving = thread::spawn(move || {
                    Backend::Smol.block_on(async {
                        for number in 0..FRAMES {
                            assert_eq!(receiver.recv().await.unwrap(), Some(frame(number)));
                        }
                        assert_eq!(receiver.recv().await.unwrap(), None);
                    });
                });
                [sending, receiving]
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
