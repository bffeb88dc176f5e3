//! `Workers`.

use crate::alive::Alive;
use crate::cut_after;
use crate::every_backend::every_backend;
use bowline_backend::Backend;
use bowline_concurrency::sync::{Barrier, Event, Queue, QueueSendError, QueueTrySendError};
use bowline_concurrency::{
    GroupError, OrCancelled, Policy, Root, TaskGroup, Workers, WorkersStatistics, current_task,
    now, sleep, sleep_forever, task_group, yield_now,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

every_backend!(
    jobs_run_on_every_worker_before_anybody_waits,
    a_full_queue_holds_senders_back_and_close_drains_it,
    joining_waits_for_what_was_sent,
    cancelled_workers_give_jobs_back,
    workers_that_nobody_can_send_to_end,
    refused_workers_are_closed_from_the_beginning,
);

/// Runs a body in a group whose errors are texts.
pub(crate) fn in_group<T, F, Fut>(root: Root, body: F) -> Result<T, GroupError<&'static str>>
where
    F: FnOnce(TaskGroup<&'static str>) -> Fut,
    Fut: Future<Output = Result<T, &'static str>> + Send,
{
    root.block_on(task_group(body))
}

// PT10
fn jobs_run_on_every_worker_before_anybody_waits(root: Root) {
    let result = in_group(root, |group| async move {
        let together = Arc::new(Barrier::new(3).expect("three is not zero"));
        let said = Arc::new(Queue::unbounded());
        let says = said.clone();
        let workers = Workers::start(&group, 3, 8, move |job: usize| {
            let (together, said) = (together.clone(), says.clone());
            async move {
                // Only three tasks at once get past this.
                together.wait().await;
                let task = current_task().expect("a worker is a task");
                let name = task.name().to_owned();
                said.send((job, name)).await.expect("it is open");
                Ok(())
            }
        });
        let workers = workers.expect("neither number is zero");
        for job in 0..3 {
            workers.send(job).await.expect("they are open");
        }
        let (mut jobs, mut names) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (job, name) = said.recv().await.expect("it is open");
            jobs.push(job);
            names.push(name);
        }
        jobs.sort_unstable();
        names.sort_unstable();
        assert_eq!(jobs, [0, 1, 2]);
        assert_eq!(names, ["worker 0", "worker 1", "worker 2"]);
        assert_eq!(group.statistics().live, 3);
        workers.close().await;
        Ok(workers.statistics())
    });
    let end = result.expect("nothing fails");
    assert_eq!((end.workers, end.done, end.closed), (0, 3, true));
}

// PT11
fn a_full_queue_holds_senders_back_and_close_drains_it(root: Root) {
    let result = in_group(root, |group| async move {
        let gate = Arc::new(Event::new());
        let done = Arc::new(Queue::unbounded());
        let (opens, dones) = (gate.clone(), done.clone());
        // A job may be any value: none of them means that there is no other.
        let workers = Workers::start(&group, 1, 1, move |job: Option<u32>| {
            let (gate, done) = (opens.clone(), dones.clone());
            async move {
                gate.wait().await;
                done.send(job).await.expect("it is open");
                Ok(())
            }
        });
        let workers = workers.expect("neither number is zero");
        workers.send(None).await.expect("they are open");
        while workers.statistics().running == 0 {
            yield_now().await;
        }
        workers.try_send(Some(1)).expect("there is room for one");
        let full = workers.try_send(Some(2));
        assert_eq!(full, Err(QueueTrySendError::Full(Some(2))));
        let held = workers.clone();
        let sender = group.spawn_ok(async move { held.send(Some(2)).await.is_ok() });
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!sender.status().has_ended());
        let seen = workers.statistics();
        assert_eq!((seen.waiting, seen.running, seen.done), (1, 1, 0));
        gate.set();
        assert!(sender.join().await.expect("it ends"));
        workers.close().await;
        let all: Vec<_> = std::iter::from_fn(|| done.try_recv().ok()).collect();
        assert_eq!(all, [None, Some(1), Some(2)]);
        let late = workers.send(Some(3)).await;
        assert_eq!(late, Err(QueueSendError(Some(3))));
        let late = workers.try_send(Some(3));
        assert_eq!(late, Err(QueueTrySendError::Closed(Some(3))));
        // Closing twice is closing once.
        workers.close().await;
        Ok(workers.statistics())
    });
    let end = result.expect("nothing fails");
    assert_eq!((end.workers, end.done, end.dropped), (0, 3, 0));
}

