//! Calls with items, over every kind of stream and in one process, on every backend.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_channel::{Receiver, Sender, unbounded};
use bowline_concurrency::{TaskGroup, sleep, sleep_forever, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Call, CallError, Caller, Certainty, Code, Codec, Context, DeclaredName, DynBroker,
    Error, Incoming, ItemReceiver, Limits, Lossy, MemoryBroker, MethodDef, MethodSpec, NoError,
    NoItem, Overflow, OverflowExt, Registry, SendItemError, StreamCall, Streaming, StreamingCall,
    TcpBroker, TryRecvItemError,
};
use futures_util::{StreamExt, stream};

use crate::backends::{on_every_backend, registry, within};
use crate::wire::{Wire, over_every_wire};

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

everywhere! {
    // R18
    async fn items_come_in_order_and_then_the_end(broker, _told, _made) {
        for codec in [Codec::Postcard, Codec::MessagePack, Codec::Json] {
            for to in [0_u32, 1, 2, 1_000] {
                let items = broker.call_named::<()>("count", (0_u32, to)).codec(codec);
                let got = all(items.open::<u32>().await?).await?;
                assert_eq!(got, (0..to).collect::<Vec<_>>());
            }
        }
        Ok(())
    }

    // R18
    async fn items_go_in_order_and_then_the_reply_comes(broker, _told, _made) {
        for codec in [Codec::Postcard, Codec::MessagePack, Codec::Json] {
            for count in [0_u64, 1, 1_000] {
                let call = broker.call_named::<u64>("sum", (5_u64,)).codec(codec);
                let StreamCall { mut sender, receiver, .. } = call.open_sending::<u64>().await?;
                for item in 0..count {
                    sender.send(item).await.unwrap();
                }
                sender.close();
                assert_eq!(receiver.reply().await?, 5 + (0..count).sum::<u64>());
            }
        }
        Ok(())
    }

    // R18
    async fn both_sides_send_items_of_every_size(broker, _told, _made) {
        // Empty ones, those of one frame, and those far beyond the window of the call.
        let sizes = [0, 1, 100, 20_000, 65_519, 65_520, 65_537, 300_000, 0, 1_500_000, 3];
        for codec in [Codec::Postcard, Codec::MessagePack, Codec::Json] {
            let call = broker.call_named::<()>("double", ()).codec(codec);
            let StreamCall { mut sender, receiver, .. } =
                call.open_both::<Vec<u8>, Vec<u8>>().await?;
            let most = if codec == Codec::Json { 300_000 } else { usize::MAX };
            let sizes = sizes.map(|size: usize| size.min(most));
            let sending = async move {
                for size in sizes {
                    sender.send(vec![7; size]).await.unwrap();
                }
                sender.close();
            };
            let (got, ()) = futures_util::future::join(all(receiver), sending).await;
            let got: Vec<_> = got?.iter().map(Vec::len).collect();
            assert_eq!(got, sizes.map(|size| 2 * size));
        }
        Ok(())
    }

    // R17
    async fn a_reader_that_takes_nothing_holds_its_own_call_up_alone(broker, told, made) {
        for bytes in [0, 100, 5_000] {
            made.store(0, Ordering::SeqCst);
            let call = broker.call_named::<()>("endless", (bytes,)).no_deadline();
            let mut items = call.open::<(u32, Vec<u8>)>().await?;
            // Others have their turn meanwhile, and answers.
            let mut before = usize::MAX;
            while before != made.load(Ordering::SeqCst) {
                before = made.load(Ordering::SeqCst);
                for _ in 0..20 {
                    assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
                }
                sleep(Duration::from_millis(5)).await;
            }
            // The window of the call, what waits for it, and one item.
            let most = (64 * 1024 + 16 * 1024) / (16 + bytes) + 2;
            assert!(before <= most, "{before} items of {bytes} bytes");
            for expected in 0..2 * before as u32 {
                let (number, body) = items.recv().await?.expect("there are more");
                assert_eq!((number, body.len()), (expected, bytes));
            }
            drop(items);
            assert_eq!(heard(&told).await, "endless ended");
        }
        Ok(())
    }

    // R17
    async fn a_handler_that_takes_nothing_holds_its_caller_up(broker, told, _made) {
        let call = broker.call_named::<()>("never", ()).no_deadline();
        let StreamCall { mut sender, receiver, .. } = call.open_sending::<u32>().await?;
        let mut sent = 0;
        loop {
            match sender.try_send(7) {
                Ok(()) => sent += 1,
                Err(error) => {
                    assert!(error.is_full(), "{error}");
                    let room = timeout(
                        Duration::from_millis(200),
                        std::future::poll_fn(|cx| sender.poll_ready(cx)),
                    );
                    if room.await.is_err() {
                        break;
                    }
                }
            }
            assert!(sent < 20_000);
        }
        assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
        drop(receiver);
        assert_eq!(heard(&told).await, "never ended");
        let refused = sender.send(7).await.unwrap_err();
        assert!(matches!(refused, SendItemError::Closed(7)), "{refused:?}");
        Ok(())
    }

    // R18
    async fn a_handler_may_end_before_its_caller(broker, told, _made) {
        let call = broker.call_named::<Option<u32>>("first", ());
        let StreamCall { mut sender, receiver, .. } = call.open_sending::<u32>().await?;
        sender.send(7).await.unwrap();
        assert_eq!(heard(&told).await, "first has one");
        assert_eq!(receiver.reply().await?, Some(7));
        // What it sends goes nowhere.
        while let Ok(()) = sender.send(8).await {}
        assert!(sender.is_closed());
        Ok(())
    }

    async fn what_was_cut_short_is_not_taken_for_the_whole(broker, told, _made) {
        let call = broker.call_named::<u64>("sum", (0_u64,));
        let StreamCall { mut sender, receiver, .. } = call.open_sending::<u64>().await?;
        sender.send(7).await.unwrap();
        drop(sender);
        let error = receiver.reply().await.unwrap_err();
        assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::MaybeExecuted));
        assert!(error.message().contains("sender was dropped"), "{error}");
        // And what is whole is.
        let call = broker.call_named::<()>("whole", ());
        let StreamCall { mut sender, receiver, .. } = call.open_sending::<u32>().await?;
        sender.send(7).await.unwrap();
        sender.close();
        receiver.reply().await?;
        assert_eq!(heard(&told).await, "1: all");
        Ok(())
    }

    // R17
    async fn items_that_are_complete_are_read_when_it_suits_the_handler(broker, _told, _made) {
        // More than half of the window is there when their end is.
        for (size, count) in [(1_000, 60), (1_000, 64), (60_000, 1), (0, 3_500)] {
            let call = broker.call_named::<usize>("late", ());
            let StreamCall { mut sender, receiver, .. } = call.open_sending::<Vec<u8>>().await?;
            for _ in 0..count {
                sender.send(vec![7; size]).await.unwrap();
            }
            sender.close();
            sleep(Duration::from_millis(20)).await;
            assert!(broker.call_named::<bool>("go", ()).await?);
            let reply = timeout(LONG, receiver.reply()).await.expect("in time");
            assert_eq!(reply?, count);
        }
        Ok(())
    }

    // R18
    async fn a_handler_that_wants_no_more_items_holds_nobody_up(broker, _told, _made) {
        let call = broker.call_named::<usize>("header", ());
        let StreamCall { mut sender, receiver, .. } = call.open_sending::<Vec<u8>>().await?;
        for size in [30_000, 20_000, 20_000, 20_000, 40_000, 10, 60_000, 60_000] {
            let sent = timeout(LONG, sender.send(vec![7; size])).await;
            sent.expect("there is room").unwrap();
        }
        sender.close();
        assert!(broker.call_named::<bool>("go", ()).await?);
        assert_eq!(receiver.reply().await?, 30_000);
        Ok(())
    }

    // R18
    async fn a_sender_that_is_dropped_after_the_end_does_not_hide_it(broker, _told, _made) {
        let call = broker.call_named::<Option<u32>>("first", ());
        let StreamCall { mut sender, receiver, .. } = call.open_sending::<u32>().await?;
        while let Ok(()) = sender.send(7).await {
            sleep(Duration::from_millis(1)).await;
        }
        drop(sender);
        assert_eq!(receiver.reply().await?, Some(7));
        Ok(())
    }

    async fn a_call_with_items_has_a_deadline(broker, told, _made) {
        let call = broker.call_named::<()>("never", ()).timeout(Duration::from_millis(50));
        let StreamCall { sender, mut receiver, .. } = call.open_sending::<u32>().await?;
        let error = timeout(LONG, receiver.recv()).await.expect("in time").unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert!(receiver.recv().await?.is_none(), "an error comes once");
        assert_eq!(heard(&told).await, "never ended");
        assert!(sender.is_closed());
        Ok(())
    }

    // R22
    async fn a_method_is_called_as_it_is(broker, _told, _made) {
        let refused = |error: CallError| {
            assert!(error.certainty().did_not_run(), "{error}");
            assert_eq!(error.code(), Code::Unsupported, "{error}");
            assert!(error.message().contains("items"), "{error}");
        };
        refused(broker.call_named::<()>("count", (0_u32, 1_u32)).await.unwrap_err());
        let opened = broker.call_named::<i64>("add", (2, 3)).open::<u32>().await;
        refused(match opened {
            Ok(receiver) => receiver.reply().await.unwrap_err(),
            Err(error) => error,
        });
        let keyed = broker.call_named::<()>("count", (0_u32, 1_u32)).idempotency_key("once");
        let error = keyed.open::<u32>().await.unwrap_err();
        assert_eq!((error.code(), error.certainty()), (Code::BadArguments, Certainty::NeverSent));
        Ok(())
    }

    async fn items_of_another_type_are_found(broker, told, _made) {
        let call = broker.call_named::<()>("count", (0_u32, 10_u32));
        let mut items = call.open::<String>().await?;
        let error = items.recv().await.unwrap_err();
        assert_eq!(error.code(), Code::BadReply);
        assert!(items.recv().await?.is_none());
        let call = broker.call_named::<()>("whole", ());
        let StreamCall { mut sender, receiver, .. } = call.open_sending::<String>().await?;
        sender.send("seven".into()).await.unwrap();
        sender.close();
        receiver.reply().await?;
        let told = heard(&told).await;
        assert!(told.starts_with("0: an item did not decode"), "{told}");
        Ok(())
    }

    async fn items_may_be_taken_without_waiting(broker, _told, _made) {
        let mut items = broker.call_named::<()>("count", (0_u32, 3_u32)).open::<u32>().await?;
        let mut got = Vec::new();
        loop {
            match items.try_recv() {
                Ok(item) => got.push(item),
                Err(TryRecvItemError::Empty) => sleep(Duration::from_millis(1)).await,
                Err(TryRecvItemError::Ended) => break,
                Err(TryRecvItemError::Failed(error)) => return Err(error.into()),
            }
        }
        assert_eq!(got, [0, 1, 2]);
        let items = broker.call_named::<()>("count", (0_u32, 3_u32)).open::<u32>().await?;
        let got: Vec<_> = items.map(Result::unwrap).collect().await;
        assert_eq!(got, [0, 1, 2]);
        Ok(())
    }
}

