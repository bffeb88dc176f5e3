//! What is kept of children, of which none is a process.

use bowline_concurrency::{Root, task_group};

use super::*;
use crate::executor::ProcessPoolExecutor;
use crate::{Registry, TcpBroker};

/// What is done with a pool of children that are no processes, and a child.
async fn with_pool<F>(
    change: impl FnOnce(ProcessPoolExecutor) -> ProcessPoolExecutor,
    case: impl FnOnce(Arc<Pool>, TcpBroker) -> F + Send,
) where
    F: Future<Output = ()> + Send,
{
    let executor = ProcessPoolExecutor::new(Registry::new(""), "pool", 2);
    let options = change(executor.calls_per_worker(2)).options.clone();
    let ended = task_group::<_, Infallible, _, _>(async |group: TaskGroup<Infallible>| {
        let broker = TcpBroker::caller().start(&group).await;
        let pool = Arc::new(Pool {
            state: Mutex::new(State::new(&options)),
            options,
            origin: 0,
            group: group.clone(),
            changes: watch(()),
        });
        case(pool, broker.expect("it has nowhere to go")).await;
        group.cancel("done");
        Ok(())
    });
    ended.await.unwrap_or_default();
}

/// A child of this pid that serves.
fn serves(pool: &Pool, broker: &TcpBroker, pid: u32) -> Arc<Worker> {
    let worker = Arc::new(Worker::new(broker.clone(), pid));
    let now = time::now();
    let entry = Entry::new(worker.clone(), now, now);
    pool.state().workers.push(entry);
    worker
}

fn in_world(case: impl Future<Output = ()>) {
    Root::new().backend(Backend::Sim).block_on(case);
}

// EX10
#[test]
fn a_lease_of_a_child_that_is_gone_is_none_of_another_with_its_pid() {
    in_world(with_pool(
        |pool| pool.max_tasks_per_child(1),
        async |pool: Arc<Pool>, broker| {
            let first = serves(&pool, &broker, 7);
            let old = pool.lease().await.expect("there is room");
            pool.remove(&first);
            let second = serves(&pool, &broker, 7);
            let new = pool.lease().await.expect("there is room");
            assert!(Arc::ptr_eq(&new.worker, &second));
            let calls = || pool.state().workers[0].calls;
            assert_eq!(calls(), 1);
            old.no_more();
            drop(old);
            assert_eq!(calls(), 1);
            assert!(!second.leave.is_set());
            // What is over does not end the other one's stay either.
            pool.remove(&first);
            drop(new);
            assert_eq!(calls(), 0);
            assert!(second.leave.is_set() && !first.leave.is_set());
        },
    ));
}

// EX11
#[test]
fn a_child_that_ends_by_itself_before_it_answers_pauses_the_pool() {
    in_world(with_pool(
        |pool| pool,
        async |pool: Arc<Pool>, broker| {
            let fails = || pool.state().respawn.is_failing();
            // One that was told to end, and one that has answered.
            serves(&pool, &broker, 7).leave.set();
            serves(&pool, &broker, 8);
            let workers: Vec<_> = pool
                .state()
                .workers
                .iter()
                .map(|entry| entry.worker.clone())
                .collect();
            pool.answered(&workers[1]);
            for worker in &workers {
                pool.ended(worker);
                assert!(!fails());
                pool.remove(worker);
            }
            // One that has not, whoever sees it, and however often.
            let dies = serves(&pool, &broker, 9);
            pool.no_more(&dies);
            assert!(!fails());
            for _ in 0..10 {
                pool.ended(&dies);
                let state = pool.state();
                assert!(state.respawn.is_failing() && !state.respawn.is_broken());
            }
            // Who waits for the pause goes on when another child has answered.
            let answers = serves(&pool, &broker, 10);
            let mut changes = pool.changes.0.subscribe();
            pool.answered(&answers);
            changes.changed().await.expect("it is told");
            assert!(!fails());
        },
    ));
}

// EX13
#[test]
fn of_idle_children_the_least_are_kept_whoever_looks() {
    in_world(with_pool(
        |pool| pool.min_workers(1).idle_retire(std::time::Duration::ZERO),
        async |pool: Arc<Pool>, broker| {
            let both = [7, 8].map(|pid| serves(&pool, &broker, pid));
            // Who waits for room may be about to take one.
            pool.state().wanting += 1;
            assert!(both.iter().all(|worker| !pool.retires(worker)));
            pool.state().wanting -= 1;
            let lease = pool.lease().await.expect("there is room");
            assert!(Arc::ptr_eq(&lease.worker, &both[0]) && !pool.retires(&both[0]));
            drop(lease);
            assert!(both[0].leave.is_set(), "it leaves with its call");
            assert!(pool.retires(&both[0]) && !pool.retires(&both[1]));
        },
    ));
}
