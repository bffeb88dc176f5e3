//! Calls with items: from a worker over the router to a reader that pauses, and from a sender to the
//! router. Each item comes at most once and in its turn, what was cut short is never taken for the
//! whole, and the credit for them comes back: there is less of it than a call needs.

use std::time::Duration;

use bowline::concurrency::sleep;
use bowline::rpc::{
    CallError, Caller, Code, Context, Error, Incoming, ItemError, ItemReceiver, Limits, Outgoing,
    Registry, RegistryError, Retry, TcpBroker,
};
use bowline::sim::{Sim, always, eventually, sometimes};
use futures_util::stream;
use serde::{Deserialize, Serialize};

use super::{HEAL, Log, NoAnswer, SETTLE, insider, patience};

/// Items of a call, and the bytes that each has beside its number: more than the window, and few, as
/// faults may leave buffers of one byte.
const ITEMS: u64 = 60;
const PADDING: usize = 100;
/// What a side may send that the other has not taken.
const WINDOW: u32 = 4096;
/// Calls that each of the two clients wants to come to a good end, beside those that it gives up.
const CALLS: u64 = 1;

/// Numbers of the calls of the reader and of the sender, apart from all others.
const READ: u64 = 2_000_000;
const SENT: u64 = 3_000_000;

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    number: u64,
    padding: String,
}

impl Item {
    fn new(number: u64) -> Item {
        Item {
            number,
            padding: "x".repeat(PADDING),
        }
    }
}

type Relayed = Result<Item, NoAnswer>;

/// Limits that make several turns of few items.
pub(super) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.call_window = WINDOW;
    limits
}

/// `items`, which workers have.
pub(super) fn serve_items(registry: &Registry) -> Result<(), RegistryError> {
    let items = |(call,): (u64,)| {
        Sim::ghost(|log: &mut Log| log.items.begin(call));
        stream::iter((0..ITEMS).map(Item::new))
    };
    registry.register_stream("items", items).map(drop)
}

/// `relay_items`, which passes on what a worker sends, and `gather`, which counts what its caller sends.
pub(super) fn serve_router(registry: &Registry) -> Result<(), RegistryError> {
    registry.register_stream("relay_items", |context: Context, (call,): (u64,)| {
        Sim::ghost(|log: &mut Log| log.relay_items.begin(call));
        Outgoing::new(stream::unfold(Relay::Begins(context, call), Relay::next))
    })?;
    let gather = |(call,): (u64,), mut items: Incoming<Item>| async move {
        Sim::ghost(|log: &mut Log| log.gather.begin(call));
        let mut taken = 0;
        loop {
            match items.recv().await {
                Ok(Some(item)) => {
                    always!("items-in-order", item.number == taken, "call {call}");
                    taken += 1;
                    if taken.is_multiple_of(16) {
                        sleep(Duration::from_millis(5)).await;
                    }
                }
                Ok(None) => {
                    always!("the-end-is-the-end", taken == ITEMS, "call {call}: {taken}");
                    break taken;
                }
                Err(error) => {
                    always!("items-decode", error == ItemError::Incomplete, "{error}");
                    break taken;
                }
            }
        }
    };
    registry.register_fn("gather", gather).map(drop)
}

/// The items of a worker on their way through the router.
enum Relay {
    Begins(Context, u64),
    Goes(ItemReceiver<Item>, u64),
    Over,
}

impl Relay {
    async fn next(self) -> Option<(Relayed, Relay)> {
        let (mut items, call) = match self {
            Relay::Over => return None,
            Relay::Goes(items, call) => (items, call),
            Relay::Begins(context, call) => {
                let broker = context.broker()?;
                let items = broker.call_named::<()>("items", (call,)).no_deadline();
                match items.retry(Retry::never()).open().await {
                    Ok(items) => (items, call),
                    Err(error) => return Relay::fails(call, error),
                }
            }
        };
        match items.recv().await {
            Ok(Some(item)) => Some((Ok(item), Relay::Goes(items, call))),
            Ok(None) => {
                Sim::ghost(|log: &mut Log| log.items.check(call, &Ok::<(), CallError>(())));
                None
            }
            Err(error) => Relay::fails(call, error),
        }
    }

    fn fails(call: u64, error: CallError) -> Option<(Relayed, Relay)> {
        Sim::ghost(|log: &mut Log| log.items.check(call, &Err::<(), _>(error)));
        Some((Err(NoAnswer), Relay::Over))
    }
}

