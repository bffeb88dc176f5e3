//! Scopes whose children borrow: what they may do and when they are gone.

#[path = "suite/alive.rs"]
mod alive;
#[path = "suite/every_backend.rs"]
mod every_backend;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::sync::{Event, Lock};
use bowline_concurrency::{
    CauseKind, GroupError, JoinError, Root, Scope, TaskStatus, checkpoint, scope, sleep,
    sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::FutureExt;
use futures_util::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

every_backend!(
    children_borrow_what_is_around,
    a_child_returns_what_it_borrowed,
    only_the_woken_child_is_polled,
    a_failing_child_cancels_the_rest,
    a_failing_body_cancels_the_children,
    a_cancelled_child_harms_no_sibling,
    children_of_children_are_awaited,
    a_scope_that_has_ended_refuses,
    tasks_spawn_into_a_scope_of_another,
    a_loop_of_yields_lets_other_tasks_run,
);

/// Polls once.
async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.poll_unpin(cx))).await
}

// TG38
fn children_borrow_what_is_around(root: Root) {
    root.block_on(async {
        let lines = Lock::new(Vec::new());
        let result: Result<_, GroupError<()>> = scope(|scope| {
            let lines = &lines;
            async move {
                for n in 0..10 {
                    scope.spawn_ok(async move {
                        let mut lines = lines.lock().await;
                        checkpoint().await;
                        lines.push(n);
                    });
                }
                Ok(7)
            }
        })
        .await;
        assert_eq!(result.ok(), Some(7));
        let lines = lines.into_inner();
        assert_eq!(lines, (0..10).collect::<Vec<_>>());
    });
}

fn a_child_returns_what_it_borrowed(root: Root) {
    root.block_on(async {
        let words = ["a".to_owned(), "longest".to_owned(), "some".to_owned()];
        let longest = scope(|scope| {
            let words = &words;
            async move {
                let longest = scope.named("search").spawn(async move {
                    yield_now().await;
                    words.iter().max_by_key(|word| word.len()).ok_or("none")
                });
                assert_eq!(longest.name(), "search");
                assert_eq!(longest.status(), TaskStatus::Running);
                assert_eq!(longest.wait().await, TaskStatus::Done);
                let ready = scope.spawn_ok(async { 1 });
                let ready = ready.try_join().expect_err("it was not polled yet");
                ready.wait().await;
                assert!(matches!(ready.try_join(), Ok(Ok(1))));
                Ok(longest.join().await.ok())
            }
        });
        let longest = longest.await.ok().flatten();
        assert!(longest.is_some_and(|word| std::ptr::eq(word, &words[1])));
    });
}

// TG38
fn only_the_woken_child_is_polled(root: Root) {
    const CHILDREN: usize = 1000;
    root.block_on(async {
        let events: Vec<Event> = (0..CHILDREN).map(|_| Event::new()).collect();
        let polls = AtomicUsize::new(0);
        let result: Result<_, GroupError<()>> = scope(|scope| {
            let (events, polls) = (&events, &polls);
            async move {
                let children: Vec<_> = events
                    .iter()
                    .map(|event| {
                        scope.spawn_ok(async move {
                            let mut wait = pin!(event.wait());
                            poll_fn(|cx| {
                                polls.fetch_add(1, Ordering::SeqCst);
                                wait.as_mut().poll(cx)
                            })
                            .await
                        })
                    })
                    .collect();
                while polls.load(Ordering::SeqCst) < CHILDREN {
                    yield_now().await;
                }
                for (turn, chosen) in [500, 3, 999, 64].into_iter().enumerate() {
                    events[chosen].set();
                    assert_eq!(children[chosen].wait().await, TaskStatus::Done);
                    assert_eq!(polls.load(Ordering::SeqCst), CHILDREN + turn + 1);
                }
                let running = children.iter().filter(|c| !c.status().has_ended());
                assert_eq!(running.count(), CHILDREN - 4);
                events.iter().for_each(Event::set);
                Ok(())
            }
        })
        .await;
        assert!(result.is_ok());
        assert_eq!(polls.into_inner(), 2 * CHILDREN);
    });
}

