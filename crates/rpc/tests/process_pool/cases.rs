//! The cases, and the methods they call.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::time;
use bowline_concurrency::{Root, TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::{Executor, ProcessPoolExecutor};
use bowline_rpc::{
    Call, CallError, Caller, Certainty, Code, Context, DeclaredName, Error, ErrorKind, Incoming,
    MemoryBroker, MethodDef, MethodSpec, NoError, Registry, TcpBroker,
};
use futures_util::{StreamExt, stream};

const LONG: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(100);

/// A call by hand: its only argument is a path.
macro_rules! call {
    ($name:ident, $wire:literal, $spec:expr, |$path:ident, $context:ident| $run:block) => {
        #[derive(Debug)]
        struct $name(String);

        impl Call for $name {
            type Args = (String,);
            type Reply = u32;
            type Error = NoError;
            const NAME: DeclaredName = DeclaredName::explicit($wire);
            const SPEC: MethodSpec = $spec;

            fn into_args(self) -> Self::Args {
                (self.0,)
            }

            fn from_args((path,): Self::Args) -> Self {
                $name(path)
            }

            async fn run(self, $context: Context) -> Result<u32, NoError> {
                let $path = self.0;
                Ok($run)
            }
        }
    };
}

// Kills its process, the first time it is called with a path.
call!(
    DiesOnce,
    "dies_once",
    MethodSpec::new().idempotent(),
    |path, _context| {
        if std::fs::write(&path, b"").is_ok()
            && std::fs::remove_file(format!("{path}.first")).is_ok()
        {
            std::process::abort();
        }
        std::process::id()
    }
);
// Says where it runs, and goes on until it is told.
call!(
    UntilTold,
    "until_told",
    MethodSpec::new().blocking(),
    |path, context| {
        let _ = std::fs::write(path, std::process::id().to_string());
        while !context.is_cancelled() {
            std::thread::yield_now();
        }
        7
    }
);
// Goes on whatever it is told.
call!(
    Stubborn,
    "stubborn",
    MethodSpec::new().blocking(),
    |path, _context| {
        let _ = std::fs::write(path, std::process::id().to_string());
        while for_ever() {
            std::thread::park();
        }
        7
    }
);

/// True, which the compiler does not know.
fn for_ever() -> bool {
    std::process::id() != 0
}

pub(crate) fn registry() -> Registry {
    if std::env::var_os("CRASH_AT_START").is_some() {
        std::process::abort();
    }
    let registry = Registry::new("example");
    registry
        .register_blocking("mul", |(a, b, c): (i64, i64, i64)| a * b * c)
        .and_then(|_| registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b }))
        .and_then(|_| registry.register_fn("pid", |(): ()| async { std::process::id() }))
        .and_then(|_| {
            registry.register_fn("fall", |(): ()| async {
                assert!(std::process::id() == 0, "as it should")
            })
        })
        .and_then(|_| {
            registry.register_fn("code", |(code,): (i32,)| async move {
                std::process::exit(code) as ()
            })
        })
        .and_then(|_| {
            registry.register_stream("count", |(to,): (u32,)| {
                stream::iter(0..to).map(|number| (std::process::id(), number))
            })
        })
        .and_then(|_| {
            registry.register_stream("double", |(): (), items: Incoming<u32>| {
                items.map(|item| item.map_or(0, |item| 2 * item))
            })
        })
        .and_then(|_| {
            registry.register_fn("sum", |(): (), mut items: Incoming<u32>| async move {
                let mut sum = 0;
                while let Ok(Some(item)) = items.recv().await {
                    sum += item;
                }
                sum
            })
        })
        .expect("the names are names");
    registry
        .register_all([
            MethodDef::of::<DiesOnce>(),
            MethodDef::of::<UntilTold>(),
            MethodDef::of::<Stubborn>(),
        ])
        .expect("the names are names");
    registry
}

pub(crate) fn other_registry() -> Registry {
    Registry::new("example")
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::new(registry(), "pool", workers).respawn(Duration::from_millis(10))
}

