//! Calls with a key whose time is over while they run: what comes of the key then.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::timeout;
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Call, Caller, Certainty, Code, Context, DeclaredName, Error, MemoryBroker, MethodSpec,
    NoError, Registry, TcpBroker,
};
use futures_util::future::join;

use crate::backends::on_every_backend;
use crate::held::client;
use crate::raw_peer::LONG;

const SOON: Duration = Duration::from_millis(50);

/// What the methods do, and how often they began.
#[derive(Clone)]
struct Work {
    began: Sender<()>,
    may_end: Receiver<()>,
    runs: Arc<AtomicUsize>,
}

impl Work {
    async fn run(self) -> usize {
        let number = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        let _ = self.began.send(()).await;
        let _ = self.may_end.recv().await;
        number
    }
}

/// The same, not dropped by what becomes of its caller.
#[derive(Debug)]
struct GoesOn;

impl Call for GoesOn {
    type Args = ();
    type Reply = usize;
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("goes_on");
    const SPEC: MethodSpec = MethodSpec::new().no_cancel();

    fn into_args(self) {}

    fn from_args((): ()) -> Self {
        GoesOn
    }

    async fn run(self, context: Context) -> Result<usize, NoError> {
        let work = context.state::<Work>().expect("the executor has it");
        Ok(Work::clone(&work).run().await)
    }
}

/// The other ends of some [`Work`].
struct Ends {
    began: Receiver<()>,
    let_go: Sender<()>,
    runs: Arc<AtomicUsize>,
}

fn executor() -> (Ends, AsyncExecutor) {
    let ((starting, began), (let_go, may_end)) = (bounded(64), bounded(64));
    let runs = Arc::default();
    let work = Work {
        began: starting,
        may_end,
        runs: Arc::clone(&runs),
    };
    let registry = Registry::new("example");
    registry.register(|| GoesOn).unwrap();
    let dropped = work.clone();
    registry
        .register_fn("dropped", move |(): ()| dropped.clone().run())
        .unwrap();
    let executor = AsyncExecutor::new(registry, 64).state(work);
    (
        Ends {
            began,
            let_go,
            runs,
        },
        executor,
    )
}

impl Ends {
    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Calls `method` until that is cut off by its deadline while it runs.
    async fn cut_off(&self, broker: &impl Broker, method: &'static str, key: &str) {
        let mut patience = SOON;
        loop {
            let call = broker.call_named::<usize>(method, ()).idempotency_key(key);
            let error = call.timeout(patience).await.unwrap_err();
            assert_eq!(error.code(), Code::DeadlineExceeded);
            if timeout(Duration::from_secs(1), self.began.recv())
                .await
                .is_ok()
            {
                assert_eq!(error.certainty(), Certainty::MaybeExecuted);
                return;
            }
            // It had no time to begin.
            patience *= 4;
        }
    }

    /// What was said of a caller that came to its deadline is not the answer to others.
    async fn hold_for(&self, broker: &impl Broker) -> Result<(), Error> {
        let call = |method, key: &str| broker.call_named::<usize>(method, ()).idempotency_key(key);

        // A handler that was dropped: the next call runs, and its answer is kept.
        self.cut_off(broker, "dropped", "a").await;
        assert_eq!(self.runs(), 1);
        let again = || call("dropped", "a").timeout(LONG).into_future();
        let (second, ()) = join(again(), self.let_one_go()).await;
        assert_eq!((second?, again().await?, self.runs()), (2, 2, 2));

        // So does one that waited for it, and has time left.
        let first = call("dropped", "b").timeout(SOON).into_future();
        let twin = async {
            let _ = timeout(Duration::from_secs(1), self.began.recv()).await;
            join(
                call("dropped", "b").timeout(LONG).into_future(),
                self.let_one_go(),
            )
            .await
        };
        let (outcome, (twin, ())) = join(first, twin).await;
        assert_eq!(outcome.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(twin?, self.runs());

        // A handler that goes on: who comes meanwhile waits for what it comes to.
        self.cut_off(broker, "goes_on", "c").await;
        let runs = self.runs();
        let error = call("goes_on", "c").timeout(SOON).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        let (twin, ()) = join(call("goes_on", "c").timeout(LONG).into_future(), async {
            self.let_go.send(()).await.unwrap();
        })
        .await;
        let later = call("goes_on", "c").await?;
        assert_eq!((twin?, later, self.runs()), (runs, runs, runs));
        assert!(self.began.try_recv().is_err(), "nothing ran besides");
        Ok(())
    }

    /// Lets the next one go that begins. The executor gives one before it a little longer than its caller does.
    async fn let_one_go(&self) {
        self.began.recv().await.unwrap();
        self.let_go.send(()).await.unwrap();
    }
}

on_every_backend! {
    // R24, R5
    async fn a_key_outlives_a_deadline_over_tcp() {
        let (ends, executor) = executor();
        TcpBroker::builder(executor).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            client(&server).run(async |client| ends.hold_for(&client).await).await
        }).await.unwrap();
    }

    // R24, R5
    async fn a_key_outlives_a_deadline_in_memory() {
        let (ends, executor) = executor();
        MemoryBroker::new(executor).run(async |broker| ends.hold_for(&broker).await).await.unwrap();
    }

    // R24, R5
    async fn a_key_outlives_a_deadline_of_a_broker_that_runs_its_calls_itself() {
        let (ends, executor) = executor();
        TcpBroker::builder(executor).prefer_local().run(async |broker| ends.hold_for(&broker).await).await.unwrap();
    }
}
