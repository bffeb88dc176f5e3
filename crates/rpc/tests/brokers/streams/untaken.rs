//! Streams of methods that are not cancelled, whose callers are gone.

use std::pin::pin;
use std::time::Duration;

use bowline_channel::{Receiver, unbounded};
use bowline_concurrency::{sleep, timeout, yield_now};
use bowline_rpc::executor::{AsyncExecutor, Executor};
use bowline_rpc::{
    Broker, Call, Caller, Context, DeclaredName, Error, MemoryBroker, MethodDef, MethodSpec,
    NoError, NoItem, Registry, Streaming, StreamingCall,
};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};

use super::{LONG, Tells, heard};
use crate::backends::{on_every_backend, within};
use crate::wire::{Wire, over_every_wire};

const SOON: Duration = Duration::from_millis(50);
/// More than a handler gives in one turn.
const MANY: u64 = 5000;

/// Gives so many numbers, and waits for ever if it is to: its handler is not cancelled.
#[derive(Clone, Copy, Debug)]
struct Numbers(Option<u64>, bool);

impl Call for Numbers {
    type Args = (Option<u64>, bool);
    type Reply = ();
    type Error = NoError;
    type Request = bowline_rpc::Opened<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("numbers");
    const SPEC: MethodSpec = MethodSpec::new().no_cancel().streaming(Streaming::Executor);

    fn into_args(self) -> Self::Args {
        (self.0, self.1)
    }

    fn from_args((most, stalls): Self::Args) -> Self {
        Numbers(most, stalls)
    }

    async fn run(self, context: Context) -> Result<(), NoError> {
        let tells = context.state::<Tells>().expect("it is there");
        let dropped = tells.at_drop("it is dropped");
        let last = self.0.unwrap_or(u64::MAX);
        let numbers = stream::iter(0..=last).inspect(|number| {
            if *number == last {
                tells.say("all were given");
            }
        });
        let stalls = stream::pending().take(usize::from(self.1));
        let sent = context.send_stream(numbers.chain(stalls)).await;
        drop(dropped);
        sent
    }
}

impl StreamingCall for Numbers {
    type Sends = NoItem;
    type Receives = u64;
}

fn numbers() -> (AsyncExecutor, Receiver<String>) {
    let registry = Registry::new("example");
    registry.register_all([MethodDef::of::<Numbers>()]).unwrap();
    let (sender, told) = unbounded();
    (AsyncExecutor::new(registry, 1).state(Tells(sender)), told)
}

/// Takes the first item of a call and leaves.
async fn leaves(
    broker: &impl Broker,
    call: Numbers,
    within: Option<Duration>,
) -> Result<(), Error> {
    let call = broker.call(call);
    let call = match within {
        Some(within) => call.timeout(within),
        None => call.no_deadline(),
    };
    let mut items = call.open().await?.receiver;
    assert_eq!(items.recv().await?, Some(0));
    Ok(())
}

/// Until no handler runs.
async fn idle(executor: &AsyncExecutor) {
    let idle = async {
        while executor.capacity().running > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, idle).await.expect("its place is free");
}

/// A handler whose caller has left ends with its stream, or with its deadline.
async fn end_of_themselves(
    broker: &impl Broker,
    (executor, told): (&AsyncExecutor, &Receiver<String>),
) -> Result<(), Error> {
    leaves(broker, Numbers(Some(MANY), false), Some(LONG)).await?;
    assert_eq!(heard(told).await, "all were given");
    assert_eq!(heard(told).await, "it is dropped");
    // One that never ends, and one that gives nothing more.
    for call in [Numbers(None, false), Numbers(Some(0), true)] {
        // On a busy machine the first item may take longer.
        let mut within = 20 * SOON;
        while leaves(broker, call, Some(within)).await.is_err() {
            idle(executor).await;
            while told.try_recv().is_ok() {}
            within *= 2;
            assert!(within < LONG, "it gives nothing");
        }
        if call.1 {
            assert_eq!(heard(told).await, "all were given");
        }
        assert_eq!(heard(told).await, "it is dropped");
    }
    idle(executor).await;
    Ok(())
}

on_every_backend! {
    // R4, R5
    async fn in_memory_streams_that_nobody_takes_end_with_their_deadline() {
        let (executor, told) = numbers();
        within(|group| async move {
            let broker = MemoryBroker::new(executor.clone()).start(&group).await?;
            end_of_themselves(&broker, (&executor, &told)).await
        }).await;
    }

    // D7, EX8
    async fn in_memory_streams_that_nobody_takes_end_with_a_drain_or_a_shutdown() {
        let (executor, told) = numbers();
        within(|group| async move {
            for call in [|| Numbers(None, false), || Numbers(Some(0), true)] {
                let broker = MemoryBroker::new(executor.clone()).start(&group).await?;
                leaves(&broker, call(), None).await?;
                let report = timeout(LONG, broker.drain(SOON)).await.expect("it ends");
                assert_eq!(report.abandoned, 0, "{report:?}");
                idle(&executor).await;

                let broker = MemoryBroker::new(executor.clone()).start(&group).await?;
                leaves(&broker, call(), None).await?;
                let report = timeout(LONG, executor.shutdown(SOON)).await.expect("it ends");
                assert_eq!((report.cancelled, report.abandoned), (1, 0), "{report:?}");
                let broker = MemoryBroker::new(executor.clone()).start(&group).await?;
                // What is closed ends at once, whoever waits.
                leaves(&broker, call(), None).await?;
                broker.close();
                broker.closed().await;
                idle(&executor).await;
            }
            let mut ends = 0;
            while let Ok(said) = told.try_recv() {
                ends += usize::from(said == "it is dropped");
            }
            assert_eq!(ends, 6);
            Ok(())
        }).await;
    }

    // Without a broker nobody takes them either: others have their turn.
    async fn a_stream_that_is_run_here_can_be_given_up() {
        let context = Context::empty();
        let endless = context.send_stream(stream::iter(0_u64..));
        let has_turn = matches!(select(pin!(endless), pin!(yield_now())).await, Either::Right(_));
        assert!(has_turn);
    }
}

over_every_wire! {
    // R4, R5, D7
    async fn streams_that_nobody_takes_end_with_their_deadline_or_a_drain(wire: Wire) {
        let (executor, told) = numbers();
        within(|group| async move {
            let server = wire.serve_by(executor.clone()).start(&group).await?;
            let client = wire.client(&server).start(&group).await?;
            end_of_themselves(&client, (&executor, &told)).await?;
            leaves(&client, Numbers(None, false), None).await?;
            let report = timeout(LONG, server.drain(SOON)).await.expect("it ends");
            assert_eq!(report.abandoned, 0, "{report:?}");
            idle(&executor).await;
            Ok(())
        }).await;
    }
}
