//! What servers log, and how often.
#![cfg(feature = "tracing")]

#[cfg(target_os = "linux")]
#[path = "apart/child.rs"]
mod child;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{TcpStream, UdpSocket};
use bowline_backend::stream::{Address, ByteStreamExt};
use bowline_codec::{Lines, Text};
use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, now, sleep, task_group, timeout};
use bowline_transport::{
    Listener, Listeners, MessageStream, Server, ServerHandle, ServerLimits, TcpConnector, Transport,
};
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// Counts events by their level and words, and the others of which they say that they were left out.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<BTreeMap<(Level, String), usize>>>, Arc<AtomicU64>);

impl Counter {
    fn count(&self, level: Level, words: &str) -> usize {
        let counts = self.0.lock().unwrap();
        counts.get(&(level, words.to_owned())).copied().unwrap_or(0)
    }
}

struct Words(String, u64);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "left_out" {
            self.1 = value;
        }
    }
}

impl Subscriber for Counter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words(String::new(), 0);
        event.record(&mut words);
        self.1.fetch_add(words.1, Ordering::Relaxed);
        let level = *event.metadata().level();
        *self.0.lock().unwrap().entry((level, words.0)).or_default() += 1;
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Has no descriptors for so many times.
struct Exhausted {
    listeners: Listeners,
    times: usize,
}

impl Listener for Exhausted {
    type Connection = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Address)>> {
        const EMFILE: i32 = 24;
        if self.times > 0 {
            self.times -= 1;
            return Poll::Ready(Err(io::Error::from_raw_os_error(EMFILE)));
        }
        self.listeners.poll_accept(cx)
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        self.listeners.local_addrs()
    }
}

#[derive(Debug)]
struct Told;

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told to fail")
    }
}

async fn command(server: &ServerHandle, command: &str) {
    let address = server.local_addrs()[0].as_inet().unwrap();
    let stream = TcpConnector::new(address).connect().await.unwrap();
    let mut client = MessageStream::new(stream, Lines::lf().text());
    match command {
        "break" => client.abort(),
        command => {
            client.send(&command.to_owned()).await.unwrap();
            let _ = client.recv().await;
        }
    }
}

/// Accepts after a while without descriptors, and has one connection of each kind.
async fn scene() {
    let listeners = Listeners::builder(0).host("127.0.0.1").bind().await;
    let listener = Exhausted {
        listeners: listeners.unwrap(),
        times: 200,
    };
    let bound = Server::over(listener).codec(|| Lines::lf().text());
    let bound = bound.bind().await.unwrap();
    let handle = bound.handle();
    let serving = bound.serve_each(|peer, line: String| async move {
        match &*line {
            "fail" => Err(Told),
            "panic" => panic!("told to"),
            line => peer.send(&line.to_owned()).await.map_err(|_| Told),
        }
    });
    let ended: Result<(), GroupError<AnyError>> =
        task_group(|group: TaskGroup<AnyError>| async move {
            group.spawn(async move { Ok(serving.await?) });
            for what in ["fail", "panic", "break", "echo"] {
                command(&handle, what).await;
            }
            handle.drain(Duration::from_secs(10)).await;
            assert_eq!(handle.counters().accept_exhausted, 200);
            Ok(())
        })
        .await;
    ended.unwrap();
}

// SV1, SV4
#[test]
fn what_goes_on_is_said_seldom_and_what_happens_once() {
    for seed in 0..5 {
        let counter = Counter::default();
        let seconds = dispatcher::with_default(&Dispatch::new(counter.clone()), || {
            let root = Root::new().backend(Backend::Sim);
            bowline_sim::block_on(
                seed,
                root.entered(async {
                    let begun = now();
                    scene().await;
                    now().saturating_duration_since(begun).as_secs() as usize
                }),
            )
        });
        let pauses = counter.count(Level::WARN, "accepting pauses");
        assert!(seconds > 90, "{seconds}");
        assert!(
            (2..=seconds / 5 + 1).contains(&pauses),
            "{pauses} in {seconds} s"
        );
        assert_eq!(counter.count(Level::ERROR, "the handler failed"), 1);
        assert_eq!(counter.count(Level::ERROR, "the handler panicked"), 1);
        assert!(counter.count(Level::DEBUG, "the connection broke") >= 1);
    }
}

