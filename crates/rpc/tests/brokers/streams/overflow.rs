//! Streams whose reader lags, by what they do about it.

use std::num::NonZeroUsize;
use std::time::Duration;

use bowline_channel::{Sender, unbounded};
use bowline_concurrency::{TaskGroup, sleep, timeout};
use bowline_rpc::{
    Broker, Caller, Certainty, Code, Error, ItemReceiver, Limits, Lossy, Overflow, OverflowExt,
    TcpBroker,
};
use futures_util::StreamExt;

use super::LONG;
use crate::backends::{registry, within};
use crate::wire::{Wire, over_every_wire};

async fn until(reached: impl Fn() -> bool) {
    let reached = async {
        while !reached() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, reached).await.expect("it comes to that");
}

/// A number, and so much with it that few of them are on the way to who reads none.
type Line = (u32, Vec<u8>);

/// A method whose items come from a channel of the test, dropped as `policy` says beyond 8.
async fn tail(
    wire: &Wire,
    group: &TaskGroup<Error>,
    policy: Overflow,
) -> Result<(Sender<u32>, ItemReceiver<Lossy<Line>>, TcpBroker), Error> {
    let (sender, lines) = unbounded::<u32>();
    let registry = registry();
    let most = NonZeroUsize::new(8).expect("it is 8");
    registry.register_stream("tail", move |(): ()| {
        let lines = lines.clone();
        let lines = lines.map(|number| -> Line { (number, vec![0; 500]) });
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
                let item = items.recv().await?;
                assert!(matches!(item, Some(Lossy::Item((it, _))) if it == number), "{number}");
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
                // All are at the handler before the first is read: what is on the way is long full.
                until(|| sender.is_empty()).await;
                let (mut next, mut lost) = (0_u32, 0);
                let mut last_lag = (0, 0);
                drop(sender);
                while let Some(item) = items.recv().await? {
                    match item {
                        Lossy::Item((number, _)) => {
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
                    Ok(Some(Lossy::Item((number, _)))) => {
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
