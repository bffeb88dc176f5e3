//! Items that come and go as they were sent, and calls that are not made as their method is.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bowline_channel::Receiver;
use bowline_concurrency::sleep;
use bowline_rpc::{
    CallError, Caller, Certainty, Code, Codec, DynBroker, Error, Limits, SendItemError, StreamCall,
    TryRecvItemError,
};
use futures_util::StreamExt;

use super::{all, heard, in_memory, over, streaming};
use crate::backends::{on_every_backend, within};
use crate::wire::{Wire, over_every_wire};

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

    async fn items_of_another_type_are_found(broker, told, _made) {
        let call = broker.call_named::<()>("count", (0_u32, 10_u32));
        let mut items = call.open::<String>().await?;
        let error = items.recv().await.unwrap_err();
        assert_eq!((error.code(), error.method()), (Code::BadReply, "count"));
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
}

over_every_wire! {
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
