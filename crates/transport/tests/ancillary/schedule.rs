//! Random schedules: frames with and without descriptors, of any size, both ways at once.

use bowline_backend::net::UnixStream;
use bowline_transport::{
    Ancillary, MessageReceiver, MessageSender, MessageStream, Transport, TransportRecv,
    TransportSend,
};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::streams::codec;
use crate::{marked, marks, on_the_kernel};

on_the_kernel!(every_descriptor_arrives_with_its_frame,);

const SCHEDULES: u64 = 20;
const FRAMES: usize = 60;

type Codec = bowline_codec::Framed<bowline_codec::LengthDelimited, bowline_codec::Raw>;

/// Numbers of a linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

/// A frame: how long it is, and how many descriptors go with it. It is the same on both sides.
fn frame(random: &mut Random, number: usize) -> (Bytes, Vec<String>) {
    let len = match random.below(4) {
        0 => random.below(8),
        1 => random.below(200),
        2 => random.below(5_000),
        _ => random.below(Ancillary::MAX_FRAME - 4),
    };
    let fds = match random.below(6) {
        0 => random.below(4),
        1 => 1,
        2 if number.is_multiple_of(20) => 64,
        _ => 0,
    };
    let marks = (0..fds).map(|n| format!("{number}.{n}"));
    (Bytes::from(vec![number as u8; len]), marks.collect())
}

async fn send_all(mut sender: MessageSender<UnixStream, Codec>, seed: u64) {
    let (mut frames, mut how) = (Random(seed), Random(!seed));
    for number in 0..FRAMES {
        let (message, marks) = frame(&mut frames, number);
        if marks.is_empty() {
            match how.below(3) {
                0 => sender.feed(&message).await.unwrap(),
                1 => sender.send(&message).await.unwrap(),
                _ => sender.send_with(&message, Ancillary::new()).await.unwrap(),
            }
            continue;
        }
        let fds: Ancillary = marks.iter().map(|mark| marked(mark)).collect();
        sender.send_with(&message, fds).await.unwrap();
    }
    sender.shutdown().await.unwrap();
}

async fn receive_all(mut receiver: MessageReceiver<UnixStream, Codec>, seed: u64) {
    let (mut frames, mut how) = (Random(seed), Random(seed ^ 7));
    let mut came = Ancillary::new();
    for number in 0..FRAMES {
        let (expected, marked_with) = frame(&mut frames, number);
        if number > 0 && how.below(5) == 0 {
            assert!(receiver.recv().await.unwrap().unwrap() == expected);
            continue;
        }
        let at_once = match how.below(2) {
            0 => receiver.recv_with(&mut came).now_or_never(), // dropped, where it waits
            _ => None,
        };
        let message = match at_once {
            Some(message) => message,
            None => receiver.recv_with(&mut came).await,
        };
        assert!(message.unwrap().unwrap() == expected, "frame {number}");
        assert_eq!(marks(came.take_fds()), marked_with, "frame {number}");
    }
    assert_eq!(receiver.recv_with(&mut came).await.unwrap(), None);
}

// T8
async fn every_descriptor_arrives_with_its_frame() {
    for seed in 0..SCHEDULES {
        let (here, there) = UnixStream::pair().unwrap();
        let (replies, here) = MessageStream::new(here, codec()).into_split();
        let (requests, there) = MessageStream::new(there, codec()).into_split();
        futures_util::future::join4(
            send_all(replies, seed),
            send_all(requests, seed + 1_000),
            receive_all(there, seed),
            receive_all(here, seed + 1_000),
        )
        .await;
    }
}
