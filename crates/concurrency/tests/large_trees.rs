//! Trees that are deep or wide: no recursion, no more polls than there are members, nothing left.

#[path = "suite/alive.rs"]
mod alive;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{
    CancelScope, Outcome, Root, cancel_scope, on_cancel, propagate, sleep, sleep_forever,
    task_group, timeout, yield_now,
};
use bowline_sim::Sim;
use futures_util::future::{BoxFuture, FutureExt, poll_immediate};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NESTED: usize = 5000;

/// Runs `test` on a stack of so many bytes.
fn on_a_stack_of(bytes: usize, test: impl FnOnce() + Send + 'static) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test of the stack needs one of its own"
    )]
    let thread = std::thread::Builder::new().stack_size(bytes).spawn(test);
    let thread = thread.expect("a thread starts");
    thread.join().expect("the stack is deep enough");
}

/// Each stands below the former, and is polled beside it.
type Chain = Vec<BoxFuture<'static, Outcome<()>>>;

/// Opens one more node at the place of the caller, whose body opens the next.
fn open(chain: &Arc<Mutex<Chain>>, alive: &Arc<AtomicUsize>) {
    let (later, counter) = (chain.clone(), alive.clone());
    let probe = Alive::new(alive);
    let node = propagate(async move {
        let _probe = probe;
        open(&later, &counter);
        sleep_forever().await;
    });
    chain.lock().unwrap().push(node.boxed());
}

// CS37
#[test]
fn five_thousand_nested_nodes_fit_a_small_stack() {
    #[derive(Clone, Copy, PartialEq)]
    enum End {
        OutermostFirst,
        InnermostFirst,
        Polled,
    }
    on_a_stack_of(2 << 20, || {
        for end in [End::OutermostFirst, End::InnermostFirst, End::Polled] {
            let alive = Arc::new(AtomicUsize::new(0));
            let counter = alive.clone();
            Root::new().backend(Backend::Sim).block_on(async move {
                let chain = Arc::new(Mutex::new(Chain::new()));
                let nodes = chain.clone();
                let outcome = cancel_scope(|scope| async move {
                    open(&nodes, &counter);
                    for _ in 0..NESTED {
                        let mut last = nodes.lock().unwrap().pop().expect("there is one");
                        assert!(poll_immediate(&mut last).await.is_none());
                        // It has opened the next one, which comes behind it.
                        let next = nodes.lock().unwrap().pop().expect("there is one more");
                        nodes.lock().unwrap().extend([last, next]);
                    }
                    scope.cancel("all");
                    sleep_forever().await
                });
                assert_eq!(outcome.await.cause().map(|c| c.reason()), Some("all"));
                let mut nodes = std::mem::take(&mut *chain.lock().unwrap());
                drop(nodes.pop());
                assert_eq!(nodes.len(), NESTED);
                match end {
                    End::OutermostFirst => nodes.into_iter().for_each(drop),
                    End::InnermostFirst => nodes.into_iter().rev().for_each(drop),
                    End::Polled => {
                        for node in nodes {
                            assert!(node.await.cause().is_some());
                        }
                    }
                }
            });
            assert_eq!(alive.load(Ordering::SeqCst), 0);
        }
    });
}

/// Polls of all tasks when so many, in groups of groups, start, wait and are cancelled at once.
fn polls_of_a_tree(leaves: usize) -> u64 {
    let alive = Arc::new(AtomicUsize::new(0));
    let counter = alive.clone();
    let world = Sim::builder().ignore_leaks().client("main", move || {
        let counter = counter.clone();
        let tree = task_group::<(), (), _, _>(move |group| async move {
            for _ in 0..10 {
                let counter = counter.clone();
                group.spawn(
                    task_group::<(), (), _, _>(move |group| async move {
                        for _ in 0..leaves / 10 {
                            let probe = Alive::new(&counter);
                            group.spawn_ok(async move {
                                let _probe = probe;
                                sleep_forever().await
                            });
                        }
                        sleep_forever().await;
                        Ok(())
                    })
                    .map(|result| result.map_err(|_| ())),
                );
            }
            sleep(Duration::from_secs(1)).await;
            group.cancel("all of them");
            sleep_forever().await;
            Ok(())
        });
        let root = Root::new().backend(Backend::Sim);
        root.entered(tree.map(|result| assert!(result.is_err())))
    });
    let report = world.run().expect("the world runs to its end");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    report.polls
}

