//! The queue that counts what is done against the channel that does not.

use crate::bodies::{each, in_task};
use bowline::channel;
use bowline::concurrency::sync::Queue;
use bowline::concurrency::task_group;
use std::sync::Arc;
use std::time::Instant;

const VALUES: u64 = 10_000;

pub(crate) fn queue_wide() -> f64 {
    queue(128)
}

pub(crate) fn queue_narrow() -> f64 {
    queue(1)
}

pub(crate) fn channel_wide() -> f64 {
    channel(128)
}

pub(crate) fn channel_narrow() -> f64 {
    channel(1)
}

fn queue(places: usize) -> f64 {
    let queue = Arc::new(Queue::bounded(places).expect("it has places"));
    let to = queue.clone();
    flow(
        async move {
            for n in 0..VALUES {
                to.send(n).await.expect("it is open");
            }
            to.close();
        },
        async move {
            let mut sum = 0;
            while let Ok(n) = queue.recv().await {
                sum += n;
            }
            sum
        },
    )
}

fn channel(places: usize) -> f64 {
    let (sender, receiver) = channel::bounded(places);
    flow(
        async move {
            for n in 0..VALUES {
                sender.send(n).await.expect("it is open");
            }
        },
        async move {
            let mut sum = 0;
            while let Ok(n) = receiver.recv().await {
                sum += n;
            }
            sum
        },
    )
}

/// Nanoseconds per value from one task to another.
fn flow(
    send: impl Future<Output = ()> + Send + 'static,
    recv: impl Future<Output = u64> + Send + 'static,
) -> f64 {
    in_task(async move {
        let start = Instant::now();
        let sum = task_group::<_, (), _, _>(|group| async move {
            group.spawn_ok(send);
            Ok(group.spawn_ok(recv).join().await.expect("it does not fail"))
        });
        assert_eq!(sum.await.ok(), Some(VALUES * (VALUES - 1) / 2));
        each(start, VALUES as usize)
    })
}