/// A call of a handler that runs to its end.
struct Whole;

impl Call for Whole {
    type Args = ();
    type Reply = String;
    type Error = NoError;
    const NAME: DeclaredName = DeclaredName::explicit("no_cancel");
    const SPEC: MethodSpec = MethodSpec::new().no_cancel().streaming(Streaming::Caller);

    fn into_args(self) {}

    fn from_args((): ()) -> Self {
        Whole
    }

    async fn run(self, context: Context) -> Result<String, NoError> {
        let mut items = context.incoming::<u32>();
        let told = context.state::<Tells>().expect("it is there");
        let mut got = 0;
        let end = loop {
            match items.recv().await {
                Ok(Some(_)) => {
                    got += 1;
                    told.say(format!("{got} came"));
                }
                Ok(None) => break "all".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        told.say(format!("{got}: {end}"));
        Ok(end)
    }
}

impl StreamingCall for Whole {
    type Sends = u32;
    type Receives = NoItem;
}

/// Cuts a call short in every way; its handler never takes what came for the whole.
async fn is_cut_short(broker: impl Broker, told: Receiver<String>) -> Result<(), Error> {
    let incomplete = "2: the caller is gone before its items were complete";
    for way in 0..4 {
        let opened = broker.call(Whole).open().await?;
        let (mut sender, receiver) = (opened.sender, opened.receiver);
        for (item, came) in [(1, "1 came"), (2, "2 came")] {
            sender.send(item).await.unwrap();
            assert_eq!(heard(&told).await, came);
        }
        match way {
            0 => {
                drop(sender);
                // Cancelled, or what the handler makes of it.
                let _ = receiver.reply().await;
            }
            1 => {
                drop(receiver);
                sender.close();
            }
            2 => {
                drop(receiver);
                drop(sender);
            }
            _ => {
                broker.close();
                broker.closed().await;
            }
        }
        if way < 3 {
            assert_eq!(heard(&told).await, incomplete, "{way}");
        }
    }
    Ok(())
}

on_every_backend! {
    // R18
    async fn in_memory_what_is_cut_short_is_known_as_that() {
        let registry = Registry::new("example");
        registry.register_all([MethodDef::of::<Whole>()]).unwrap();
        let (sender, told) = unbounded();
        within(|group| async move {
            let executor = AsyncExecutor::new(registry, 64).state(Tells(sender));
            is_cut_short(MemoryBroker::new(executor).start(&group).await?, told).await
        })
        .await;
    }
}

over_every_wire! {
    // R18
    async fn what_is_cut_short_is_known_as_that(wire: Wire) {
        let registry = Registry::new("example");
        registry.register_all([MethodDef::of::<Whole>()]).unwrap();
        let (sender, told) = unbounded();
        within(|group| async move {
            let executor = AsyncExecutor::new(registry, 64).state(Tells(sender));
            let server = wire.serve_by(executor).start(&group).await?;
            let client = wire.client(&server).start(&group).await?;
            is_cut_short(client, told.clone()).await?;
            let last = heard(&told).await;
            assert_eq!(last, "2: the caller is gone before its items were complete");
            Ok(())
        })
        .await;
    }

    // R7
    async fn a_lost_connection_ends_both_ends(wire: Wire) {
        let (registry, told, _) = streaming();
        within(|group| async move {
            let server = wire.serve(registry).start(&group).await?;
            let client = wire.client(&server).start(&group).await?;
            let call = client.call_named::<()>("endless", (100_usize,)).no_deadline();
            let mut items = call.open::<(u32, Vec<u8>)>().await?;
            assert_eq!(items.recv().await?.expect("one").0, 0);
            server.close();
            let mut last = 0;
            let error = loop {
                match items.recv().await {
                    Ok(Some((number, _))) => {
                        assert_eq!(number, last + 1, "none is missing");
                        last = number;
                    }
                    Ok(None) => panic!("an endless stream has ended"),
                    Err(error) => break error,
                }
            };
            assert!(
                matches!(error.code(), Code::ConnectionLost | Code::Cancelled),
                "{error}"
            );
            assert_eq!(heard(&told).await, "endless ended");
            Ok(())
        })
        .await;
    }

    async fn an_item_longer_than_the_peer_takes_is_given_back(wire: Wire) {
        let (registry, _, _) = streaming();
        within(|group| async move {
            let mut limits = Limits::default();
            limits.max_message = 100_000;
            let server = wire.serve(registry).limits(limits).unwrap().start(&group).await?;
            let client = wire.client(&server).start(&group).await?;
            let call = client.call_named::<()>("double", ());
            let StreamCall { mut sender, receiver, .. } =
                call.open_both::<Vec<u8>, Vec<u8>>().await?;
            let long = vec![7; 200_000];
            match sender.send(long).await.unwrap_err() {
                SendItemError::TooLarge { item, limit, actual } => {
                    assert_eq!((item.len(), limit), (200_000, 100_000));
                    assert!(actual >= 200_000);
                }
                other => panic!("{other}"),
            }
            // The call goes on.
            sender.send(vec![7; 10]).await.unwrap();
            sender.close();
            assert_eq!(all(receiver).await?, [vec![7; 20]]);
            Ok(())
        })
        .await;
    }
}

async fn until(reached: impl Fn() -> bool) {
    let reached = async {
        while !reached() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, reached).await.expect("it comes to that");
}

/// A method whose items come from a channel of the test, dropped as `policy` says beyond 8.
async fn tail(
    wire: &Wire,
    group: &TaskGroup<Error>,
    policy: Overflow,
) -> Result<(Sender<u32>, ItemReceiver<Lossy<u32>>, TcpBroker), Error> {
    let (sender, lines) = unbounded::<u32>();
    let registry = registry();
    let most = NonZeroUsize::new(8).expect("it is 8");
    registry.register_stream("tail", move |(): ()| {
        let lines = lines.clone();
        // Long items, so that few of them are on the way.
        lines.overflow_after(most, policy)
    })?;
    let mut limits = Limits::default();
    limits.call_window = 4096;
    let server = wire.serve(registry).start(group).await?;
    let client = wire
        .client(&server)
        .limits(limits)
        .unwrap()
        .start(group)
        .await?;
    let items = client
        .call_named::<()>("tail", ())
        .no_deadline()
        .open()
        .await?;
    Ok((sender, items, server))
}

over_every_wire! {
    // R19
    async fn a_stream_that_blocks_loses_nothing(wire: Wire) {
        within(|group| async move {
            let (sender, mut items, _server) = tail(&wire, &group, Overflow::Block).await?;
            for number in 0..5_000 {
                sender.try_send(number).unwrap();
            }
            drop(sender);
            sleep(Duration::from_millis(50)).await;
            for number in 0..5_000 {
                assert_eq!(items.recv().await?, Some(Lossy::Item(number)));
            }
            assert_eq!(items.recv().await?, None);
            Ok(())
        })
        .await;
    }

    // R19
    async fn a_stream_that_drops_says_how_many_and_where(wire: Wire) {
        within(|group| async move {
            for policy in [Overflow::DropOldest, Overflow::DropNewest] {
                let (sender, mut items, server) = tail(&wire, &group, policy).await?;
                // One by one, so that each is at the handler before the next.
                for number in 0..2_000 {
                    sender.try_send(number).unwrap();
                    if number % 50 == 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
                // All are at the handler before the first is read.
                until(|| sender.is_empty()).await;
                let (mut next, mut lost) = (0_u32, 0);
                let mut last_lag = (0, 0);
                drop(sender);
                while let Some(item) = items.recv().await? {
                    match item {
                        Lossy::Item(number) => {
                            assert_eq!(number, next, "the gap is where it is said to be");
                            next += 1;
                        }
                        Lossy::Lagged(dropped) => {
                            assert!(dropped > 0);
                            last_lag = (next, dropped as u32);
                            next += dropped as u32;
                            lost += dropped;
                        }
                    }
                }
                assert_eq!(next, 2_000, "each came or is counted");
                assert!(lost > 1_000, "{lost}");
                let (at, dropped) = last_lag;
                match policy {
                    // The newest are there, behind the gap.
                    Overflow::DropOldest => assert_eq!(next - at, dropped + 8),
                    // The gap is at the end.
                    _ => assert_eq!(next - at, dropped),
                }
                server.close();
            }
            Ok(())
        })
        .await;
    }

    // R19
    async fn a_stream_that_closes_says_why(wire: Wire) {
        within(|group| async move {
            let (sender, mut items, _server) = tail(&wire, &group, Overflow::Close).await?;
            for number in 0..2_000 {
                sender.try_send(number).unwrap();
            }
            // The handler has given the stream up; the registry has one end.
            until(|| sender.receiver_count() == 1).await;
            let mut next = 0;
            let error = loop {
                match items.recv().await {
                    Ok(Some(Lossy::Item(number))) => {
                        assert_eq!(number, next);
                        next += 1;
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(error) => break error,
                }
            };
            assert!(next < 2_000);
            assert_eq!((error.code(), error.certainty()), (Code::Overloaded, Certainty::Executed));
            Ok(())
        })
        .await;
    }
}
