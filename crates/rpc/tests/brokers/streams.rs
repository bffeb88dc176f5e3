//! Calls with items, over every kind of stream and in one process, on every backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_channel::{Receiver, Sender, unbounded};
use bowline_concurrency::{sleep_forever, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    CallError, Context, DynBroker, Error, Incoming, ItemReceiver, MemoryBroker, MethodDef, Registry,
};
use futures_util::{StreamExt, stream};

use crate::backends::{registry, within};
use crate::wire::Wire;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// What handlers tell of themselves.
#[derive(Clone)]
struct Tells(Sender<String>);

impl Tells {
    fn say(&self, what: impl Into<String>) {
        let _ = self.0.try_send(what.into());
    }

    fn at_drop(&self, what: &'static str) -> AtDrop {
        AtDrop(self.clone(), what)
    }
}

struct AtDrop(Tells, &'static str);

impl Drop for AtDrop {
    fn drop(&mut self) {
        self.0.say(self.1);
    }
}

/// Methods with items of every kind, and what their handlers tell.
///
/// `count` gives numbers, `sum` takes them, `double` does both; `endless` gives numbers until its caller
/// goes, and counts them; `first` takes one number of many; `never` takes none and never ends.
fn streaming() -> (Registry, Receiver<String>, Arc<AtomicUsize>) {
    let (sender, told) = unbounded();
    let tells = Tells(sender);
    let made = Arc::new(AtomicUsize::new(0));
    let registry = registry();
    registry
        .register_stream("count", |(from, to): (u32, u32)| stream::iter(from..to))
        .unwrap();
    registry
        .register_fn(
            "sum",
            |(start,): (u64,), mut items: Incoming<u64>| async move {
                let mut sum = start;
                while let Ok(Some(item)) = items.recv().await {
                    sum += item;
                }
                sum
            },
        )
        .unwrap();
    registry
        .register_stream("double", |(): (), items: Incoming<Vec<u8>>| {
            items.map(|item| {
                item.map(|item| [item.clone(), item].concat())
                    .unwrap_or_default()
            })
        })
        .unwrap();
    let (counter, guard) = (made.clone(), tells.clone());
    registry
        .register_stream("endless", move |(bytes,): (usize,)| {
            let (counter, end) = (counter.clone(), guard.at_drop("endless ended"));
            stream::iter(0_u32..).map(move |number| {
                let _ = &end;
                counter.fetch_add(1, Ordering::SeqCst);
                (number, vec![7_u8; bytes])
            })
        })
        .unwrap();
    let guard = tells.clone();
    registry
        .register_fn("first", move |(): (), mut items: Incoming<u32>| {
            let tells = guard.clone();
            async move {
                let first = items.recv().await;
                tells.say("first has one");
                drop(items);
                first.ok().flatten()
            }
        })
        .unwrap();
    let guard = tells.clone();
    registry
        .register_fn("never", move |(): (), items: Incoming<u32>| {
            let end = guard.at_drop("never ended");
            async move {
                let _both = (end, items);
                sleep_forever().await;
            }
        })
        .unwrap();
    let guard = tells.clone();
    let (gate, let_go) = unbounded::<()>();
    registry
        .register_fn("go", move |(): ()| {
            let gone = gate.try_send(());
            async move { gone.is_ok() }
        })
        .unwrap();
    let go = let_go.clone();
    registry
        .register_fn("late", move |(): (), items: Incoming<Vec<u8>>| {
            let go = go.clone();
            async move {
                let _ = go.recv().await;
                items.count().await
            }
        })
        .unwrap();
    let go = let_go.clone();
    registry
        .register_fn("header", move |(): (), mut items: Incoming<Vec<u8>>| {
            let go = go.clone();
            async move {
                let header = items.recv().await;
                drop(items);
                let _ = go.recv().await;
                header.ok().flatten().map_or(0, |header| header.len())
            }
        })
        .unwrap();
    let def = MethodDef::function(
        "whole",
        move |context: Context, (): (), mut items: Incoming<u32>| {
            let tells = guard.clone();
            async move {
                let mut got = 0;
                let end = loop {
                    match items.recv().await {
                        Ok(Some(_)) => got += 1,
                        Ok(None) => break "all".to_owned(),
                        Err(error) => break error.to_string(),
                    }
                };
                tells.say(format!("{got}: {end}"));
                drop(context);
            }
        },
    );
    registry.register_all([def]).unwrap();
    (registry, told, made)
}

async fn heard(told: &Receiver<String>) -> String {
    timeout(LONG, told.recv())
        .await
        .expect("in time")
        .expect("it says so")
}

/// Runs `case` with a client of these methods over `wire`.
async fn over<F>(
    wire: &Wire,
    case: impl FnOnce(DynBroker, Receiver<String>, Arc<AtomicUsize>) -> F + Send,
) where
    F: Future<Output = Result<(), Error>> + Send,
{
    let (registry, told, made) = streaming();
    within(|group| async move {
        let server = wire.serve(registry).start(&group).await?;
        let client = wire.client(&server).start(&group).await?;
        case(DynBroker::new(client), told, made).await
    })
    .await;
}

/// The same in one process.
async fn in_memory<F>(case: impl FnOnce(DynBroker, Receiver<String>, Arc<AtomicUsize>) -> F + Send)
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let (registry, told, made) = streaming();
    within(|group| async move {
        let executor = AsyncExecutor::new(registry, 64);
        let broker = MemoryBroker::new(executor).start(&group).await?;
        case(DynBroker::new(broker), told, made).await
    })
    .await;
}

/// Each case over every kind of stream and in one process, on every backend.
macro_rules! everywhere {
    ($($(#[$attribute:meta])* async fn $name:ident($broker:ident, $told:ident, $made:ident) $body:block)*) => {
        $(
            $(#[$attribute])*
            mod $name {
                use super::*;

                async fn told($broker: DynBroker, $told: Receiver<String>, $made: Arc<AtomicUsize>) -> Result<(), Error> $body

                over_every_wire! {
                    async fn remote(wire: Wire) {
                        over(&wire, told).await;
                    }
                }

                on_every_backend! {
                    async fn local() {
                        in_memory(told).await;
                    }
                }
            }
        )*
    };
}

mod cut_short;
mod held_up;
mod in_order;
mod overflow;
mod untaken;

async fn all<R: serde::de::DeserializeOwned>(
    mut items: ItemReceiver<R>,
) -> Result<Vec<R>, CallError> {
    let mut got = Vec::new();
    while let Some(item) = items.recv().await? {
        got.push(item);
    }
    assert!(items.recv().await?.is_none(), "the end is once and for all");
    Ok(got)
}
