//! What a child does.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::exit;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::UnixStream;
use bowline_backend::signal::{Signal, listen};
use bowline_concurrency::{Root, TaskGroup, task_group};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::dup2_stdin;

use super::build::{FileName, SAME_FILE, build_id, methods_id, this_program};
use super::numbers::Numbers;
use super::relay::MOST;
use super::upward::Upward;
use crate::executor::AsyncExecutor;
use crate::executor::async_executor::CANCEL_GRACE;
use crate::proto::Side;
use crate::{Broker, Codec, Error, ErrorKind, Limits, Registry, TcpBroker, TcpBrokerBuilder};

/// Names the pool that a child serves.
pub(super) const POOL: &str = "BOWLINE_WORKER";
/// How many calls a child runs at once.
pub(super) const CALLS: &str = "BOWLINE_WORKER_CALLS";
/// How many milliseconds the clean-up of a cancelled handler may take in a child.
pub(super) const GRACE: &str = "BOWLINE_WORKER_GRACE";
/// The file that the parent runs.
pub(super) const PROGRAM: &str = "BOWLINE_WORKER_PROGRAM";
/// Answers what the child is built from and offers.
pub(super) const IDENTITY: &str = "sys.worker.identity";
/// Answers whether the call with this number, of those of the parent, goes on.
pub(super) const RUNS: &str = "sys.worker.runs";
/// Bytes of metadata: as many as go with arguments into one frame.
const MOST_METADATA: u16 = 60_000;
/// Bytes of a message: about as many as the credit of a call counts.
const MOST_MESSAGE: u32 = (1 << 31) - (1 << 20);
/// The first exchange with a child that starts: longer than anybody waits for one.
const MEETING: Duration = Duration::from_secs(24 * 3600);
/// How long either end may be silent, or read nothing: as long as can be said. One whose handlers hold its threads is
/// as silent as one that is stopped, and the other hears of its end from the system.
const SILENCE: Duration = Duration::from_millis(u32::MAX as u64);

/// What a child says of itself: its build and its methods.
pub(super) type Identity = ([u8; 16], [u8; 16]);

/// Either end of the socket between parent and child. Arguments, replies and items are those of another
/// call, whose broker and method have their own limits, and callers are told by that broker what its
/// callers are told.
pub(super) fn between_processes(
    builder: TcpBrokerBuilder,
    registry: &Registry,
) -> Result<TcpBrokerBuilder, Error> {
    let limits = Limits {
        max_methods: MOST,
        max_metadata: MOST_METADATA,
        max_message: MOST_MESSAGE,
        reassembly: MOST_MESSAGE as usize,
        queue_bytes: MOST_MESSAGE as usize,
        reply_bytes: MOST_MESSAGE as usize,
        // The start of a child has a time of its own, before which it builds its registry.
        handshake_timeout: MEETING,
        heartbeat: SILENCE,
        write_stall: SILENCE,
        ..Limits::default()
    };
    let all = [Codec::Postcard, Codec::MessagePack, Codec::Json];
    let own = registry.codecs_of_its_own().iter().copied();
    let builder = builder.codecs(all.into_iter().chain(own));
    Ok(builder.limits(limits)?.allow_unbounded().expose_internals())
}

/// Whether this process came to its [`worker_entry`] as a child.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Refuses in a child that went past where it was to serve: it runs the whole program once more, and a
/// child of its own would do so too, without end.
pub(super) fn check_entered() -> Result<(), Error> {
    if ENTERED.load(Ordering::Relaxed) || std::env::var_os(POOL).is_none() {
        return Ok(());
    }
    let text = "this process is a child of a pool and did not come to its `worker_entry`, which has to be \
                the first statement of `main`, as `workers(..)` of `#[bowline::main]` makes it";
    Err(Error::new(ErrorKind::InvalidInput, text))
}

/// How a child ends that cannot serve.
const UNUSABLE: i32 = 70;
/// What handlers get to clean up once the parent is gone; more than they get from it.
const FAREWELL: Duration = Duration::from_secs(2);

