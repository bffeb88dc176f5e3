//! Datagrams: each is sent whole or not at all.

use std::cell::Cell;
use std::time::Duration;

use bowline_backend::time::{now, sleep_until};
use bowline_codec::Raw;
use bowline_transport::{
    DatagramSocket, DatagramTransport, MemoryDatagram, Transport, TransportRecv, TransportSend,
};
use bytes::Bytes;
use futures_util::future::join;

use crate::{dropped, pairs, runs, send_some};

/// What says that nothing more comes.
const LAST: Bytes = Bytes::from_static(b"that is all");

/// What one end sends and the other receives.
async fn one_way<S: DatagramSocket>(here: S, there: S) -> (Vec<Bytes>, Vec<Bytes>) {
    let here = DatagramTransport::new(here, Raw::new());
    let there = DatagramTransport::new(there, Raw::new());
    let (mut sender, _here_in) = here.into_split();
    let (_there_out, mut receiver) = there.into_split();
    let over = Cell::new(false);
    let send = async {
        let sent = send_some(&mut sender).await;
        // It may be lost, where packets are.
        while !over.get() {
            if let Some(done) = dropped(sender.send(&LAST)).await {
                done.unwrap();
            }
            // Where there is always room it would go on for ever.
            sleep_until(now().saturating_add(Duration::from_millis(1))).await;
        }
        sent
    };
    let recv = async {
        let mut got = Vec::new();
        while !over.get() {
            match dropped(receiver.recv()).await.transpose().unwrap() {
                None => {}
                Some(None) => panic!("nobody ended it"),
                Some(Some(packet)) if packet == LAST => over.set(true),
                Some(Some(packet)) => got.push(packet),
            }
        }
        got
    };
    join(send, recv).await
}

// TR1
#[test]
fn datagrams_are_sent_once_or_not_at_all() {
    runs(0..1500, async |seed| match seed % 3 {
        0 => {
            let (here, there) = MemoryDatagram::builder().capacity(7000).pair();
            let (sent, got) = one_way(here, there).await;
            assert_eq!(got, sent);
        }
        1 => {
            let (here, there) = pairs::unix();
            let (sent, got) = one_way(here, there).await;
            assert_eq!(got, sent);
        }
        _ => {
            // Packets may be lost, and overtake each other.
            let (here, there) = pairs::udp();
            let (mut sent, got) = one_way(here, there).await;
            for packet in got {
                let at = sent.iter().position(|sent| *sent == packet);
                sent.swap_remove(at.expect("it was sent, and once"));
            }
        }
    });
}
