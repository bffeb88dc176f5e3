//! What runs side by side in one task: the branches go with it, at once, and the value that one of
//! them was given is not lost.

use super::alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::sync::{Queue, Semaphore};
use bowline_concurrency::{
    Root, as_completed, checkpoint, gather, gather_bounded, race, scope, shield, sleep, yield_now,
};
use bowline_sim::explore_drops;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Branches of each region.
const BRANCHES: usize = 4;

/// What the branches of one run share.
struct Shared {
    alive: Arc<AtomicUsize>,
    permits: Semaphore,
    queue: Queue<usize>,
    received: AtomicUsize,
}

impl Shared {
    fn new() -> Shared {
        let queue = Queue::bounded(BRANCHES).expect("it is not zero");
        for item in 0..BRANCHES {
            queue.try_send(item).expect("there is room");
        }
        Shared {
            alive: Arc::default(),
            permits: Semaphore::new(2),
            queue,
            received: AtomicUsize::new(0),
        }
    }

    /// Waits in many ways, and receives one item.
    async fn branch(&self, index: usize) -> Result<usize, usize> {
        let _probe = Alive::new(&self.alive);
        let _permit = self.permits.acquire().await;
        yield_now().await;
        if index.is_multiple_of(2) {
            shield(sleep(SECOND)).await;
        }
        checkpoint().await;
        let item = self.queue.recv().await.expect("it is open");
        self.received.fetch_add(1, Ordering::SeqCst);
        sleep(SECOND).await;
        Ok(item)
    }

    fn check(&self) {
        assert_eq!(self.alive.load(Ordering::SeqCst), 0, "a branch is left");
        let permits = self.permits.statistics();
        assert_eq!((permits.available, permits.waiting), (2, 0));
        let received = self.received.load(Ordering::SeqCst);
        assert_eq!(self.queue.len() + received, BRANCHES, "an item is lost");
        assert_eq!(self.queue.statistics().receivers, 0);
    }
}

/// What runs all branches of one run, and borrows them.
type Region = for<'a> fn(&'a Shared) -> BoxFuture<'a, ()>;

fn explore(region: Region) -> usize {
    explore_drops(|| {
        let shared = Arc::new(Shared::new());
        let runs = shared.clone();
        let work = async move { region(&runs).await };
        (work, move || shared.check())
    })
}

fn branches(shared: &Shared) -> impl Iterator<Item = impl Future<Output = Result<usize, usize>>> {
    (0..BRANCHES).map(|index| shared.branch(index))
}

// CP8
#[test]
fn children_of_a_scope() {
    let awaits = explore(|shared| {
        Box::pin(async move {
            let seen = scope::<_, usize, _, _>(|scope| async move {
                let children = branches(shared).map(|branch| scope.spawn(branch));
                let children: Vec<_> = children.collect();
                let mut sum = 0;
                for child in children {
                    sum += child.join().await.expect("it returns");
                }
                Ok(sum)
            });
            assert_eq!(seen.await.expect("nothing fails"), 6);
        })
    });
    assert!(awaits >= 4, "{awaits}");
}

// CP8
#[test]
fn futures_of_a_gather() {
    let all: [Region; 2] = [
        |shared| {
            Box::pin(async move {
                assert_eq!(gather(branches(shared)).await.expect("all return").len(), 4);
            })
        },
        |shared| {
            Box::pin(async move {
                let some = gather_bounded(3, branches(shared)).await;
                assert_eq!(some.expect("all return").len(), 4);
            })
        },
    ];
    for region in all {
        let awaits = explore(region);
        assert!(awaits >= 4, "{awaits}");
    }
}

// CP8
#[test]
fn futures_of_a_race() {
    let awaits = explore(|shared| {
        Box::pin(async move {
            assert!(race(branches(shared)).await.is_ok());
        })
    });
    assert!(awaits >= 3, "{awaits}");
}

// CP8
#[test]
fn futures_that_complete_one_by_one() {
    let awaits = explore(|shared| {
        Box::pin(async move {
            let mut seen = [false; BRANCHES];
            let mut completed = as_completed(branches(shared));
            while let Some((_, item)) = completed.next().await {
                seen[item.expect("it returns")] = true;
                yield_now().await;
            }
            assert_eq!(seen, [true; BRANCHES]);
        })
    });
    assert!(awaits >= 8, "{awaits}");
}

// CP8
#[test]
fn a_wait_for_the_next_one_loses_none() {
    Root::new().backend(Backend::Sim).block_on(async {
        let shared = Shared::new();
        let mut completed = as_completed(branches(&shared));
        let (mut seen, mut waits) = (Vec::new(), 0);
        while seen.len() < BRANCHES {
            // Each wait is dropped after its first poll.
            let next = futures_util::future::poll_immediate(completed.next());
            match next.await {
                Some(Some((_, item))) => seen.push(item.expect("it returns")),
                Some(None) => panic!("there are more"),
                None => sleep(SECOND / 10).await,
            }
            waits += 1;
        }
        assert!(waits > 2 * BRANCHES, "{waits}");
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
        drop(completed);
        shared.check();
    });
}
