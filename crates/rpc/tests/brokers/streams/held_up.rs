//! Who waits for whom, where one end takes no items.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_channel::Receiver;
use bowline_concurrency::{sleep, timeout};
use bowline_rpc::{Caller, DynBroker, Error, SendItemError, StreamCall};

use super::{LONG, heard, in_memory, over};
use crate::backends::on_every_backend;
use crate::wire::{Wire, over_every_wire};

everywhere! {
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
}