fn a_failing_child_cancels_the_rest(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let failed = scope::<(), _, _, _>(|scope| {
            let probe = Alive::new(&alive);
            let _ = scope.spawn_ok({
                let probe = probe.clone();
                async move {
                    let _probe = probe;
                    sleep_forever().await
                }
            });
            async move {
                let _probe = probe;
                let bad = scope.named("bad").spawn(async {
                    yield_now().await;
                    Err::<(), _>("no")
                });
                scope.spawn(async move {
                    // A sibling's error is kept in the poll that the cancel leaves it.
                    let joined = bad.join().await;
                    assert!(matches!(joined, Err(JoinError::Failed)));
                    Err::<(), _>("neither")
                });
                sleep_forever().await;
                Ok(())
            }
        });
        let error = failed.await.expect_err("a child failed");
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert!(error.host().is_none());
        assert_eq!(error.children()[0].name(), "bad");
        assert_eq!(error.iter().next(), Some(&"no"));
        let cause = error.cause().expect("the rest was cancelled");
        assert_eq!(cause.kind(), CauseKind::SiblingFailed);
        assert_eq!(
            (cause.by(), cause.reason()),
            (error.children()[0].id(), "bad")
        );
    });
}

fn a_failing_body_cancels_the_children(root: Root) {
    root.block_on(async {
        let failed = scope::<(), _, _, _>(|scope| async move {
            scope.spawn_ok(sleep_forever());
            yield_now().await;
            Err("host")
        });
        let error = failed.await.expect_err("the body failed");
        assert_eq!(error.host(), Some(&"host"));
        let cause = error.cause().expect("the children were cancelled");
        assert_eq!(cause.kind(), CauseKind::HostFailed);
        assert_eq!(error.into_single().ok(), Some("host"));
    });
}

fn a_cancelled_child_harms_no_sibling(root: Root) {
    root.block_on(async {
        let alive = Arc::new(AtomicUsize::new(0));
        let result: Result<_, GroupError<()>> = scope(|scope| {
            let probe = Alive::new(&alive);
            let alive = alive.clone();
            async move {
                let stopped = scope.spawn_ok(async move {
                    let _probe = probe;
                    sleep_forever().await
                });
                let other = scope.spawn_ok(async {
                    sleep(2 * MS).await;
                    7
                });
                yield_now().await;
                assert!(stopped.cancel("enough"));
                assert!(!stopped.cancel("again"));
                assert_eq!(stopped.status(), TaskStatus::Cancelling);
                match stopped.join().await {
                    Err(JoinError::Cancelled(cause)) => assert_eq!(cause.reason(), "enough"),
                    other => panic!("{other:?}"),
                }
                assert_eq!(alive.load(Ordering::SeqCst), 0);
                // One whose join is given up is cancelled.
                let probe = Alive::new(&alive);
                let given_up = scope.spawn_ok(async move {
                    let _probe = probe;
                    sleep_forever().await
                });
                let mut join = Box::pin(given_up.join_or_cancel());
                assert!(once(&mut join).await.is_pending());
                drop(join);
                while alive.load(Ordering::SeqCst) > 0 {
                    yield_now().await;
                }
                Ok(other.join().await.ok())
            }
        })
        .await;
        assert_eq!(result.ok(), Some(Some(7)));
    });
}

fn children_of_children_are_awaited(root: Root) {
    fn grow<'env>(scope: &Scope<'env, ()>, depth: usize, ran: &'env AtomicUsize) {
        for _ in 0..3 {
            let inner = scope.clone();
            scope.spawn_ok(async move {
                yield_now().await;
                ran.fetch_add(1, Ordering::SeqCst);
                if depth > 0 {
                    grow(&inner, depth - 1, ran);
                }
            });
        }
    }
    root.block_on(async {
        let ran = AtomicUsize::new(0);
        let result = scope(|scope| {
            grow(&scope, 4, &ran);
            async { Ok(()) }
        })
        .await;
        assert!(result.is_ok());
        assert_eq!(ran.into_inner(), 3 + 9 + 27 + 81 + 243);
    });
}