/// Makes calls until so many came to a good end.
async fn all_well<F>(
    first: u64,
    attempt: impl Fn(TcpBroker, u64, Duration) -> F + Send + Sync,
) -> Result<(), Error>
where
    F: Future<Output = bool> + Send,
{
    eventually!("everybody has their items", HEAL + SETTLE, || {
        Sim::ghost(|log: &mut Log| log.streams_done == 2)
    });
    insider(TcpBroker::caller())
        .limits(limits())
        .expect("they fit")
        .run(async |broker| -> Result<(), Error> {
            let _ = broker.connect("router:15383").await;
            let (mut well, mut failures, mut call) = (0, 0, first);
            while well < CALLS {
                Sim::note("call", call);
                let is_well = attempt(broker.clone(), call, 4 * patience(failures)).await;
                Sim::note("outcome", call);
                call += 1;
                match is_well {
                    true => well += 1,
                    false => {
                        failures += 1;
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
            sometimes!("had to begin a stream again", failures > 0);
            Sim::ghost(|log: &mut Log| log.streams_done += 1);
            Ok(())
        })
        .await
}

/// Reads items, with pauses.
pub(super) async fn reads() -> Result<(), Error> {
    all_well(READ, async |broker, call, patience| {
        let relayed = broker.call_named::<()>("relay_items", (call,));
        let opened = relayed
            .timeout(patience)
            .retry(Retry::never())
            .open::<Relayed>();
        let check = |outcome: Result<(), CallError>| {
            Sim::ghost(|log: &mut Log| log.relay_items.check(call, &outcome));
            passes(outcome.as_ref().err());
        };
        let mut items = match opened.await {
            Ok(items) => items,
            Err(error) => {
                check(Err(error));
                return false;
            }
        };
        let (mut taken, mut whole) = (0, true);
        loop {
            match items.recv().await {
                Ok(Some(Ok(item))) => {
                    always!("items-in-order", item.number == taken, "call {call}");
                    always!("no-item-after-the-last", whole, "call {call}");
                    taken += 1;
                    if taken.is_multiple_of(16) {
                        sleep(Duration::from_millis(50)).await;
                    }
                }
                Ok(Some(Err(NoAnswer))) => whole = false,
                Ok(None) => break check(Ok(())),
                Err(error) => {
                    check(Err(error));
                    whole = false;
                    break;
                }
            }
        }
        let again = items.recv().await;
        always!(
            "one-end",
            matches!(again, Ok(None)),
            "call {call}: {again:?}"
        );
        always!(
            "the-end-is-the-end",
            !whole || taken == ITEMS,
            "call {call}: {taken}"
        );
        whole
    })
    .await
}

/// Sends items, faster than they are taken; the first attempts are given up in the middle.
pub(super) async fn sends() -> Result<(), Error> {
    all_well(SENT, async |broker, call, patience| {
        let gather = broker.call_named::<u64>("gather", (call,));
        let opened = gather
            .timeout(patience)
            .retry(Retry::never())
            .open_sending::<Item>();
        let opened = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                Sim::ghost(|log: &mut Log| log.gather.check(call, &Err::<(), _>(error)));
                return false;
            }
        };
        let (mut sender, receiver) = (opened.sender, opened.receiver);
        let given_up = (call == SENT).then_some(ITEMS / 2);
        let mut sent = 0;
        while sent < given_up.unwrap_or(ITEMS) && sender.send(Item::new(sent)).await.is_ok() {
            sent += 1;
        }
        let ended = sent == ITEMS;
        if ended {
            sender.close();
        } else {
            // Nobody may take them for the whole.
            drop(sender);
        }
        let outcome = receiver.reply().await;
        always!("whole-or-nothing", ended || outcome.is_err(), "{outcome:?}");
        Sim::ghost(|log: &mut Log| log.gather.check(call, &outcome));
        match outcome {
            Ok(taken) => {
                always!("the-end-is-the-end", taken == ITEMS, "call {call}: {taken}");
                true
            }
            Err(error) => {
                sometimes!("gave a stream up", given_up.is_some());
                passes(Some(&error).filter(|_| given_up.is_none()));
                false
            }
        }
    })
    .await
}

/// There are failures alone that a fault makes.
fn passes(error: Option<&CallError>) {
    let code = error.map(CallError::code);
    always!(
        "failures-pass",
        matches!(
            code,
            None | Some(Code::ConnectionLost | Code::DeadlineExceeded | Code::NoPeer)
        ),
        "{code:?}"
    );
}