/// The entry of child processes: the first statement of `main` in a program with a
/// [`ProcessPoolExecutor`](crate::executor::ProcessPoolExecutor).
///
/// In a child it serves the pool it was started for, on the default backend, and never returns; else
/// it returns at once. Each pool has a name and the function that builds its registry.
///
/// ```
/// use bowline_rpc::{Registry, worker_entry};
///
/// fn build_registry() -> Registry {
///     let registry = Registry::new("example");
///     let _ = registry.register_blocking("mul", |(a, b): (i64, i64)| a * b);
///     registry
/// }
///
/// worker_entry(&[("pool", build_registry)]);
/// ```
#[expect(clippy::type_complexity, reason = "a list of names and functions")]
pub fn worker_entry(pools: &[(&str, fn() -> Registry)]) {
    let Ok(name) = std::env::var(POOL) else {
        return;
    };
    let Some((_, build)) = pools.iter().find(|(pool, _)| *pool == name) else {
        let known: Vec<_> = pools.iter().map(|(pool, _)| *pool).collect();
        eprintln!("this program has no pool of workers called {name:?}; there are {known:?}");
        exit(UNUSABLE);
    };
    ENTERED.store(true, Ordering::Relaxed);
    let calls = number(CALLS).unwrap_or(1);
    let grace = number(GRACE).map_or(CANCEL_GRACE, Duration::from_millis);
    let root = Root::new().backend(Backend::default());
    root.block_on(serve_and_exit(build(), calls, grace));
}

/// What the parent says under `name`.
fn number<N: FromStr>(name: &str) -> Option<N> {
    std::env::var(name).ok()?.parse().ok()
}

async fn serve_and_exit(registry: Registry, calls: usize, grace: Duration) {
    // Not by returning: a handler that holds its thread does not hold the process.
    exit(match serve(registry, calls, grace).await {
        Ok(()) => 0,
        // The parent left meanwhile.
        Err(error) if error.kind() == ErrorKind::Transport => UNUSABLE,
        Err(error) => {
            eprintln!("the worker cannot serve: {error}");
            UNUSABLE
        }
    })
}

async fn serve(registry: Registry, calls: usize, grace: Duration) -> Result<(), Error> {
    let failed = |error: io::Error| {
        Error::with_source(ErrorKind::InvalidInput, "no way to serve the parent", error)
    };
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    // Programs that handlers start have the standard input of this one: the protocol is not for them,
    // and one that outlives this process would keep the socket open.
    let nothing = File::open("/dev/null").map_err(failed)?;
    dup2_stdin(&nothing).map_err(|error| failed(error.into()))?;
    // They are for the parent, which may let calls come to their end: a service manager sends them to
    // every process. Children end with their socket.
    for signal in [Signal::Interrupt, Signal::Terminate] {
        drop(listen(signal).map_err(failed)?);
    }
    end_after(input.try_clone().map_err(failed)?).map_err(failed)?;
    let stream = UnixStream::from_std(input.into()).map_err(failed)?;
    let build = this_program().and_then(|program| {
        let parent = std::env::var(PROGRAM).unwrap_or_default();
        match FileName::of(&program)?.to_string() == parent {
            true => Ok(SAME_FILE),
            false => build_id(&program),
        }
    });
    let build = build
        .map_err(|error| Error::with_source(ErrorKind::InvalidInput, "no executable", error))?;

    let registry = registry.to_unlocked();
    let identity: Identity = (build, methods_id(&registry));
    let numbers = Numbers::default();
    let running = numbers.clone();
    registry.reserve(IDENTITY, move |(): ()| async move { identity });
    registry.reserve(RUNS, move |(number,): (u64,)| {
        let runs = running.contain(number);
        async move { runs }
    });
    // Calls of handlers count at levels of their own in the parent, and at none of them here; and one
    // place more is for the questions.
    let served = registry.clone();
    let made = AsyncExecutor::that_begins(registry, 2 * calls + 8, numbers).cancel_grace(grace);
    let ended = task_group::<_, Infallible, _, _>(|group: TaskGroup<Infallible>| async move {
        let started = async {
            // What callers are told is for the parent to say.
            let builder = between_processes(TcpBroker::builder(made), &served)?;
            let builder = builder.introduced_as(Upward::over);
            builder.adopt(stream, Side::Listener).start(&group).await
        };
        match started.await {
            Ok(broker) => {
                broker.closed().await;
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    });
    ended.await.unwrap_or(Ok(()))
}

/// Ends this process a while after its parent has gone: on a thread of its own, as handlers may hold
/// every thread of the backend.
#[expect(
    clippy::disallowed_methods,
    reason = "there are no processes in simulated worlds"
)]
fn end_after(parent: OwnedFd) -> io::Result<()> {
    let watch = move || {
        // It is always told that the other end is closed, and nothing else was asked for.
        let mut parent = [PollFd::new(&parent, PollFlags::empty())];
        while poll(&mut parent, None) == Err(Errno::INTR) {}
        thread::sleep(FAREWELL);
        exit(0)
    };
    let thread = thread::Builder::new().name("bowline-parent".into());
    thread.stack_size(64 * 1024).spawn(watch).map(drop)
}

