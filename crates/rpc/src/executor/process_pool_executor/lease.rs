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

    /// How the child died, once it has.
    pub(super) async fn death(&self) -> String {
        self.no_more();
        // Its end is near: the socket has ended.
        let _ = timeout(2 * FAREWELL, self.worker.over.wait()).await;
        let status = self.worker.status.get().copied().flatten();
        in_words(self.worker.pid, status)
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
    pool.no_more(&worker);
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
    use bowline_backend::Backend;
    use bowline_concurrency::{Root, sleep};

    use super::*;

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
