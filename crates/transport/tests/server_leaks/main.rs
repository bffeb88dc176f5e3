//! What very many connections, good and bad, leave behind: nothing. A test binary of its own, for it
//! counts descriptors and memory.
#![cfg(target_os = "linux")]

#[cfg(feature = "tls")]
#[expect(dead_code, reason = "this needs few kinds of certificates")]
#[path = "../tls/certificates.rs"]
mod certificates;
#[cfg(feature = "tls")]
mod handshakes;
mod idle;
mod network;
mod peers;

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::net::SocketAddr;
use std::panic;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_concurrency::{
    AnyError, GroupError, Root, TaskGroup, now, sleep, task_group, timeout, tree,
};
use bowline_sim::Sim;
#[cfg(feature = "tls")]
use bowline_transport::ServerLimits;
use bowline_transport::{MemoryNetwork, Server, ServerHandle, TcpConnector};
use futures_util::future::join_all;

#[cfg(feature = "tls")]
use crate::handshakes::{PATIENCE, Trust, shake_and_go};
use crate::peers::{come_and_go, line, obey};

/// Counts the bytes that are allocated.
struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: `pointer` came from `System`, by `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Held by each test, where the tests share a process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    static QUIET: Once = Once::new();
    // What is printed of a panic is kept by the harness, some kilobytes each, and would count.
    QUIET.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref() != Some(&peers::TOLD) {
                loud(info);
            }
        }));
    });
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longer than any connection takes.
const LONG: Duration = Duration::from_secs(60);

/// How often peers come and go: so often, or as `BOWLINE_CONNECTIONS` says. 100 000 take some minutes on each
/// runtime, longer than `nextest` lets a test run: `cargo test -p bowline-transport --all-features --test
/// server_leaks`.
fn cycles(usual: usize) -> usize {
    let asked = std::env::var("BOWLINE_CONNECTIONS").ok();
    asked.map_or(usual, |text| text.parse().expect("a number"))
}

/// Peers that come and go at the same time: one by one, most of the time would be that of waiting.
const AT_ONCE: usize = 16;

/// Descriptors, tasks and bytes that are in use.
fn in_use() -> (usize, usize, isize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let tasks = tree().entries().len();
    (descriptors, tasks, BYTES.load(Ordering::Relaxed))
}

/// The servers that peers come to, and what those need to know.
struct Place {
    plain: ServerHandle,
    memory: ServerHandle,
    network: MemoryNetwork,
    #[cfg(feature = "tls")]
    secure: ServerHandle,
    #[cfg(feature = "tls")]
    trust: Trust,
}

impl Place {
    /// One peer comes and goes.
    async fn cycle(&self, number: usize) {
        let gone = timeout(LONG, async {
            match number % 8 {
                0 => come_and_go(self.network.connect("shop").await.unwrap(), number / 8).await,
                #[cfg(feature = "tls")]
                1 => shake_and_go(dial(&self.secure, number).await, &self.trust, number / 8).await,
                _ => come_and_go(dial(&self.plain, number).await, number).await,
            }
        });
        gone.await
            .unwrap_or_else(|_| panic!("peer {number} does not go"));
    }

    /// So many come and go, some at a time.
    async fn cycles(&self, count: usize) {
        for first in (0..count).step_by(AT_ONCE) {
            let these = first..count.min(first + AT_ONCE);
            join_all(these.map(|number| self.cycle(number))).await;
        }
    }

    fn servers(&self) -> Vec<&ServerHandle> {
        vec![
            &self.plain,
            &self.memory,
            #[cfg(feature = "tls")]
            &self.secure,
        ]
    }

    /// Waits until no server has a connection.
    async fn all_gone(&self) {
        for server in self.servers() {
            let gone = timeout(LONG, async {
                while server.connections() > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            });
            gone.await.expect("no connection lasts");
        }
    }

    /// Ends the servers, of which every connection has ended, and in one way each.
    async fn drain(&self) {
        self.all_gone().await;
        let mut all = [0; 5];
        for server in self.servers() {
            let report = server.drain(LONG).await;
            assert_eq!(report.cancelled + report.aborted, 0, "{report:?}");
            let of = server.counters();
            let ends = [
                of.completed,
                of.broken,
                of.failed,
                of.panicked,
                of.handshakes_failed,
            ];
            assert_eq!(
                ends.iter().sum::<u64>() + of.cancelled,
                of.accepted,
                "{of:?}"
            );
            assert_eq!((server.connections(), server.is_serving()), (0, false));
            all.iter_mut()
                .zip(ends)
                .for_each(|(all, ended)| *all += ended);
        }
        let kinds = if cfg!(feature = "tls") { 5 } else { 4 };
        assert!(all[..kinds].iter().all(|ended| *ended > 0), "{all:?}");
    }
}

