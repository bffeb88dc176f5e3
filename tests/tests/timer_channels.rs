//! Moments among channels: `after` and `tick`, on the simulator's clock.

use std::time::Duration;

use bowline::backend::Backend;
use bowline::channel::{rendezvous, select};
use bowline::concurrency::{Root, after, now, sleep, tick};
use bowline::sim::{EventKind, Sim};
use futures_util::future::poll_immediate;

const SECOND: Duration = Duration::from_secs(1);

fn in_the_simulator(test: impl AsyncFnOnce()) {
    Root::new()
        .backend(Backend::Sim)
        .block_on(async { test().await });
}

fn whole_seconds(span: Duration) -> u64 {
    (span + Duration::from_millis(1)).as_secs()
}

// PT22
#[test]
fn after_fires_once_at_its_time_also_in_a_select() {
    in_the_simulator(async || {
        let start = now();
        assert_eq!(after(2 * SECOND).await - start, 2 * SECOND);
        assert_eq!(whole_seconds(now() - start), 2);

        let (sender, receiver) = rendezvous::<u8>();
        let mut over = std::pin::pin!(after(SECOND));
        for _ in 0..3 {
            let early = select! {
                _ = receiver.recv() => panic!("nobody sends"),
                _ = &mut over => panic!("it is too early"),
                default => true,
            };
            assert!(early);
        }
        let late = select! {
            _ = receiver.recv() => false,
            _ = &mut over => true,
        };
        assert!(late);
        assert_eq!(whole_seconds(now() - start), 3);
        drop(sender);
    });
}

// PT22
#[test]
fn one_tick_comes_for_all_that_were_missed() {
    in_the_simulator(async || {
        let start = now();
        let mut ticks = tick(SECOND);
        assert_eq!(ticks.recv().await - start, SECOND);
        assert_eq!(ticks.recv().await - start, 2 * SECOND);
        sleep(3 * SECOND + SECOND / 2).await;
        assert_eq!(ticks.recv().await - start, 3 * SECOND);
        assert_eq!(
            whole_seconds(now() - start),
            5,
            "the missed one comes at once"
        );
        assert!(poll_immediate(ticks.recv()).await.is_none(), "and only one");
        assert_eq!(ticks.recv().await - start, 6 * SECOND);
        assert_eq!(whole_seconds(now() - start), 6);
    });
}

// PT22
#[test]
fn moments_made_by_another_clock_count_from_where_they_are_awaited() {
    let other_world = || {
        let made = Root::new().backend(Backend::Sim).block_on(async {
            // Far ahead of the clock of the next world.
            sleep(1000 * SECOND).await;
            let mut ticks = tick(SECOND);
            ticks.recv().await;
            (after(2 * SECOND), ticks)
        });
        (made.0, made.1)
    };
    for (over, mut ticks) in [(after(2 * SECOND), tick(SECOND)), other_world()] {
        in_the_simulator(async || {
            let start = now();
            assert_eq!(ticks.recv().await - start, SECOND);
            assert_eq!(whole_seconds(now() - start), 1);
            assert_eq!(ticks.recv().await - start, 2 * SECOND);
            let start = now();
            assert_eq!(over.await - start, 2 * SECOND);
            assert_eq!(whole_seconds(now() - start), 2);
        });
    }
}

// PT22
#[test]
fn real_backends_share_a_clock() {
    let start = Root::new().backend(Backend::Smol).block_on(async { now() });
    let over = after(Duration::from_millis(5));
    Root::new().backend(Backend::Tokio).block_on(async {
        assert!(now() >= start);
        let meant = over.await;
        assert!(meant >= start + Duration::from_millis(5) && now() >= meant);
    });
}

/// How often a timer fires in the minute after `act`.
fn timers_after(act: impl AsyncFn() + Copy + Send + Sync + 'static) -> usize {
    let mut world = Sim::builder()
        .seed(1)
        .client("one", move || async move {
            act().await;
            Sim::note("dropped", 0);
            sleep(60 * SECOND).await;
        })
        .build();
    world.run_until(|world| world.is_finished()).unwrap();
    let trace = world.trace();
    let events = trace.iter().map(|line| line.event());
    let after = events.skip_while(|event| event.label() != "dropped");
    after
        .filter(|event| event.kind() == EventKind::Timer)
        .count()
}

// PT22
#[test]
fn what_is_dropped_leaves_no_timer() {
    // The one is that of the minute itself.
    assert_eq!(timers_after(async || Sim::spawn(sleep(SECOND))), 2);
    let dropped = async || {
        for _ in 0..10 {
            let mut ticks = tick(SECOND);
            assert!(poll_immediate(after(SECOND)).await.is_none());
            assert!(poll_immediate(ticks.recv()).await.is_none());
        }
    };
    assert_eq!(timers_after(dropped), 1);
}