/// A path of this run; removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let number = Backend::default().random_u64();
        Self(std::env::temp_dir().join(format!("bowline-{name}-{number:016x}")))
    }

    fn text(&self) -> String {
        self.0.display().to_string()
    }

    /// The pid that a handler wrote.
    async fn pid(&self) -> u32 {
        loop {
            let pid = std::fs::read_to_string(&self.0).ok();
            if let Some(pid) = pid.and_then(|pid| pid.parse().ok()) {
                return pid;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether there is such a process, be it a zombie.
fn exists(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

async fn gone(pid: u32) {
    let none = async {
        while exists(pid) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, none).await.expect("it is reaped");
}

fn ended<T: std::fmt::Debug, E: std::fmt::Debug>(
    outcome: Result<T, CallError<E>>,
) -> (Code, Certainty) {
    let error = outcome.expect_err("it fails");
    (error.code(), error.certainty())
}

// EX1, EX2, EX3
async fn calls_run_in_children_and_no_more_than_there_are() {
    let executor = pool(4).queue(100);
    TcpBroker::builder(executor.clone())
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller()
                .project("example")
                .connect(server.local_addrs()[0]);
            client
                .run(async |client| -> Result<(), Error> {
                    assert_eq!(client.call_named::<i64>("mul", (1, 2, 3)).await?, 6);
                    let pids = task_group(|group: TaskGroup<CallError>| async move {
                        let calls: Vec<_> = (0..100)
                            .map(|_| {
                                let client = client.clone();
                                group
                                    .spawn(async move { client.call_named::<u32>("pid", ()).await })
                            })
                            .collect();
                        let mut pids = BTreeSet::new();
                        for call in calls {
                            pids.extend(call.join().await.ok());
                        }
                        Ok(pids)
                    })
                    .await
                    .expect("each is answered");
                    assert!((1..=4).contains(&pids.len()), "{pids:?}");
                    assert!(!pids.contains(&std::process::id()));
                    Ok(())
                })
                .await
        })
        .await
        .expect("the case holds");
}

// EX6
async fn a_panic_fails_its_call_and_not_its_child() {
    MemoryBroker::new(pool(1))
        .run(async |broker| -> Result<(), Error> {
            let pid = broker.call_named::<u32>("pid", ()).await?;
            assert_eq!(
                ended(broker.call_named::<()>("fall", ()).await),
                (Code::Panic, Certainty::Executed)
            );
            assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
            // What does not decode is found in the child.
            assert_eq!(
                ended(broker.call_named::<i64>("add", ("a", 1)).await),
                (Code::BadArguments, Certainty::Refused)
            );
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX7, EX17
async fn a_job_that_nobody_waits_for_never_runs() {
    let (running, late, given_up) = (
        Scratch::new("running"),
        Scratch::new("late"),
        Scratch::new("given-up"),
    );
    MemoryBroker::new(pool(1).queue(10))
        .run(async |broker| -> Result<(), Error> {
            let ended_by = task_group(|group: TaskGroup<Error>| async move {
                let (calling, path) = (broker.clone(), running.text());
                let call = group
                    .spawn_ok(async move { calling.call(UntilTold(path)).no_deadline().await });
                running.pid().await;
                // The only child is busy: one whose deadline passes, and one whose caller goes.
                let outcome = broker.call(UntilTold(late.text())).timeout(SOON).await;
                assert_eq!(ended(outcome), (Code::DeadlineExceeded, Certainty::Refused));
                let gone = broker.call(UntilTold(given_up.text())).into_future();
                assert!(timeout(SOON, gone).await.is_err(), "it ended");
                call.cancel("it is over");
                assert!(call.join().await.is_err(), "it ended");
                // Whatever was in the queue had its turn before this one.
                assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
                for scratch in [&late, &given_up] {
                    assert!(!scratch.0.exists(), "it ran");
                }
                Ok(())
            })
            .await;
            ended_by.map_err(|error| panic!("{error}"))
        })
        .await
        .expect("the case holds");
}

// EX10
async fn a_child_that_is_killed_ends_its_call_and_nothing_else() {
    let (one, two) = (Scratch::new("one"), Scratch::new("two"));
    MemoryBroker::new(pool(2))
        .run(async |broker| -> Result<(), Error> {
            let ended_by = task_group(|group: TaskGroup<Error>| async move {
                let call = |scratch: &Scratch| {
                    let (broker, path) = (broker.clone(), scratch.text());
                    group.spawn_ok(async move { broker.call(UntilTold(path)).no_deadline().await })
                };
                let calls = [call(&one), call(&two)];
                let (killed, other) = (one.pid().await, two.pid().await);
                assert_ne!(killed, other);
                kill(killed, "KILL");
                let [killed_call, other_call] = calls;
                let error = killed_call
                    .join()
                    .await
                    .expect("it has its outcome")
                    .expect_err("its child died");
                assert_eq!(
                    (error.code(), error.certainty()),
                    (Code::ConnectionLost, Certainty::MaybeExecuted)
                );
                assert_eq!(
                    error.message(),
                    format!("the worker {killed} ended by signal 9")
                );
                gone(killed).await;
                // The other goes on, and another child takes the next call.
                assert!(exists(other));
                let next = broker.call_named::<u32>("pid", ()).await?;
                assert!(next != killed && next != other);
                other_call.cancel("the case is over");
                assert!(other_call.join().await.is_err(), "it ended");
                // How a child ends is told.
                let error = broker
                    .call_named::<()>("code", (7,))
                    .await
                    .expect_err("it exits");
                assert!(
                    error.message().ends_with("ended with code 7"),
                    "{}",
                    error.message()
                );
                // Where it may run twice it does.
                let twice = Scratch::new("twice");
                std::fs::write(format!("{}.first", twice.text()), b"")
                    .expect("the place is writable");
                assert!(broker.call(DiesOnce(twice.text())).await.is_ok());
                Ok(())
            })
            .await;
            ended_by.map_err(|error| panic!("{error}"))
        })
        .await
        .expect("the case holds");
}

// EX11
async fn children_that_crash_at_their_start_are_started_rarely() {
    let executor = pool(1)
        .env("CRASH_AT_START", "1")
        .respawn(Duration::from_secs(20));
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> {
            // While the pool pauses a call waits no longer than it is told.
            let began = time::now();
            let late = broker.call_named::<i64>("add", (1, 2)).timeout(SOON).await;
            assert_eq!(
                late.expect_err("no child serves").code(),
                Code::DeadlineExceeded
            );
            assert!(time::now().saturating_duration_since(began) < LONG);
            Ok(())
        })
        .await
        .expect("the case holds");
    // Five in a row, and calls are refused at once.
    let executor = pool(1)
        .env("CRASH_AT_START", "1")
        .respawn(Duration::from_millis(1));
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> {
            let refused = timeout(LONG, async {
                loop {
                    let ended = ended(broker.call_named::<i64>("add", (1, 2)).await);
                    if ended.0 == Code::NoExecutor {
                        return ended;
                    }
                }
            });
            assert_eq!(
                refused.await.expect("it is broken"),
                (Code::NoExecutor, Certainty::Refused)
            );
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX12
async fn a_child_is_replaced_after_its_calls() {
    MemoryBroker::new(pool(1).max_tasks_per_child(3))
        .run(async |broker| -> Result<(), Error> {
            let mut pids = Vec::new();
            for _ in 0..10 {
                pids.push(broker.call_named::<u32>("pid", ()).await?);
            }
            let all: BTreeSet<_> = pids.iter().copied().collect();
            assert_eq!(all.len(), 4, "{pids:?}");
            for pid in &pids[..7] {
                if *pid != pids[9] {
                    gone(*pid).await;
                }
            }
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX13
async fn an_idle_child_is_retired_and_the_least_are_kept() {
    MemoryBroker::new(pool(1).idle_retire(SOON))
        .run(async |broker| -> Result<(), Error> {
            let pid = broker.call_named::<u32>("pid", ()).await?;
            gone(pid).await;
            assert_ne!(broker.call_named::<u32>("pid", ()).await?, pid);
            Ok(())
        })
        .await
        .expect("the case holds");
    MemoryBroker::new(pool(1).idle_retire(SOON).min_workers(1))
        .run(async |broker| -> Result<(), Error> {
            let pid = broker.call_named::<u32>("pid", ()).await?;
            sleep(4 * SOON).await;
            assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
            Ok(())
        })
        .await
        .expect("the case holds");
}

/// Calls from a task of its own, and gives the call up once its handler runs: in which child that is.
async fn gives_up<C: Call>(broker: &MemoryBroker, call: C, runs: &Scratch) -> u32 {
    let broker = broker.clone();
    task_group(|group: TaskGroup<Error>| async move {
        let call = group.spawn_ok(async move { broker.call(call).no_deadline().await.is_ok() });
        let pid = runs.pid().await;
        call.cancel("nobody waits");
        Ok(pid)
    })
    .await
    .expect("nothing fails")
}

// EX14
async fn a_cancel_reaches_the_handler_and_ends_a_child_that_goes_on() {
    // One that looks.
    MemoryBroker::new(pool(1).cancel_grace(LONG))
        .run(async |broker| -> Result<(), Error> {
            let told = Scratch::new("told");
            let pid = gives_up(&broker, UntilTold(told.text()), &told).await;
            assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
            Ok(())
        })
        .await
        .expect("the case holds");
    // One that does not.
    let executor = pool(1).cancel_grace(SOON);
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            let stubborn = Scratch::new("stubborn");
            let pid = gives_up(&broker, Stubborn(stubborn.text()), &stubborn).await;
            gone(pid).await;
            // Its place is free again, for another child.
            assert_ne!(broker.call_named::<u32>("pid", ()).await?, pid);
            let free = async {
                while executor.capacity().running > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(LONG, free).await.expect("no place is taken");
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX15
async fn a_child_of_another_build_or_with_other_methods_is_refused() {
    let copy = Scratch::new("copy");
    let mut program = std::fs::read("/proc/self/exe").expect("it is readable");
    program.push(0);
    std::fs::write(&copy.0, program).expect("the place is writable");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&copy.0, mode).expect("it is ours");
    let other_methods = ProcessPoolExecutor::new(registry(), "other", 1);
    for executor in [pool(1).program(&copy.0), other_methods] {
        let started =
            MemoryBroker::new(executor.clone()).run(async |_| -> Result<(), Error> { Ok(()) });
        let error = started.await.expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::WorkerMismatch);
        let server = TcpBroker::builder(executor).listen("127.0.0.1:0");
        let error = server
            .run(async |_| -> Result<(), Error> { Ok(()) })
            .await
            .expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::WorkerMismatch);
    }
}

// EX8
async fn a_shutdown_answers_every_caller() {
    let scratch = Scratch::new("shutdown");
    let executor = pool(1).cancel_grace(SOON);
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            let report = task_group(|group: TaskGroup<Error>| async move {
                let running = group.spawn_ok({
                    let (broker, path) = (broker.clone(), scratch.text());
                    async move { ended(broker.call(UntilTold(path)).no_deadline().await) }
                });
                let pid = scratch.pid().await;
                let report = executor.shutdown(SOON).await;
                let outcome = running.join().await.expect("it has its outcome");
                assert_eq!(outcome, (Code::Cancelled, Certainty::MaybeExecuted));
                assert!(exists(pid) || report.cancelled == 1);
                Ok(report)
            })
            .await
            .expect("nothing fails");
            assert_eq!((report.refused, report.abandoned), (0, 0));
            Ok(())
        })
        .await
        .expect("the case holds");
}

// Whatever the backend of the case.
#[expect(clippy::disallowed_methods, reason = "a world apart from that backend")]
async fn a_simulated_world_has_no_processes() {
    let world = std::thread::spawn(|| {
        Root::new().backend(Backend::Sim).block_on(async {
            let started = MemoryBroker::new(pool(1)).run(async |_| -> Result<(), Error> { Ok(()) });
            started.await.expect_err("it does not start").kind()
        })
    });
    assert_eq!(world.join().ok(), Some(ErrorKind::Unsupported));
}

fn kill(pid: u32, signal: &str) {
    let status = std::process::Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(pid.to_string())
        .status();
    assert!(status.is_ok_and(|status| status.success()));
}

/// Runs the cases as a test harness would, each on every backend with processes.
// R18
async fn items_pass_through_to_children_and_back() {
    let outcome = MemoryBroker::new(pool(2)).run(async |broker| -> Result<(), Error> {
        let mut items = broker
            .call_named::<()>("count", (20_000_u32,))
            .open::<(u32, u32)>()
            .await?;
        let mut next = 0;
        while let Some((pid, number)) = items.recv().await? {
            assert_ne!(pid, std::process::id());
            assert_eq!(number, next);
            next += 1;
        }
        assert_eq!(next, 20_000);

        let opened = broker
            .call_named::<u32>("sum", ())
            .open_sending::<u32>()
            .await?;
        let (mut sender, receiver) = (opened.sender, opened.receiver);
        for number in 0..10_000 {
            sender.send(number % 7).await.expect("the call goes on");
        }
        sender.close();
        assert_eq!(
            receiver.reply().await?,
            (0..10_000).map(|number| number % 7).sum::<u32>()
        );

        let opened = broker
            .call_named::<()>("double", ())
            .open_both::<u32, u32>()
            .await?;
        let (mut sender, mut receiver) = (opened.sender, opened.receiver);
        for number in [1, 2, 3] {
            sender.send(number).await.expect("the call goes on");
            assert_eq!(receiver.recv().await?, Some(2 * number));
        }
        // What is cut short does not end well.
        drop(sender);
        let error = timeout(LONG, receiver.recv())
            .await
            .expect("in time")
            .unwrap_err();
        assert_eq!(error.code(), Code::Cancelled);
        // A caller that goes ends the handler, and its place is free.
        for _ in 0..10 {
            let mut items = broker
                .call_named::<()>("count", (u32::MAX,))
                .open::<(u32, u32)>()
                .await?;
            assert_eq!(items.recv().await?.map(|(_, number)| number), Some(0));
        }
        assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
        Ok(())
    });
    outcome.await.expect("nothing fails");
}

pub(crate) fn run() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let says = |word: &str| arguments.iter().any(|it| it == word);
    let wanted: Vec<_> = arguments
        .iter()
        .filter(|it| !it.starts_with('-') && *it != "terse")
        .collect();
    if says("--ignored") {
        return;
    }
    macro_rules! cases {
        ($($name:ident)*) => {
            $(
                for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
                    let name = format!("{}::{backend}", stringify!($name));
                    if says("--list") {
                        println!("{name}: test");
                    } else if wanted.is_empty() || wanted.iter().any(|it| name.contains(it.as_str())) {
                        Root::new().backend(backend).block_on($name());
                        println!("test {name} ... ok");
                    }
                }
            )*
        };
    }
    cases! {
        calls_run_in_children_and_no_more_than_there_are
        items_pass_through_to_children_and_back
        a_panic_fails_its_call_and_not_its_child
        a_job_that_nobody_waits_for_never_runs
        a_child_that_is_killed_ends_its_call_and_nothing_else
        children_that_crash_at_their_start_are_started_rarely
        a_child_is_replaced_after_its_calls
        an_idle_child_is_retired_and_the_least_are_kept
        a_cancel_reaches_the_handler_and_ends_a_child_that_goes_on
        a_child_of_another_build_or_with_other_methods_is_refused
        a_shutdown_answers_every_caller
        a_simulated_world_has_no_processes
    }
}