/// Has one place, for five that come one after the other, with a pause before the fourth.
async fn one_by_one() {
    let bound = Server::tcp(("127.0.0.1", 0)).codec(|| Lines::lf().text());
    let bound = bound.limits(ServerLimits::new().max_connections(1));
    let bound = bound.bind().await.unwrap();
    let (handle, address) = (bound.handle(), bound.local_addrs()[0].as_inet().unwrap());
    let serving = bound.serve_each(|peer, line: String| async move { peer.send(&line).await });
    let ended: Result<(), GroupError<AnyError>> =
        task_group(|group: TaskGroup<AnyError>| async move {
            group.spawn(async move { Ok(serving.await?) });
            assert_eq!(handle.counters().accept_full, 0);
            for n in 1..=5 {
                if n == 4 {
                    sleep(Duration::from_secs(6)).await;
                }
                let stream = TcpConnector::new(address).connect().await?;
                let mut client = MessageStream::new(stream, Lines::lf().text());
                client.send(&n.to_string()).await?;
                assert_eq!(client.recv().await?, Some(n.to_string()));
                assert_eq!(handle.counters().accept_full, n);
                // It has waited for as long as the place is taken, which says nothing more.
                sleep(Duration::from_millis(100)).await;
                assert_eq!(handle.counters().accept_full, n);
                client.close().await?;
            }
            handle.drain(Duration::from_secs(10)).await;
            Ok(())
        })
        .await;
    ended.unwrap();
}

// SV1, SV2
#[test]
fn that_no_place_is_left_is_counted_and_said_seldom() {
    for seed in 0..5 {
        let counter = Counter::default();
        dispatcher::with_default(&Dispatch::new(counter.clone()), || {
            let root = Root::new().backend(Backend::Sim);
            bowline_sim::block_on(seed, root.entered(one_by_one()));
        });
        let words = "accepting waits: there are as many connections as may be";
        assert_eq!(counter.count(Level::WARN, words), 2);
    }
}

