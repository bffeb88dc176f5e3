//! `Queue` under random schedules in the simulator: nothing is lost, doubled or overtaken.

use bowline_concurrency::sync::Queue;
use bowline_concurrency::{CancelScope, task_group, yield_now};
use bowline_sim::Sim;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// Worlds; each has its own seed.
const WORLDS: u64 = 1000;
/// Schedules per world, one after the other.
const SCHEDULES: usize = 100;

const SENDERS: u64 = 2;
const VALUES: u64 = 3;
const RECEIVERS: usize = 2;

/// What happened in one schedule.
#[derive(Default)]
struct Record {
    /// Sends that said so.
    sent: Vec<u64>,
    received: Vec<u64>,
    /// How many operations were dropped before they ended.
    dropped: usize,
}

/// Runs an operation in one of four ways: to its end, dropped after a few polls by foreign code,
/// cancelled beforehand, or cancelled after a few polls.
async fn maybe<F: Future>(operation: F) -> Option<F::Output> {
    let mut polls = Sim::choose("polls", 1..4);
    match Sim::choose("manner", 0..4) {
        0 => Some(operation.await),
        1 => {
            let mut operation = pin!(operation);
            std::future::poll_fn(|cx| match operation.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polls == 1 => Poll::Ready(None),
                Poll::Pending => {
                    polls -= 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await
        }
        2 => {
            let scope = CancelScope::new();
            scope.handle().cancel("beforehand");
            scope.run(operation).await.done()
        }
        _ => {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let cancels = async {
                for _ in 0..polls {
                    yield_now().await;
                }
                handle.cancel("meanwhile");
            };
            futures_util::future::join(scope.run(operation), cancels)
                .await
                .0
                .done()
        }
    }
}

async fn run_schedule() -> Record {
    let capacity = Sim::choose("capacity", 1..4) as usize;
    let queue = Arc::new(Queue::bounded(capacity).expect("it is not zero"));
    let record = Arc::new(Mutex::new(Record::default()));
    let (shared, records) = (queue.clone(), record.clone());
    let result = task_group::<_, (), _, _>(|group| async move {
        let receivers: Vec<_> = (0..RECEIVERS)
            .map(|_| {
                let (queue, record) = (shared.clone(), records.clone());
                group.spawn_ok(async move {
                    for _ in 0..VALUES {
                        // Recorded in the poll that receives: only so is the order the queue's.
                        let receives = async {
                            let job = queue.recv_job().await.ok()?;
                            record.lock().expect("no panic").received.push(*job);
                            Some(())
                        };
                        match maybe(receives).await {
                            Some(Some(())) => {}
                            Some(None) => return,
                            None => record.lock().expect("no panic").dropped += 1,
                        }
                    }
                })
            })
            .collect();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (queue, record) = (shared.clone(), records.clone());
                group.spawn_ok(async move {
                    for n in 0..VALUES {
                        let value = sender * VALUES + n;
                        let sent = maybe(queue.send(value)).await;
                        let mut record = record.lock().expect("no panic");
                        match sent {
                            Some(Ok(())) => record.sent.push(value),
                            Some(Err(back)) => assert_eq!(back.0, value),
                            None => record.dropped += 1,
                        }
                    }
                })
            })
            .collect();
        for _ in 0..Sim::choose("close after", 8..40) {
            yield_now().await;
        }
        shared.close();
        for task in senders.into_iter().chain(receivers) {
            assert!(task.join().await.is_ok());
        }
        Ok(())
    });
    assert!(result.await.is_ok());
    let record = Arc::into_inner(record).expect("the tasks have ended");
    let mut record = record.into_inner().expect("no panic");
    while let Ok(value) = queue.try_recv() {
        record.received.push(value);
        assert_eq!(queue.task_done(), Ok(()));
    }
    let end = queue.statistics();
    assert_eq!((end.senders, end.receivers, end.unfinished), (0, 0, 0));
    record
}

fn check(record: &Record) {
    let mut seen = record.received.clone();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), record.received.len(), "received twice");
    for value in &record.sent {
        assert!(record.received.contains(value), "{value} was lost");
    }
    for sender in 0..SENDERS {
        let order: Vec<_> = record
            .received
            .iter()
            .filter(|value| **value / VALUES == sender)
            .collect();
        assert!(order.is_sorted(), "one sender's values were overtaken");
    }
}

/// Runs a quarter of the schedules; four tests, for four cores.
fn run_quarter(quarter: u64) {
    let (mut received, mut dropped) = (0, 0);
    for seed in quarter * WORLDS / 4..(quarter + 1) * WORLDS / 4 {
        bowline_sim::block_on(seed, async {
            for _ in 0..SCHEDULES {
                let record = run_schedule().await;
                check(&record);
                received += record.received.len();
                dropped += record.dropped;
            }
        });
    }
    // Both outcomes are common, or the test would show little.
    assert!(received > 25_000, "{received} received");
    assert!(dropped > 25_000, "{dropped} dropped");
}

// SY35
#[test]
fn no_value_is_lost_or_doubled_in_schedules_of_the_first_quarter() {
    run_quarter(0);
}

// SY35
#[test]
fn no_value_is_lost_or_doubled_in_schedules_of_the_second_quarter() {
    run_quarter(1);
}

// SY35
#[test]
fn no_value_is_lost_or_doubled_in_schedules_of_the_third_quarter() {
    run_quarter(2);
}

// SY35
#[test]
fn no_value_is_lost_or_doubled_in_schedules_of_the_last_quarter() {
    run_quarter(3);
}
