//! What handlers that no scope ends hand on to the calls they make: the time that is left, and the trace.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;

use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::{TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::{AsyncExecutor, Executor, ThreadPoolExecutor};
use bowline_rpc::{
    Broker, Call, CallError, Caller, Code, Context, DeclaredName, DynBroker, Error, MemoryBroker,
    MethodSpec, NoError, Registry, TcpBroker, current_broker, with_traceparent,
};

use crate::backends::on_every_backend;

const LONG: Duration = Duration::from_secs(20);
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The milliseconds that a call has left where it arrives, and its trace.
type Seen = (u64, Option<String>);

async fn ask(broker: Option<DynBroker>) -> Result<Seen, CallError> {
    let broker = broker.expect("a handler has one");
    broker.call_named::<Seen>("seen", ()).await
}

macro_rules! goes_on {
    ($name:ident, $wire:literal, $context:ident => $body:expr) => {
        #[derive(Debug)]
        struct $name;

        impl Call for $name {
            type Args = ();
            type Reply = Seen;
            type Error = NoError;
            type Request = bowline_rpc::Typed<Self>;
            const NAME: DeclaredName = DeclaredName::explicit($wire);
            const SPEC: MethodSpec = MethodSpec::new().no_cancel();

            fn into_args(self) {}

            fn from_args((): ()) -> Self {
                $name
            }

            async fn run(self, $context: Context) -> Result<Seen, NoError> {
                Ok($body)
            }
        }
    };
}

goes_on!(Asks, "asks", context => ask(context.broker()).await.expect("there is time"));
// A task of it asks.
goes_on!(AsksFromTask, "asks_from_task", _context => {
    task_group(|group: TaskGroup<CallError>| async move {
        let child = group.spawn_ok(async { ask(current_broker()).await });
        child.join().await.expect("it is not cancelled")
    })
    .await
    .expect("there is time")
});
// The first question is cut off by the deadline of its caller; the second is asked when that is over.
goes_on!(AsksLate, "asks_late", context => {
    let broker = context.broker().expect("a handler has one");
    let error = broker.call_named::<()>("never", ()).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(context.remaining(), Some(Duration::ZERO));
    let gone = context.state::<Receiver<()>>().expect("the executor has it");
    gone.recv().await.expect("somebody says so");
    let seen = ask(current_broker()).await.expect("it has time of its own");
    let told = context.state::<Sender<Seen>>().expect("the executor has it");
    told.send(seen.clone()).await.expect("somebody waits");
    seen
});

/// Wakes a thread.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread, which no runtime needs.
fn wait_for<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn registry() -> Registry {
    let registry = Registry::new("example");
    registry.register(|| Asks).unwrap();
    registry.register(|| AsksFromTask).unwrap();
    registry.register(|| AsksLate).unwrap();
    registry
        .register_blocking("asks_from_thread", |context: Context, (): ()| {
            wait_for(ask(context.broker())).expect("there is time")
        })
        .unwrap();
    registry
        .register_fn("seen", |context: Context, (): ()| async move {
            let left = context.remaining().expect("it has a deadline");
            let left = u64::try_from(left.as_millis()).expect("it is short");
            (left, context.traceparent().map(str::to_owned))
        })
        .unwrap();
    registry
        .register_fn("never", |(): ()| sleep(Duration::from_secs(3600)))
        .unwrap();
    registry
}

/// Each of `methods` hands on what it has.
async fn hand_on(broker: &impl Broker, methods: &[&'static str]) -> Result<(), Error> {
    for method in methods {
        let calling = broker.call_named::<Seen>(*method, ()).timeout(LONG);
        let calling = with_traceparent(TRACE, calling.into_future()).expect("it is one");
        let (left, trace) = calling.await?;
        assert!(left <= LONG.as_millis() as u64, "{method}: {left} ms");
        assert_eq!(trace.as_deref(), Some(TRACE), "{method}");
    }
    // A call that moves its value, and not its bytes.
    let (left, trace) = broker
        .call(Asks)
        .timeout(LONG)
        .await
        .expect("it is answered");
    assert!(left <= LONG.as_millis() as u64, "{left} ms");
    assert_eq!(trace, None);
    Ok(())
}

async fn ask_late(
    broker: &impl Broker,
    (gone, waiting): (&Sender<()>, &Receiver<()>),
    told: &Receiver<Seen>,
) {
    let mut patience = Duration::from_millis(50);
    let (left, _) = loop {
        let error = broker.call(AsksLate).timeout(patience).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        let _ = gone.try_send(());
        match timeout(Duration::from_secs(1), told.recv()).await {
            Ok(seen) => break seen.expect("it goes on"),
            // It had no time to begin, and nobody is told of that.
            Err(_) => {
                while waiting.try_recv().is_ok() {}
                patience *= 4;
            }
        }
    };
    while waiting.try_recv().is_ok() {}
    assert!((20_001..=30_000).contains(&left), "{left} ms");
}

async fn everywhere<E: Executor>(
    executor: impl Fn(Registry, Sender<Seen>, Receiver<()>) -> E,
    methods: &[&'static str],
) {
    let ((telling, told), (gone, waiting)) = (bounded(4), bounded(4));
    let make = || executor(registry(), telling.clone(), waiting.clone());
    MemoryBroker::new(make())
        .run(async |broker| -> Result<(), Error> {
            hand_on(&broker, methods).await?;
            ask_late(&broker, (&gone, &waiting), &told).await;
            Ok(())
        })
        .await
        .unwrap();
    TcpBroker::builder(make())
        .prefer_local()
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller()
                .project("example")
                .connect(server.local_addrs()[0]);
            client
                .run(async |client| -> Result<(), Error> {
                    ask_late(&client, (&gone, &waiting), &told).await;
                    hand_on(&client, methods).await
                })
                .await
        })
        .await
        .unwrap();
}

on_every_backend! {
    // R6
    async fn a_handler_that_goes_on_hands_on_the_time_that_is_left() {
        let methods = ["asks", "asks_from_task"];
        everywhere(|registry, told, gone| AsyncExecutor::new(registry, 16).state(told).state(gone), &methods).await;
        everywhere(|registry, told, gone| ThreadPoolExecutor::new(registry, 16).state(told).state(gone), &methods).await;
    }
}

// R6
#[test]
fn a_handler_on_a_thread_hands_on_the_time_that_is_left() {
    use bowline_backend::Backend;
    // A simulated world has no other thread that would answer it.
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        crate::backends::run(backend, async {
            let methods = ["asks_from_thread"];
            everywhere(
                |registry, told, gone| AsyncExecutor::new(registry, 16).state(told).state(gone),
                &methods,
            )
            .await;
            everywhere(
                |registry, told, gone| {
                    ThreadPoolExecutor::new(registry, 16)
                        .state(told)
                        .state(gone)
                },
                &methods,
            )
            .await;
        });
    }
}
