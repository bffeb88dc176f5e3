//! Calls that nobody answers, over every kind of stream and in one process, on every backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_concurrency::sync::Event;
use bowline_concurrency::{TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::{AsyncExecutor, Executor};
use bowline_rpc::{
    Call, Caller, Certainty, Code, Context, DeclaredName, DynBroker, Error, MemoryBroker,
    MethodSpec, NoError, Registry, Retry, Streaming, TcpBroker,
};

use crate::backends::{fall, on_every_backend, registry, within};
use crate::held;
use crate::wire::{Wire, over_every_wire};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);
/// Those that have not begun, before one more waits.
const WINDOW: usize = 256;
const WORKERS: usize = 4;

/// A call that has items, as the attribute would make it.
#[derive(Debug)]
struct Numbers;

impl Call for Numbers {
    type Args = ();
    type Reply = ();
    type Error = NoError;
    type Request = bowline_rpc::Opened<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("numbers");
    const SPEC: MethodSpec = MethodSpec::new().streaming(Streaming::Executor);

    fn into_args(self) {}

    fn from_args((): ()) -> Self {
        Numbers
    }

    async fn run(self, _: Context) -> Result<(), NoError> {
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Seen {
    begun: Arc<AtomicUsize>,
    /// Of all numbers that came.
    sum: Arc<AtomicUsize>,
    open: Arc<Event>,
}

/// `log` waits for the gate, and then adds its number.
fn logging() -> (Registry, Seen) {
    let seen = Seen::default();
    let registry = registry();
    let here = seen.clone();
    registry
        .register_fn("log", move |(number,): (usize,)| {
            let here = here.clone();
            async move {
                here.begun.fetch_add(1, Ordering::SeqCst);
                here.open.wait().await;
                here.sum.fetch_add(number, Ordering::SeqCst);
            }
        })
        .unwrap();
    (registry, seen)
}

async fn wait_until(what: impl Fn() -> bool) {
    let reached = async {
        while !what() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, reached).await.expect("it comes to that");
}

const ALL: usize = 2_000;

async fn none_is_lost_and_one_too_many_waits(broker: DynBroker, seen: Seen) -> Result<(), Error> {
    let sent = Arc::new(AtomicUsize::new(0));
    let (counter, caller) = (sent.clone(), broker.clone());
    let outcome = task_group(|group: TaskGroup<Error>| async move {
        let sending = group.spawn(async move {
            for number in 0..ALL {
                caller.notify_named("log", (number,)).no_deadline().await?;
                counter.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        // Some run, and a window of them waits to.
        wait_until(|| sent.load(Ordering::SeqCst) >= WORKERS + WINDOW / 2).await;
        let mut before = usize::MAX;
        while before != sent.load(Ordering::SeqCst) {
            before = sent.load(Ordering::SeqCst);
            for _ in 0..20 {
                let unknown = broker.call_named::<i64>("unknown", ()).fail_fast();
                assert!(unknown.await.is_err());
            }
            sleep(Duration::from_millis(20)).await;
        }
        let most = WORKERS + WINDOW + WINDOW / 2;
        assert!(before <= most, "{before}");
        assert_eq!(seen.begun.load(Ordering::SeqCst), WORKERS);
        seen.open.set();
        drop(sending);
        wait_until(|| seen.sum.load(Ordering::SeqCst) == ALL * (ALL - 1) / 2).await;
        Ok(())
    });
    outcome.await.map_err(|error| panic!("{error}"))
}

async fn nobody_hears_of_failures(broker: DynBroker, seen: Seen) -> Result<(), Error> {
    seen.open.set();
    broker.notify(fall()).await?;
    broker.notify_named("log", ("no number",)).await?;
    for number in 1..=3 {
        broker.notify_named("log", (number,)).await?;
    }
    wait_until(|| seen.sum.load(Ordering::SeqCst) == 6).await;
    let keyed = broker.notify_named("log", (1,)).idempotency_key("once");
    let error = keyed.await.unwrap_err();
    assert_eq!(
        (error.code(), error.certainty()),
        (Code::BadArguments, Certainty::NeverSent)
    );
    let with_items = broker.notify(Numbers).await.unwrap_err();
    assert_eq!(
        (with_items.code(), with_items.certainty()),
        (Code::Unsupported, Certainty::NeverSent)
    );
    let unknown = broker.notify_named("unknown", ()).fail_fast().await;
    assert_eq!(unknown.unwrap_err().code(), Code::UnknownMethod);
    Ok(())
}

async fn over<F>(wire: &Wire, case: impl FnOnce(DynBroker, Seen) -> F + Send)
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let (registry, seen) = logging();
    within(|group| async move {
        let executor = AsyncExecutor::new(registry, WORKERS);
        let server = wire.serve_by(executor).start(&group).await?;
        let client = wire.client(&server).start(&group).await?;
        case(DynBroker::new(client), seen).await
    })
    .await;
}

async fn in_memory<F>(case: impl FnOnce(DynBroker, Seen) -> F + Send)
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let (registry, seen) = logging();
    within(|group| async move {
        let executor = AsyncExecutor::new(registry, WORKERS);
        let broker = MemoryBroker::new(executor).start(&group).await?;
        case(DynBroker::new(broker), seen).await
    })
    .await;
}

over_every_wire! {
    // BR17
    async fn a_peer_begins_with_so_many_notifications(wire: Wire) {
        over(&wire, none_is_lost_and_one_too_many_waits).await;
    }

    // BR17
    async fn failed_notifications_of_a_peer_leave_no_trace(wire: Wire) {
        over(&wire, nobody_hears_of_failures).await;
    }
}

on_every_backend! {
    // BR17, P8
    async fn notifications_that_outlive_their_connections_are_bounded_and_keep_no_call_out() {
        const ROUNDS: usize = 5;
        let (registry, seen) = logging();
        within(|group| async move {
            let executor = AsyncExecutor::new(registry, 1).queue(4);
            let server = TcpBroker::builder(executor.clone()).listen("127.0.0.1:0").start(&group).await?;
            for _ in 0..ROUNDS {
                held::client(&server).run(async |client| -> Result<(), Error> {
                    for _ in 0..WINDOW {
                        client.notify_named("log", (1,)).await?;
                    }
                    Ok(())
                }).await?;
                wait_until(|| server.statistics().open == 0).await;
            }
            // One runs, and a window of the first ones waits; the others are told of.
            assert_eq!((executor.capacity().running, executor.capacity().waiting), (1, WINDOW));
            let dropped = (ROUNDS - 1) * WINDOW - 1;
            assert_eq!(server.statistics().protocol.dropped_notifications, dropped as u64);
            let client = held::client(&server).start(&group).await?;
            let call = group.spawn_ok(async move { client.call_named::<i64>("add", (2, 3)).retry(Retry::never()).await });
            wait_until(|| executor.capacity().waiting > WINDOW).await;
            seen.open.set();
            assert_eq!(call.join().await.expect("it is not cancelled")?, 5);
            wait_until(|| seen.sum.load(Ordering::SeqCst) == WINDOW + 1).await;
            assert_eq!(executor.capacity().waiting, 0);
            // There is room for as many again.
            seen.open.reset();
            held::client(&server).run(async |client| -> Result<(), Error> {
                for _ in 0..WINDOW {
                    client.notify_named("log", (1,)).await?;
                }
                Ok(())
            }).await?;
            wait_until(|| server.statistics().ready == 1).await;
            assert_eq!(server.statistics().protocol.dropped_notifications, dropped as u64);
            seen.open.set();
            wait_until(|| seen.sum.load(Ordering::SeqCst) == 2 * WINDOW + 1).await;
            Ok(())
        }).await;
    }

    // BR17
    async fn an_executor_begins_with_so_many_notifications() {
        in_memory(none_is_lost_and_one_too_many_waits).await;
    }

    // BR17
    async fn failed_notifications_leave_no_trace() {
        in_memory(nobody_hears_of_failures).await;
    }
}
