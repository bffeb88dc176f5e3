//! A child that serves: room for calls in it, and its end.

use std::future::poll_fn;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bowline_concurrency::sync::Event;
use bowline_concurrency::{Defer, timeout};

use super::child::{Child, TERMINATION, in_words};
use super::pool::Pool;
use crate::{Broker, TcpBroker};

/// Between two looks whether a child has ended, or has been idle for long enough, at most and at least.
const LOOK: Duration = Duration::from_secs(1);
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
/// What a child gets to end by itself once its socket has ended.
const FAREWELL: Duration = Duration::from_secs(1);
/// What the system gets to end one that was killed, or crashed: it may write down what was in its memory.
const BURIAL: Duration = Duration::from_secs(10);

/// A child that serves.
pub(super) struct Worker {
    pub(super) broker: TcpBroker,
    pub(super) pid: u32,
    /// It is to end when it has nothing to do: now.
    pub(super) leave: Event,
    /// It is to end whatever it does.
    kill: Event,
    /// What it is to end for has come to its end.
    quiet: Event,
    /// Its socket is closed from here: whatever it ran is lost.
    lost: Event,
    /// It has been reaped, and `status` is set.
    over: Event,
    status: OnceLock<Option<ExitStatus>>,
}

impl Worker {
    pub(super) fn new(broker: TcpBroker, pid: u32) -> Self {
        Self {
            broker,
            pid,
            leave: Event::new(),
            kill: Event::new(),
            quiet: Event::new(),
            lost: Event::new(),
            over: Event::new(),
            status: OnceLock::new(),
        }
    }

    /// Whether calls of it end because it does.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_set()
    }

    /// Whether it ends because it was told to.
    pub(super) fn was_told(&self) -> bool {
        self.leave.is_set() || self.kill.is_set()
    }

    /// How it died, once it has: its end is near, as its socket has ended.
    async fn death(&self) -> String {
        let _ = timeout(FAREWELL + TERMINATION + BURIAL, self.over.wait()).await;
        in_words(self.pid, self.status.get().copied().flatten())
    }
}

/// Room for one call in a child; given back by dropping it.
pub(super) struct Lease {
    pool: Arc<Pool>,
    pub(super) worker: Arc<Worker>,
    /// Which call of the child it is for.
    pub(super) number: u64,
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, worker: Arc<Worker>, number: u64) -> Self {
        Self {
            pool,
            worker,
            number,
        }
    }

    /// Ends the child whatever it does: it is asked to, and killed a second later, or leaves as soon as `quiet`
    /// says that the call has ended. Completes when that goes on no more.
    pub(super) async fn kill(&self, quiet: impl Future<Output = ()>) {
        self.no_more();
        self.worker.kill.set();
        until_either(self.worker.over.wait(), quiet).await;
        if self.worker.is_lost() {
            // It said nothing more: it is about to be killed.
            let _ = timeout(FAREWELL, self.worker.over.wait()).await;
        }
        self.worker.quiet.set();
    }

    /// No other call goes to the child.
    pub(super) fn no_more(&self) {
        self.pool.no_more(&self.worker);
    }

    /// The child has answered the call.
    pub(super) fn answered(&self) {
        self.pool.answered(&self.worker);
    }

    /// The call is lost with the child, which gets no other one.
    pub(super) fn lost(&self) {
        self.pool.ended(&self.worker);
    }

    /// How the child died, once it has.
    pub(super) async fn death(&self) -> String {
        self.no_more();
        self.worker.death().await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.pool.give_back(&self.worker) {
            self.worker.leave.set();
        }
    }
}

/// Sees a child to its end.
pub(super) async fn tend(pool: Arc<Pool>, worker: Arc<Worker>, mut child: Defer<Child>) {
    let retire = pool.options().idle_retire;
    // Somebody else may hold its socket open.
    let is_over = || child.has_ended() || pool.retires(&worker);
    let killed = watch(retire, what_ends(&worker), is_over).await;
    pool.ended(&worker);
    if killed {
        child.terminate();
        // Its socket stays open meanwhile: where that ends a child ends at once, whatever its handler still does.
        let quiet = worker.quiet.wait();
        let _ = timeout(TERMINATION, until_either(child.ended(), quiet)).await;
    }
    let is_quiet = worker.quiet.is_set();
    worker.lost.set();
    worker.broker.close();
    let status = match (killed, is_quiet) {
        (false, _) => child.end(FAREWELL).await,
        (true, true) => child.end_or_kill(FAREWELL).await,
        (true, false) => child.end_or_kill(Duration::ZERO).await,
    };
    let _ = worker.status.set(status);
    pool.remove(&worker);
    worker.over.set();
}

/// Waits for `ends`, which says whether by force, and looks whether it `is_over` without being told: about as
/// often as a child that is idle for so long retires. One that is to retire at once stays, busy or kept, for as
/// long as another: it has a pause between two looks too.
async fn watch(
    idle_retire: Duration,
    ends: impl Future<Output = bool>,
    mut is_over: impl FnMut() -> bool,
) -> bool {
    let pause = idle_retire.clamp(SHORTEST_LOOK, LOOK);
    let mut ends = pin!(ends);
    loop {
        match timeout(pause, ends.as_mut()).await {
            Ok(killed) => return killed,
            Err(_) if is_over() => return false,
            Err(_) => {}
        }
    }
}

async fn until_either<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| {
        let ready = one.as_mut().poll(cx).is_ready() || other.as_mut().poll(cx).is_ready();
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Completes when the child is to end, or has; whether by force.
async fn what_ends(worker: &Worker) -> bool {
    let mut closed = pin!(worker.broker.closed());
    let mut leave = pin!(worker.leave.wait());
    let mut kill = pin!(worker.kill.wait());
    poll_fn(|cx| {
        if kill.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        if closed.as_mut().poll(cx).is_ready() || leave.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use bowline_backend::Backend;
    use bowline_concurrency::{Root, TaskGroup, sleep, task_group};

    use super::*;
    use crate::Error;

    // EX10
    #[test]
    fn a_child_that_takes_all_its_time_to_end_says_how_it_died() {
        Root::new().backend(Backend::Sim).block_on(async {
            let ended = task_group(async |group: TaskGroup<Error>| {
                let broker = TcpBroker::caller().start(&group).await?;
                for (after, words) in [
                    (FAREWELL + TERMINATION, "the worker 7 ended by signal 9"),
                    (
                        FAREWELL + TERMINATION + BURIAL / 2,
                        "the worker 7 ended by signal 9",
                    ),
                    // The system does not end it.
                    (Duration::from_secs(3600), "the worker 7 is gone"),
                ] {
                    let worker = Arc::new(Worker::new(broker.clone(), 7));
                    let dying = worker.clone();
                    let dies = group.spawn_ok(async move {
                        sleep(after).await;
                        let _ = dying.status.set(Some(ExitStatus::from_raw(9)));
                        dying.over.set();
                    });
                    assert_eq!(worker.death().await, words);
                    dies.cancel("its end is known");
                }
                group.cancel("done");
                Ok(())
            });
            ended.await.expect("nothing fails");
        });
    }

    // EX13
    #[test]
    fn a_child_that_stays_is_looked_at_now_and_then() {
        Root::new().backend(Backend::Sim).block_on(async {
            for retire in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
                let mut looks = 0;
                let stays = || {
                    looks += 1;
                    assert!(looks <= 100, "it spins");
                    false
                };
                let told = async {
                    sleep(Duration::from_secs(10)).await;
                    true
                };
                assert!(watch(retire, told, stays).await);
                assert!(looks >= 9, "{looks}");
            }
        });
    }
}
