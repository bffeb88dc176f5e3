//! Items that are not the whole: one end goes before the other.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bowline_channel::{Receiver, unbounded};
use bowline_concurrency::{sleep, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Call, Caller, Certainty, Code, Context, DeclaredName, DynBroker, Error, MemoryBroker,
    MethodDef, MethodSpec, NoError, NoItem, Registry, StreamCall, Streaming, StreamingCall,
};

use super::{LONG, Tells, heard, in_memory, over, streaming};
use crate::backends::{on_every_backend, within};
use crate::wire::{Wire, over_every_wire};

everywhere! {
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
        assert_eq!(error.method(), "sum");
        // And what is whole is.
        let call = broker.call_named::<()>("whole", ());
        let StreamCall { mut sender, receiver, .. } = call.open_sending::<u32>().await?;
        sender.send(7).await.unwrap();
        sender.close();
        receiver.reply().await?;
        assert_eq!(heard(&told).await, "1: all");
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
        let mut patience = Duration::from_millis(100);
        loop {
            assert!(patience < LONG, "its handler never begins");
            let call = broker.call_named::<()>("never", ()).timeout(patience);
            let StreamCall { sender, mut receiver, .. } = call.open_sending::<u32>().await?;
            let error = timeout(LONG, receiver.recv()).await.expect("in time").unwrap_err();
            assert_eq!((error.code(), error.method()), (Code::DeadlineExceeded, "never"));
            assert!(receiver.recv().await?.is_none(), "an error comes once");
            assert!(sender.is_closed());
            // On a busy machine the time may be over before the handler begins.
            let ended = timeout(Duration::from_secs(2), told.recv()).await;
            if let Ok(said) = ended {
                assert_eq!(said.expect("it is told"), "never ended");
                return Ok(());
            }
            patience *= 4;
        }
    }
}

/// A call of a handler that runs to its end.
struct Whole;

impl Call for Whole {
    type Args = ();
    type Reply = String;
    type Error = NoError;
    type Request = bowline_rpc::Opened<Self>;
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
}