#[cfg(test)]
mod tests {
    use bowline_backend::net::{Family, Query, resolve};
    use bowline_concurrency::sleep;
    use bowline_sim::Sim;
    use futures_util::future::join_all;

    use super::*;
    use crate::Caller;

    const SOON: Duration = Duration::from_millis(500);
    const HOUR: Duration = Duration::from_secs(3600);
    /// Calls and the bytes of each, which need no credit: together more than sockets hold.
    const CALLS: usize = 200;
    const LARGE: usize = 60_000;

    fn methods() -> Registry {
        let registry = Registry::new("example");
        let echo = |(text,): (String,)| async move {
            sleep(2 * SOON).await;
            text
        };
        registry.register_fn("echo", echo).expect("it is a name");
        registry
    }

    async fn child() -> Result<(), Error> {
        let executor = AsyncExecutor::new(methods(), CALLS);
        let child = between_processes(TcpBroker::builder(executor), &methods())?;
        let child = child.listen("0.0.0.0:80").allow_insecure_network();
        let ran = async |child: TcpBroker| -> Result<(), Error> {
            child.closed().await;
            Ok(())
        };
        child.run(ran).await
    }

    async fn parent() -> Result<(), Error> {
        let query = Query::host("child", 80).family(Family::V4);
        let to = resolve(query).await.expect("it has an address")[0];
        let parent = TcpBroker::caller().project("example");
        let parent = between_processes(parent, &methods())?;
        let parent = parent.connect(to).allow_insecure_network();
        let ran = async |parent: TcpBroker| -> Result<(), Error> {
            let call = async |after| {
                sleep(after).await;
                let call = parent.call_named::<String>("echo", ("x".repeat(LARGE),));
                call.no_deadline().await
            };
            // Those that a stopped parent takes no replies of, and those that a stopped child does not take.
            let calls = (0..CALLS).flat_map(|_| [call(Duration::ZERO), call(3 * SOON)]);
            for echoed in join_all(calls).await {
                assert_eq!(echoed?.len(), LARGE);
            }
            assert!(Sim::now() > HOUR, "nobody was stopped");
            Ok(())
        };
        parent.run(ran).await
    }

    // EX10
    #[test]
    fn a_process_that_does_not_get_to_its_socket_for_hours_is_not_taken_for_dead() {
        // As one whose handlers hold all its threads.
        for stopped in ["child", "parent"] {
            let world = Sim::builder().host("child", child).client("parent", parent);
            let world = world
                .at(SOON, |world| world.pause(stopped))
                .at(HOUR, |world| world.resume(stopped));
            world.horizon(2 * HOUR).run().expect("neither is dead");
        }
    }
}