/// Has peers that send what is no text, then some that make the handler fail and panic: by connections and by
/// packets; two of each come when the log has rested. Whether the others were within the time that it
/// takes to.
async fn nonsense() -> bool {
    async fn answer(text: String) -> Result<(), Told> {
        assert_ne!(text, "panic");
        Err(Told)
    }
    let bound = Server::tcp(("127.0.0.1", 0)).codec(|| Lines::lf().text());
    let bound = bound.bind().await.unwrap();
    let (handle, address) = (bound.handle(), bound.local_addrs()[0].as_inet().unwrap());
    let serving = bound.serve_each(|_, text| answer(text));
    let packets = Server::udp("127.0.0.1:0").codec(Text::new).bind();
    let packets = packets.await.unwrap();
    let (packet_handle, to) = (packets.handle(), packets.local_addrs()[0].clone());
    let serving_packets = packets.serve_each(|_, text| answer(text));
    let ended: Result<bool, GroupError<AnyError>> =
        task_group(|group: TaskGroup<AnyError>| async move {
            group.spawn(async move { Ok(serving.await?) });
            group.spawn(async move { Ok(serving_packets.await?) });
            let (begun, mut within) = (now(), true);
            let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
            for n in 1..=40 {
                if n == 39 {
                    within = now().saturating_duration_since(begun) < Duration::from_secs(5);
                    sleep(Duration::from_secs(6)).await;
                }
                for said in [&b"\xff\n"[..], b"fail\n", b"panic\n"] {
                    let mut stream = TcpConnector::new(address).connect().await?;
                    stream.write_all(said).await?;
                    let mut rest = bytes::BytesMut::new();
                    let most = NonZeroUsize::new(64).unwrap();
                    while let Ok(1..) = stream.read_into(&mut rest, most).await {}
                    socket.send_to(said.trim_ascii_end(), &to).await?;
                }
                let there = || {
                    let (one, other) = (handle.counters(), packet_handle.counters());
                    let of_one = [one.undecoded, one.failed, one.panicked];
                    [of_one, [other.undecoded, other.failed, other.panicked]]
                };
                while there() != [[n; 3]; 2] {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            handle.drain(Duration::from_secs(10)).await;
            packet_handle.drain(Duration::from_secs(10)).await;
            Ok(within)
        })
        .await;
    ended.unwrap()
}

// SV4, SV7
#[test]
fn no_peer_writes_the_log() {
    let counter = Counter::default();
    let within = dispatcher::with_default(&Dispatch::new(counter.clone()), || {
        let root = Root::new().backend(Backend::Sim);
        bowline_sim::block_on(
            0,
            root.entered(async {
                let nonsense = timeout(Duration::from_secs(60), nonsense());
                nonsense.await.unwrap()
            }),
        )
    });
    assert!(within, "the simulated hosts are slow");
    // What was sent is no fault of ours, and faults are said 16 times by each server, panics
    // among them.
    assert_eq!(counter.count(Level::ERROR, "the handler failed"), 20);
    assert_eq!(counter.count(Level::ERROR, "the handler panicked"), 20);
    assert_eq!(counter.1.load(Ordering::Relaxed), 2 * (2 * 38 - 16));
    assert_eq!(
        counter.count(Level::DEBUG, "a message could not be decoded"),
        40
    );
    assert_eq!(
        counter.count(Level::DEBUG, "a packet could not be decoded"),
        40
    );
}

/// Processor time of all threads of this process so far.
#[cfg(target_os = "linux")]
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.cast_unsigned(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// Takes all descriptors that this process may still have.
#[cfg(target_os = "linux")]
fn take_all() -> Vec<std::fs::File> {
    child::descriptors(64);
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    taken
}

/// A server without descriptors for more connections, and with some again.
#[cfg(target_os = "linux")]
fn run_out(backend: Backend) {
    let counter = Counter::default();
    dispatcher::set_global_default(Dispatch::new(counter.clone())).unwrap();
    let scene = async {
        let bound = Server::tcp(("127.0.0.1", 0)).codec(|| Lines::lf().text());
        let bound = bound.bind().await.unwrap();
        let handle = bound.handle();
        let address = handle.local_addrs()[0].as_inet().unwrap();
        let serving = bound.serve_each(|peer, line: String| async move { peer.send(&line).await });
        let ended: Result<(), GroupError<AnyError>> =
            task_group(|group: TaskGroup<AnyError>| async move {
                group.spawn(async move { Ok(serving.await?) });
                let stream = TcpConnector::new(address).connect().await?;
                let mut before = MessageStream::new(stream, Lines::lf().text());
                before.send(&"before".to_owned()).await?;
                assert_eq!(before.recv().await?.as_deref(), Some("before"));
                let mut taken = take_all();
                // The only one left is for the side that connects.
                taken.pop();
                let stream = TcpConnector::new(address).connect().await?;
                let mut waiting = MessageStream::new(stream, Lines::lf().text());
                waiting.send(&"waiting".to_owned()).await?;
                while handle.counters().accept_exhausted == 0 {
                    sleep(Duration::from_millis(10)).await;
                }
                let (begun, used) = (now(), spent());
                while handle.counters().accept_exhausted < 7 {
                    sleep(Duration::from_millis(100)).await;
                }
                let (passed, used) = (now().saturating_duration_since(begun), spent() - used);
                assert!(used < passed / 100, "{used:?} of {passed:?}");
                // Whoever is connected is served meanwhile.
                before.send(&"meanwhile".to_owned()).await?;
                assert_eq!(before.recv().await?.as_deref(), Some("meanwhile"));
                assert_eq!(handle.counters().accepted, 1);
                taken.clear();
                assert_eq!(waiting.recv().await?.as_deref(), Some("waiting"));
                let paused = now().saturating_duration_since(begun).as_secs() as usize;
                let said = counter.count(Level::WARN, "accepting pauses");
                assert!((1..=paused / 5 + 1).contains(&said), "{said} in {paused} s");
                handle.drain(Duration::from_secs(10)).await;
                assert_eq!(handle.counters().accepted, 2);
                Ok(())
            })
            .await;
        ended.unwrap();
    };
    Root::new().backend(backend).block_on(Box::pin(scene));
}

// SV1
#[cfg(target_os = "linux")]
#[test]
fn tokio_without_descriptors_rests() {
    child::run("tokio_without_descriptors_rests", Backend::Tokio, run_out);
}

// SV1
#[cfg(target_os = "linux")]
#[test]
fn smol_without_descriptors_rests() {
    child::run("smol_without_descriptors_rests", Backend::Smol, run_out);
}

// SV1
#[cfg(target_os = "linux")]
#[test]
fn async_std_without_descriptors_rests() {
    child::run(
        "async_std_without_descriptors_rests",
        Backend::AsyncStd,
        run_out,
    );
}
