//! Trees that are deep or wide: no recursion, no more polls than there are members, nothing left.

#[path = "suite/alive.rs"]
mod alive;

use alive::Alive;
use bowline_backend::Backend;
use bowline_concurrency::{Outcome, Root, cancel_scope, propagate, sleep_forever};
use futures_util::future::{BoxFuture, FutureExt, poll_immediate};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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