fn a_scope_that_has_ended_refuses(root: Root) {
    root.block_on(async {
        let mut kept = None;
        let result: Result<_, GroupError<()>> = scope(|scope| {
            kept = Some(scope);
            async { Ok(()) }
        })
        .await;
        assert!(result.is_ok());
        let kept = kept.expect("the body was made");
        let refused = kept.spawn(async { Ok(5) });
        assert_eq!(refused.status(), TaskStatus::Refused);
        assert!(matches!(refused.join().await, Err(JoinError::Refused)));
    });
}

/// A scope without borrows is for every task; on several threads they race with its own.
fn tasks_spawn_into_a_scope_of_another(root: Root) {
    const EACH: usize = 50;
    let sum = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let ran = Arc::new(AtomicUsize::new(0));
        let counter = ran.clone();
        let result = scope(|scope: Scope<'static, ()>| async move {
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let (scope, counter) = (scope.clone(), counter.clone());
                    group.spawn_ok(async move {
                        for _ in 0..EACH {
                            let counter = counter.clone();
                            let child = scope.spawn_ok(async move {
                                yield_now().await;
                                counter.fetch_add(1, Ordering::SeqCst);
                            });
                            assert!(child.join().await.is_ok());
                        }
                    })
                })
                .collect();
            for task in tasks {
                assert!(task.join().await.is_ok());
            }
            Ok(())
        });
        assert!(result.await.is_ok());
        Ok(ran.load(Ordering::SeqCst))
    }));
    assert_eq!(sum.ok(), Some(4 * EACH));
}

fn a_loop_of_yields_lets_other_tasks_run(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        group.spawn_ok(async move {
            yield_now().await;
            flag.store(true, Ordering::SeqCst);
        });
        let spins = AtomicUsize::new(0);
        let result: Result<_, GroupError<()>> = scope(|scope| {
            let (done, spins) = (&done, &spins);
            async move {
                for _ in 0..100 {
                    scope.spawn_ok(async move {
                        while !done.load(Ordering::SeqCst) {
                            spins.fetch_add(1, Ordering::SeqCst);
                            yield_now().await;
                        }
                    });
                }
                Ok(())
            }
        })
        .await;
        assert!(result.is_ok());
        Ok(spins.into_inner())
    }));
    assert!(result.is_ok());
}

/// In one task the turns can be counted.
#[test]
fn at_most_64_are_polled_and_none_twice_for_its_own_wake() {
    Root::new().backend(Backend::Sim).block_on(async {
        let polls = AtomicUsize::new(0);
        let running = scope::<(), (), _, _>(|scope| {
            let polls = &polls;
            async move {
                for _ in 0..100 {
                    scope.spawn_ok(async move {
                        loop {
                            polls.fetch_add(1, Ordering::SeqCst);
                            yield_now().await;
                        }
                    });
                }
                sleep_forever().await;
                Ok(())
            }
        });
        let mut running = Box::pin(running);
        let mut turn = async || {
            assert!(once(&mut running).await.is_pending());
            polls.swap(0, Ordering::SeqCst)
        };
        // The body is one of them.
        assert_eq!(turn().await, 63);
        assert_eq!(turn().await, 64);
        assert_eq!(turn().await, 64);
        assert_eq!(turn().await, 64);
    });
}

// TG42
#[test]
fn scope_futures_are_send() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    fn generic<T: Send + Sync, E: Send>(
        value: &T,
    ) -> impl Future<Output = Result<&T, GroupError<E>>> + Send {
        is_send(async move {
            is_send(scope(|scope: Scope<'_, E>| async move {
                let child = scope.spawn_ok(async move { value });
                is_send(child.join()).await.ok();
                Ok(value)
            }))
            .await
        })
    }
    let made = is_send(generic::<_, ()>(&7));
    let result = Root::new().backend(Backend::Smol).block_on(made);
    assert_eq!(result.ok(), Some(&7));
}
