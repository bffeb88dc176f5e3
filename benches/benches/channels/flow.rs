//! Values from senders to receivers.

use std::hint::black_box;
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::floor;
use crate::peers::Entrant;

/// How many threads run the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workers {
    One,
    Two,
}

pub(crate) fn runtime(workers: Workers) -> Runtime {
    match workers {
        Workers::One => Builder::new_current_thread().build().unwrap(),
        Workers::Two => Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap(),
    }
}

/// Nanoseconds per value; spawning and joining the tasks included.
pub(crate) fn flow<E: Entrant>(
    workers: Workers,
    senders: usize,
    receivers: usize,
    capacity: usize,
    values: usize,
) -> Option<f64> {
    let (tx, rx) = E::open(capacity, senders, receivers)?;
    let runtime = runtime(workers);
    let mut txs: Vec<_> = (1..senders).map(|_| E::another_tx(&tx)).collect();
    txs.push(tx);
    let mut rxs: Vec<_> = (1..receivers).map(|_| E::another_rx(&rx)).collect();
    rxs.push(rx);
    let per_sender = values / senders;
    let start = Instant::now();
    let received = runtime.block_on(async {
        let receiving: Vec<_> = rxs
            .into_iter()
            .map(|mut rx| {
                tokio::spawn(async move {
                    let mut count = 0;
                    while let Some(value) = E::recv(&mut rx).await {
                        black_box(value);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for mut tx in txs {
            tokio::spawn(async move {
                for value in 0..per_sender {
                    E::send(&mut tx, value as u64).await;
                }
            });
        }
        let mut received = 0;
        for task in receiving {
            received += task.await.unwrap();
        }
        received
    });
    let took = start.elapsed();
    assert_eq!(received, per_sender * senders);
    Some(took.as_nanos() as f64 / received as f64)
}

/// Nanoseconds for a send and a receive that need no waiting.
pub(crate) fn pair<E: Entrant>(capacity: usize, values: usize) -> Option<f64> {
    let (mut tx, mut rx) = E::open(capacity, 1, 1)?;
    let start = Instant::now();
    for value in 0..values {
        assert!(E::try_send(&mut tx, black_box(value as u64)));
        assert!(black_box(E::try_recv(&mut rx)).is_some());
    }
    Some(start.elapsed().as_nanos() as f64 / values as f64)
}

/// Runs two futures that cannot leave the thread as tasks of one thread.
fn within_one_thread(
    values: usize,
    sending: impl Future<Output = ()> + 'static,
    receiving: impl Future<Output = usize> + 'static,
) -> f64 {
    let runtime = runtime(Workers::One);
    let start = Instant::now();
    let received = runtime.block_on(LocalSet::new().run_until(async {
        let receiving = tokio::task::spawn_local(receiving);
        tokio::task::spawn_local(sending);
        receiving.await.unwrap()
    }));
    assert_eq!(received, values);
    start.elapsed().as_nanos() as f64 / values as f64
}

/// The queue without atomics.
pub(crate) fn floor_flow(capacity: usize, values: usize) -> f64 {
    let (tx, rx) = floor::open(capacity);
    within_one_thread(
        values,
        async move {
            for value in 0..values {
                tx.send(value as u64).await;
            }
        },
        async move {
            let mut count = 0;
            while let Some(value) = rx.recv().await {
                black_box(value);
                count += 1;
            }
            count
        },
    )
}

/// Bowline's channel within one thread.
pub(crate) fn local_flow(capacity: usize, values: usize) -> f64 {
    let (tx, rx) = bowline_channel::local::bounded(capacity);
    within_one_thread(
        values,
        async move {
            for value in 0..values {
                tx.send(value as u64).await.unwrap();
            }
        },
        async move {
            let mut count = 0;
            while let Ok(value) = rx.recv().await {
                black_box(value);
                count += 1;
            }
            count
        },
    )
}

/// Bowline's batches.
pub(crate) fn batch_flow(capacity: usize, values: usize) -> f64 {
    let (tx, rx) = bowline_channel::bounded(capacity);
    let runtime = runtime(Workers::One);
    let start = Instant::now();
    let received = runtime.block_on(async {
        let receiving = tokio::spawn(async move {
            let (mut batch, mut count) = (Vec::new(), 0);
            while let Ok(more) = rx.recv_many(&mut batch, capacity).await {
                count += more;
                black_box(&batch);
                batch.clear();
            }
            count
        });
        tokio::spawn(async move {
            tx.send_all((0..values).map(|value| value as u64))
                .await
                .unwrap();
        });
        receiving.await.unwrap()
    });
    assert_eq!(received, values);
    start.elapsed().as_nanos() as f64 / values as f64
}
