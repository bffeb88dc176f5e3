//! Parallel calls, workers and pools: one file per pattern, on every backend where a runtime
//! matters.

#[path = "../suite/alive.rs"]
mod alive;
#[path = "../suite/every_backend.rs"]
mod every_backend;

mod parallel;
mod pool;
mod pool_closing;
mod pool_handover;
mod pool_schedules;
mod pool_times;
mod workers;
mod workers_failing;

use bowline_backend::Backend;
use bowline_concurrency::{Pool, Root, Workers, parallel, task_group};
use std::pin::pin;
use std::task::Poll;

/// Drops a future when it was pending `polls` times; its output if it ended before.
async fn cut_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    let cut = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    });
    cut.await
}

fn is_send<F: Future + Send>(future: F) -> F {
    future
}

/// Compiles, also where the types are not known.
async fn futures_can_be_sent<T, E>(pool: &Pool<T, E>, workers: &Workers<T>, items: Vec<T>)
where
    T: Send + 'static,
    E: Send + 'static,
{
    let values = is_send(parallel(2, items, |item| async move { Ok::<T, E>(item) })).await;
    if let Ok(mut values) = values
        && let Some(value) = values.pop()
    {
        let _ = is_send(workers.send(value)).await;
    }
    drop(is_send(pool.acquire()).await);
    is_send(pool.close_retired()).await;
    is_send(pool.close()).await;
    is_send(workers.close()).await;
}

#[test]
fn all_futures_can_be_sent() {
    let result = Root::new()
        .backend(Backend::Sim)
        .block_on(task_group(|group| {
            let run = async move {
                let pool = Pool::builder(|| async { Ok::<_, ()>(1) }).build();
                let pool = pool.expect("ten is not zero");
                let workers = Workers::start(&group, 1, 1, |_: u32| async { Ok(()) });
                let workers = workers.expect("neither number is zero");
                is_send(futures_can_be_sent(&pool, &workers, vec![1, 2])).await;
                assert_eq!(workers.statistics().done, 1);
                Ok::<_, ()>(pool.statistics().closed)
            };
            is_send(run)
        }));
    assert_eq!(result.ok(), Some(true));
}
