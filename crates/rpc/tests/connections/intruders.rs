//! Peers that break the rules, before they have proved who they are and after: each loses its connection,
//! and nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_backend::net::TcpStream;
use bowline_backend::stream::ByteStreamExt;
use bowline_concurrency::{sleep_forever, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Config, Event, Side};
use bowline_rpc::{Caller, Error, Limits, Secret, TcpBroker, TcpBrokerBuilder};

use crate::backends::{on_every_backend, registry};
use crate::raw_peer::{LONG, RawPeer, read_to_end};

/// Calls that a peer may have under way.
const MOST: usize = 8;

fn secret() -> Secret {
    Secret::new([7; 32]).expect("it is long enough")
}

fn config() -> Config {
    Config::new("example", [9; 16]).secret("k", secret())
}

fn frame(kind: u8, flags: u8, aux: u16, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes().to_vec();
    out.extend([kind, flags]);
    out.extend(aux.to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// An OPEN of `hang` by its name.
fn open(id: u64, more: u8, body: &[u8]) -> Vec<u8> {
    let head = [0, 0, 0, 0, 0, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let name = [&[1, 0, 4][..], b"hang"].concat();
    frame(0x10, more, 7, id, &[&head[..], &name, body].concat())
}

/// What breaks a rule, whenever it comes.
fn every_harm() -> Vec<(&'static str, Vec<u8>)> {
    let opens =
        |ids: &[u64]| -> Vec<u8> { ids.iter().flat_map(|id| open(*id, 0, &[0xC0])).collect() };
    let credit = |id, amount: u32| frame(0x15, 0, 0, id, &amount.to_be_bytes());
    let total = |total: u32, body: &[u8]| open(1, 1, &[&total.to_be_bytes(), body].concat());
    vec![
        ("R3 a number of the other side", opens(&[2])),
        ("R3 a number twice", opens(&[1, 1])),
        ("R3 a number far away", opens(&[3 + (1 << 20)])),
        (
            "R8 more calls than slots",
            opens(&[1, 3, 5, 7, 9, 11, 13, 15, 17]),
        ),
        (
            "R9 many PINGs",
            frame(0x06, 0, 0, 0, &[0; 8]).repeat(10_000),
        ),
        (
            "R9 many WITHDRAWs",
            frame(0x21, 0, 1, 0, &[0, 0, 0, 9]).repeat(10_000),
        ),
        ("R10 credit of nothing", credit(0, 0)),
        ("R10 credit without end", credit(0, 1 << 31)),
        (
            "R13 fewer bytes than their total",
            [total(9, b"1"), frame(0x11, 0, 0, 1, b"2")].concat(),
        ),
        (
            "R13 more bytes than their total",
            [total(2, b"1"), frame(0x11, 0, 0, 1, b"23")].concat(),
        ),
        (
            "R22 what is critical and unknown",
            frame(0x70, 0x80, 0, 0, b"?"),
        ),
        ("P4 a frame of 4 GiB", vec![0xFF; 16]),
    ]
}

/// How many `hang`, and how many did at once.
#[derive(Default)]
struct Hanging {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Hangs(Arc<Hanging>);

impl Drop for Hangs {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A broker with `hang`, and few slots.
fn hanging() -> (TcpBrokerBuilder, Arc<Hanging>) {
    let (registry, hanging) = (registry(), Arc::<Hanging>::default());
    let counted = hanging.clone();
    let hang = move |(): ()| {
        let hanging = counted.clone();
        async move {
            let now = hanging.now.fetch_add(1, Ordering::SeqCst) + 1;
            hanging.most.fetch_max(now, Ordering::SeqCst);
            let _hangs = Hangs(hanging);
            sleep_forever().await;
        }
    };
    registry.register_fn("hang", hang).unwrap();
    let mut limits = Limits::default();
    limits.max_calls = MOST as u32;
    let server = TcpBroker::builder(AsyncExecutor::new(registry, 64));
    (server.limits(limits).unwrap(), hanging)
}

async fn until(holds: impl Fn() -> bool) {
    let held = timeout(LONG, async {
        while !holds() {
            yield_now().await;
        }
    });
    held.await.expect("it comes to hold");
}

/// Writes as much as the broker takes, and waits for its end.
async fn does(stream: &mut TcpStream, harm: &[u8]) {
    // It may have closed in the middle.
    let _ = stream.write_all(harm).await;
    read_to_end(stream).await;
}

on_every_backend! {
    // R3, R8, R9, R10, R13, R22
    async fn who_breaks_a_rule_loses_the_connection_and_nobody_else_notices() {
        let (server, hanging) = hanging();
        server.keys([("k", secret())]).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let address = server.local_addrs()[0];
            let live = TcpBroker::caller().project("example").key_id("k").secret(secret()).connect(address);
            live.run(async |live| -> Result<(), Error> {
                let mut harms = 0;
                for (what, harm) in every_harm() {
                    // Its HELLO is right, and this is where its proof is due.
                    let before = server.statistics().calls_received;
                    let stream = TcpStream::connect(address).await.unwrap();
                    let mut stranger = RawPeer::with(stream, Side::Dialer, config());
                    stranger.flush().await;
                    does(&mut stranger.stream, &harm).await;
                    assert_eq!(server.statistics().calls_received, before, "{what}");
                    // And this is somebody who has the key.
                    let stream = TcpStream::connect(address).await.unwrap();
                    let mut known = RawPeer::with(stream, Side::Dialer, config());
                    known.until(|event| matches!(event, Event::Ready(_))).await;
                    known.flush().await;
                    does(&mut known.stream, &harm).await;
                    harms += 2;
                    until(|| server.statistics().violations == harms).await;
                    let sum = live.call_named::<i64>("add", (2, 3)).timeout(LONG);
                    assert_eq!(sum.await?, 5, "{what}");
                }
                // What they had begun has ended with them.
                until(|| server.connections() == 1 && hanging.now.load(Ordering::SeqCst) == 0).await;
                let seen = server.statistics();
                assert_eq!((seen.violations, seen.misfits, seen.lost), (harms, 0, 0), "{seen:?}");
                assert!(hanging.most.load(Ordering::SeqCst) <= MOST);
                Ok(())
            }).await
        }).await.unwrap();
    }

    // R8
    async fn calls_opened_and_given_up_at_once_never_run_beyond_their_slots() {
        let (server, hanging) = hanging();
        server.listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let address = server.local_addrs()[0];
            let live = TcpBroker::caller().project("example").connect(address);
            live.run(async |live| -> Result<(), Error> {
                let mut peer = RawPeer::dial(address, &Limits::default()).await;
                let first: Vec<u8> = (0..MOST as u64).flat_map(|n| open(2 * n + 1, 0, &[0xC0])).collect();
                peer.stream.write_all(&first).await.unwrap();
                until(|| hanging.now.load(Ordering::SeqCst) == MOST).await;
                // Each is given up, and another opened at once: it waits for no answer.
                let both = |id| [frame(0x14, 0, 1, id, &[]), open(id + 2 * MOST as u64, 0, &[0xC0])].concat();
                let flood: Vec<u8> = (0..20_000).flat_map(|n| both(2 * n + 1)).collect();
                let _ = peer.stream.write_all(&flood).await;
                let sum = live.call_named::<i64>("add", (2, 3)).timeout(LONG);
                assert_eq!(sum.await?, 5);
                drop(peer);
                until(|| server.connections() == 1 && hanging.now.load(Ordering::SeqCst) == 0).await;
                assert_eq!(hanging.most.load(Ordering::SeqCst), MOST);
                Ok(())
            }).await
        }).await.unwrap();
    }
}
