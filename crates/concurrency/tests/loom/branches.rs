//! The races of branches: who is woken while their task polls, parks or has ended.

use crate::{end, explore_two, start};
use bowline_concurrency::{Scope, TaskStatus, gather, race, scope};
use loom::future::{AtomicWaker, block_on};
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Poll, Waker};

/// Something that a branch waits for and a thread says.
struct Signal {
    said: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    fn new() -> Signal {
        Signal {
            said: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    fn say(&self) {
        self.said.store(true, Ordering::Release);
        self.waker.wake();
    }

    async fn heard(&self) {
        poll_fn(|cx| {
            self.waker.register_by_ref(cx.waker());
            match self.said.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

fn two() -> Arc<[Signal; 2]> {
    Arc::new([Signal::new(), Signal::new()])
}

/// Branches that wait, each for its own signal, and are alive while this is shared.
fn waits(
    signals: &Arc<[Signal; 2]>,
    alive: &Arc<()>,
) -> [impl Future<Output = Result<usize, ()>> + use<>; 2] {
    [0, 1].map(|n| {
        let (signals, alive) = (signals.clone(), alive.clone());
        async move {
            signals[n].heard().await;
            drop(alive);
            Ok(n)
        }
    })
}

// TG44
#[test]
fn branches_woken_from_elsewhere_at_any_moment() {
    explore_two(|| {
        let (signals, alive) = (two(), Arc::new(()));
        let says = start(&signals, |signals| signals.iter().for_each(Signal::say));
        let values = block_on(gather(waits(&signals, &alive)));
        assert_eq!(values.expect("none fails"), [0, 1]);
        assert_eq!(Arc::strong_count(&alive), 1);
        end([says]);
    });
}

// TG47
#[test]
fn branch_woken_while_the_other_ends_them_all() {
    explore_two(|| {
        let (signals, alive) = (two(), Arc::new(()));
        let says = [0, 1].map(|n| start(&signals, move |signals| signals[n].say()));
        let won = block_on(race(waits(&signals, &alive)));
        assert!(won.expect("none fails") < 2);
        assert_eq!(Arc::strong_count(&alive), 1, "the loser is gone");
        end(says);
    });
}

// TG38
#[test]
fn waker_of_a_branch_that_has_ended_does_not_reach_the_next_one() {
    explore_two(|| {
        let signals = two();
        // The second one gets the place of the first, whose waker is kept.
        let stale = Arc::new(Mutex::new(None));
        let wakes = start(&Arc::new((signals.clone(), stale.clone())), |shared| {
            let (signals, stale) = shared;
            signals[0].say();
            let waker: Option<Waker> = stale.lock().unwrap().take();
            if let Some(waker) = waker {
                waker.wake();
            }
            signals[1].say();
        });
        let mut polls = 0;
        let ended = block_on(scope::<_, (), _, _>(|scope| {
            let (signals, polls) = (&signals, &mut polls);
            async move {
                let first = scope.spawn_ok(async move {
                    poll_fn(|cx| {
                        *stale.lock().unwrap() = Some(cx.waker().clone());
                        Poll::Ready(())
                    })
                    .await;
                    signals[0].heard().await;
                });
                assert!(first.join().await.is_ok());
                scope.spawn_ok(async move {
                    let mut heard = pin!(signals[1].heard());
                    poll_fn(|cx| {
                        *polls += 1;
                        heard.as_mut().poll(cx)
                    })
                    .await;
                });
                Ok(())
            }
        }));
        assert!(ended.is_ok());
        assert!(polls <= 2, "polled for its own signal alone");
        end([wakes]);
    });
}

// TG38
#[test]
fn child_that_comes_while_the_last_branch_ends() {
    explore_two(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let mut comes = None;
        let ended = block_on(scope(|scope: Scope<'static, ()>| {
            let ran = ran.clone();
            comes = Some(thread::spawn(move || {
                let child = scope.spawn_ok(async move {
                    ran.fetch_add(1, Ordering::SeqCst);
                });
                child.status() == TaskStatus::Refused
            }));
            async { Ok(()) }
        }));
        assert!(ended.is_ok());
        let ran_within = ran.load(Ordering::SeqCst);
        let refused = comes.expect("it was made").join().expect("it ends");
        assert_eq!(ran_within, usize::from(!refused));
        assert_eq!(ran.load(Ordering::SeqCst), ran_within);
    });
}