fn joining_waits_for_what_was_sent(root: Root) {
    let result = in_group(root, |group| async move {
        let done = Arc::new(AtomicUsize::new(0));
        let dones = done.clone();
        let workers = Workers::start(&group, 2, 4, move |polls: usize| {
            let done = dones.clone();
            async move {
                for _ in 0..polls {
                    yield_now().await;
                }
                done.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        });
        let workers = workers.expect("neither number is zero");
        for round in 1..=3 {
            for polls in 0..10 {
                workers.send(polls).await.expect("they are open");
            }
            workers.join().await;
            assert_eq!(done.load(Ordering::SeqCst), round * 10);
        }
        Ok(())
    });
    // The handle was dropped at the end of the body.
    assert!(result.is_ok());
}

fn cancelled_workers_give_jobs_back(root: Root) {
    let alive = Arc::new(AtomicUsize::new(0));
    let lives = alive.clone();
    root.block_on(async move {
        let (send, kept) = (Arc::new(Queue::unbounded()), Arc::new(Event::new()));
        let (sends, keeps) = (send.clone(), kept.clone());
        let group = task_group::<(), (), _, _>(|group| async move {
            let workers = Workers::start(&group, 2, 2, |_: Alive| async {
                sleep_forever().await;
                Ok(())
            });
            let workers = workers.expect("neither number is zero");
            sends.send(workers.clone()).await.expect("it is open");
            keeps.wait().await;
            group.cancel("enough");
            sleep_forever().await;
            Ok(())
        });
        let outside = async {
            let workers = send.recv().await.expect("it is open");
            for _ in 0..4 {
                let job = Alive::new(&lives);
                workers.send(job).await.expect("they are open");
            }
            while workers.statistics().running < 2 {
                yield_now().await;
            }
            assert_eq!(workers.statistics().waiting, 2);
            // This one waits for room when the workers are cancelled.
            let late = workers.send(Alive::new(&lives));
            kept.set();
            let QueueSendError(back) = late.await.expect_err("the workers have ended");
            workers.close().await;
            assert_eq!(lives.load(Ordering::SeqCst), 1, "the others were dropped");
            drop(back);
            workers.statistics()
        };
        let (result, end) = futures_util::future::join(group, outside).await;
        assert!(
            result
                .or_cancelled()
                .is_ok_and(|outcome| outcome.cause().is_some())
        );
        assert_eq!((end.workers, end.running, end.waiting), (0, 0, 0));
        assert_eq!((end.dropped, end.done), (4, 0));
    });
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

fn workers_that_nobody_can_send_to_end(root: Root) {
    let result = in_group(root, |group| async move {
        let done = Arc::new(AtomicUsize::new(0));
        let dones = done.clone();
        let workers = Workers::start(&group, 2, 9, move |_: u32| {
            let done = dones.clone();
            async move {
                yield_now().await;
                done.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        });
        let workers = workers.expect("neither number is zero");
        let other = workers.clone();
        drop(workers);
        for job in 0..9 {
            other.send(job).await.expect("they are open");
        }
        Ok(done)
    });
    let done = result.expect("the group ends when the jobs are done");
    assert_eq!(done.load(Ordering::SeqCst), 9);
}

fn refused_workers_are_closed_from_the_beginning(root: Root) {
    root.block_on(async {
        let ended = task_group::<_, (), _, _>(|group| async move { Ok(group) });
        let group = ended.await.expect("it has nothing to fail with");
        let workers = Workers::start(&group, 2, 2, |_: u32| async { Ok(()) });
        let workers = workers.expect("neither number is zero");
        assert_eq!(workers.try_send(1), Err(QueueTrySendError::Closed(1)));
        workers.close().await;
        assert_eq!(workers.statistics().workers, 0);
        // A group with room for one takes one.
        let small = TaskGroup::builder().max_children(1);
        let result = small.run::<_, (), _, _>(|group| async move {
            let workers = Workers::start(&group, usize::MAX, 2, |_: u32| async { Ok(()) });
            let workers = workers.expect("neither number is zero");
            assert_eq!(workers.statistics().workers, 1);
            workers.send(1).await.expect("they are open");
            workers.close().await;
            Ok(workers.statistics().done)
        });
        assert_eq!(result.await.ok(), Some(1));
    });
}

// SY37
#[test]
fn counts_that_make_no_sense_start_nothing() {
    let result = in_group(Root::new().backend(Backend::Sim), |group| async move {
        let job = |_: u32| async { Ok(()) };
        let start = |policy, count, capacity| {
            let refused = Workers::start_with(&group, policy, count, capacity, job);
            let refused = refused.expect_err("it makes no sense");
            let allowed = refused.allowed();
            (
                refused.what(),
                refused.given(),
                *allowed.start(),
                *allowed.end(),
            )
        };
        let most = usize::MAX as u64;
        let workers = ("the number of workers", 0, 1, most);
        assert_eq!(start(Policy::Isolate, 0, 8), workers);
        let queue = ("the capacity of a queue", 0, 1, most);
        assert_eq!(start(Policy::FailFast, 3, 0), queue);
        let quorum = ("the quorum of jobs, which have no number,", 2, 0, 0);
        assert_eq!(start(Policy::Quorum(2), 3, 8), quorum);
        Ok(group.statistics().spawned)
    });
    assert_eq!(result.expect("nothing fails"), 0);
}

#[test]
fn three_workers_do_twenty_seconds_of_work_in_seven() {
    const SECOND: Duration = Duration::from_secs(1);
    let result = in_group(Root::new().backend(Backend::Sim), |group| async move {
        let start = now();
        let workers = Workers::start(&group, 3, 20, |_: u32| async {
            sleep(SECOND).await;
            Ok(())
        });
        let workers = workers.expect("neither number is zero");
        for job in 0..20 {
            workers.send(job).await.expect("they are open");
        }
        workers.close().await;
        Ok((now() - start).as_millis())
    });
    assert_eq!(result.expect("nothing fails"), 7000);
}

// A part of CP8.
#[test]
fn dropped_at_any_await_every_job_sent_is_done_once() {
    let mut polls = 1;
    loop {
        let alive = Arc::new(AtomicUsize::new(0));
        let lives = alive.clone();
        let result = in_group(Root::new().backend(Backend::Sim), |group| async move {
            let workers = Workers::start(&group, 1, 1, |_: Alive| async {
                yield_now().await;
                Ok(())
            });
            let workers = workers.expect("neither number is zero");
            let sent = AtomicUsize::new(0);
            let sends = async {
                for _ in 0..4 {
                    let job = Alive::new(&lives);
                    workers.send(job).await.expect("they are open");
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                workers.join().await;
                workers.close().await;
            };
            let ended = cut_after(polls, sends).await;
            workers.close().await;
            let sent = sent.load(Ordering::SeqCst);
            Ok((ended.is_some(), sent, workers.statistics()))
        });
        let (ended, sent, end) = result.expect("nothing fails");
        // A job that got room is sent, also if its sender has not heard of it.
        assert!(end.done == sent || end.done == sent + 1, "{sent}: {end:?}");
        let expected = WorkersStatistics::default();
        assert_eq!((end.dropped, end.workers), (expected.dropped, 0));
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        if ended {
            break assert_eq!(end.done, 4);
        }
        polls += 1;
    }
    assert!(polls >= 4, "{polls}");
}