/// Connects to some addresses in turn, so that no port has to be used again too early.
async fn dial(server: &ServerHandle, number: usize) -> TcpStream {
    let port = server.local_addrs()[0].as_inet().unwrap().port();
    let host = match Backend::current() {
        Ok(Backend::Sim) => 1,
        _ => u8::try_from(number % 16 + 1).unwrap(),
    };
    let address = SocketAddr::from(([127, 0, 0, host], port));
    TcpConnector::new(address).connect().await.unwrap()
}

/// Runs servers, and `clients` beside them.
async fn with_servers<F>(clients: impl FnOnce(Arc<Place>) -> F + Send)
where
    F: Future<Output = ()> + Send,
{
    let network = MemoryNetwork::new();
    let plain = Server::tcp(("0.0.0.0", 0)).codec(line).bind().await;
    let memory = Server::memory(&network, "shop").codec(line).bind().await;
    let (plain, memory) = (plain.unwrap(), memory.unwrap());
    #[cfg(feature = "tls")]
    let (secure, trust) = {
        let trust = Trust::new();
        let limits = ServerLimits::new().handshake_timeout(PATIENCE);
        let server = Server::tcp(("0.0.0.0", 0)).tls(trust.server.clone());
        let bound = server.codec(line).limits(limits).bind().await;
        (bound.unwrap(), trust)
    };
    let place = Arc::new(Place {
        plain: plain.handle(),
        memory: memory.handle(),
        network,
        #[cfg(feature = "tls")]
        secure: secure.handle(),
        #[cfg(feature = "tls")]
        trust,
    });
    let ended: Result<(), GroupError<AnyError>> =
        task_group(|group: TaskGroup<AnyError>| async move {
            group.spawn(async move { Ok(plain.serve_fn(obey).await?) });
            group.spawn(async move { Ok(memory.serve_fn(obey).await?) });
            #[cfg(feature = "tls")]
            group.spawn(async move { Ok(secure.serve_fn(obey).await?) });
            clients(place.clone()).await;
            place.drain().await;
            Ok(())
        })
        .await;
    ended.unwrap();
}

fn nothing_is_left_on(backend: Backend) {
    let _alone = alone();
    // The root returns once nothing runs below it.
    let all = with_servers(|place| async move {
        // By then every table and cache has the room it needs, that for sessions of TLS among them.
        #[cfg(feature = "tls")]
        for number in 0..200 {
            // A machine that is busy may take longer than the server is patient.
            while place
                .trust
                .converse(dial(&place.secure, number).await)
                .await
                .is_err()
            {}
        }
        place.cycles(400).await;
        place.all_gone().await;
        let before = in_use();
        place.cycles(cycles(1500)).await;
        place.all_gone().await;
        // What was reset in a backlog is taken, and given back.
        let deadline = now() + LONG;
        let more = |after: (usize, usize, isize)| after.0 > before.0 || after.1 > before.1;
        while more(in_use()) && now() < deadline {
            sleep(Duration::from_millis(1)).await;
        }
        let after = in_use();
        assert!(!more(after), "{backend}: {after:?}, before {before:?}");
        // What runtimes keep comes and goes, as does the one buffer for records of each thread, and
        // grows with no connection.
        let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
        let most = isize::try_from(32 + threads * 36).unwrap() * 1024;
        let grown = after.2 - before.2;
        assert!(grown < most, "{backend}: {grown} bytes more");
    });
    Root::new().backend(backend).block_on(Box::pin(all));
}

// SV8
#[test]
fn nothing_is_left_after_very_many_connections_on_tokio() {
    nothing_is_left_on(Backend::Tokio);
}

// SV8
#[test]
fn nothing_is_left_after_very_many_connections_on_smol() {
    nothing_is_left_on(Backend::Smol);
}

// SV8
#[test]
fn nothing_is_left_after_very_many_connections_on_async_std() {
    nothing_is_left_on(Backend::AsyncStd);
}

// SV8
#[test]
fn a_simulated_host_is_left_as_it_was() {
    let _alone = alone();
    for seed in 0..2 {
        let passed = Arc::new(AtomicUsize::new(0));
        let passing = passed.clone();
        let mut world = Sim::builder()
            .seed(seed)
            .client("one", move || {
                let passing = passing.clone();
                let all = with_servers(|place| async move {
                    for part in [400, cycles(1000)] {
                        for number in 0..part {
                            place.cycle(number).await;
                        }
                        // What a closed connection is remembered for is over then.
                        sleep(LONG * 5).await;
                        passing.fetch_add(1, Ordering::SeqCst);
                        sleep(LONG).await;
                    }
                });
                Root::new().backend(Backend::Sim).entered(all)
            })
            .build();
        let mut after = |part| {
            let passed = |_: &_| passed.load(Ordering::SeqCst) == part;
            world.run_until(passed).unwrap();
            world.stats("one").unwrap()
        };
        let before = after(1);
        assert_eq!(after(2), before, "seed {seed}");
        // The world names every task, socket and timer that is left once the client is done.
        world.run_until(|world| world.is_finished()).unwrap();
    }
}