// CS38
#[test]
fn a_hundred_thousand_tasks_in_a_tree_are_polled_twice_each() {
    for leaves in [1_000, 100_000] {
        let most = 2 * leaves as u64 + 100;
        let polls = polls_of_a_tree(leaves);
        assert!(polls <= most, "{polls} polls of {leaves} tasks");
    }
}

/// Polls of all bodies of one nest.
type Polls = Arc<AtomicUsize>;

/// `inner`, which counts its polls, with a probe that goes with it.
fn counted(polls: &Polls, alive: &Arc<AtomicUsize>, inner: BoxFuture<'static, ()>) -> Nested {
    let (polls, mut inner) = (polls.clone(), inner);
    let probe = Alive::new(alive);
    Box::pin(poll_fn(move |cx| {
        let _probe = &probe;
        polls.fetch_add(1, Ordering::SeqCst);
        inner.as_mut().poll(cx)
    }))
}

type Nested = BoxFuture<'static, ()>;

/// What stands around each of the bodies.
type Around = fn(Nested, CancelScope) -> Nested;

/// So many scopes, each awaited by the body of the one around it; cancels one of them. How often
/// bodies were polled for that.
fn cancel_in_a_nest(depth: usize, at: usize, around: Around) -> usize {
    let (polls, alive) = (Polls::default(), Arc::new(AtomicUsize::new(0)));
    let counter = alive.clone();
    let root = Root::new().backend(Backend::Sim);
    let for_it = root.block_on(async move {
        let mut body: Nested = Box::pin(async { match sleep_forever().await {} });
        let mut handles = Vec::new();
        for _ in 0..depth {
            let scope = CancelScope::new();
            handles.push(scope.handle());
            body = around(counted(&polls, &alive, body), scope);
        }
        // The outermost one first.
        handles.reverse();
        let cancels = async {
            yield_now().await;
            assert!(handles[at].cancel("stop"));
            polls.load(Ordering::SeqCst)
        };
        let stays = cancel_scope(|scope| async move {
            body.await;
            drop(scope);
        });
        let (stays, before) = futures_util::future::join(stays, cancels).await;
        assert_eq!(stays.done(), Some(()));
        assert!(handles[at].cancelled_caught());
        let caught = handles.iter().filter(|handle| handle.cancelled_caught());
        assert_eq!(caught.count(), 1, "the cause is one scope's");
        polls.load(Ordering::SeqCst) - before
    });
    assert_eq!(counter.load(Ordering::SeqCst), 0, "every body is gone");
    for_it
}

/// The body, with a finaliser.
async fn cleans_up(body: Nested) {
    let _guard = on_cancel(|_| async {});
    body.await;
}

// CS37
#[test]
fn five_thousand_nested_awaits_are_cancelled_in_one_poll_each() {
    // Whom of them to cancel: of groups the outermost alone, for others yield when they return.
    let anyone = |depth| vec![0, depth / 2, depth - 1];
    let outermost = |_| vec![0];
    type Whom = fn(usize) -> Vec<usize>;
    let kinds: [(Around, Whom); 4] = [
        (
            |body, scope| Box::pin(async { _ = scope.run(body).await }),
            anyone,
        ),
        (
            |body, scope| {
                let slow = timeout(Duration::from_secs(3600), body);
                Box::pin(async { _ = scope.run(slow).await })
            },
            anyone,
        ),
        (
            |body, scope| Box::pin(async { _ = scope.run(cleans_up(body)).await }),
            anyone,
        ),
        (
            |body, scope| {
                let group = task_group::<(), (), _, _>(|_| cleans_up(body).map(Ok));
                Box::pin(async { _ = scope.run(group).await })
            },
            outermost,
        ),
    ];
    on_a_stack_of(1 << 30, move || {
        for (around, whom) in kinds {
            for depth in [NESTED / 5, NESTED] {
                for at in whom(depth) {
                    let polls = cancel_in_a_nest(depth, at, around);
                    assert_eq!(polls, depth, "once each, cancelled at {at}");
                }
            }
        }
    });
}
