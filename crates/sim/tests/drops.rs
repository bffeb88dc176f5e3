//! The drop explorer.

use bowline_sim::{explore_drops, explore_drops_under, host};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Queue = Rc<RefCell<VecDeque<u32>>>;

/// Takes the value, then waits: dropped in between, the value is lost.
async fn lossy(queue: Queue) -> Option<u32> {
    host::yield_now().await;
    let value = queue.borrow_mut().pop_front();
    host::yield_now().await;
    value
}

/// Waits, then takes.
async fn careful(queue: Queue) -> Option<u32> {
    host::yield_now().await;
    host::yield_now().await;
    queue.borrow_mut().pop_front()
}

/// A future that receives from `queue`, and the check that nothing was lost.
fn pair<F: Future<Output = Option<u32>>>(
    receive: impl Fn(Queue) -> F,
    queue: Queue,
) -> (impl Future<Output = ()>, impl FnOnce()) {
    let received = Rc::new(RefCell::new(0));
    let count = Rc::clone(&received);
    let receiving = receive(Rc::clone(&queue));
    let future = async move {
        *count.borrow_mut() += usize::from(receiving.await.is_some());
    };
    let check = move || {
        let known = queue.borrow().len() + *received.borrow();
        assert_eq!(known, 1, "the value was lost");
    };
    (future, check)
}

fn explore<F: Future<Output = Option<u32>>>(receive: impl Fn(Queue) -> F) -> usize {
    explore_drops(|| pair(&receive, Rc::new(RefCell::new(VecDeque::from([1])))))
}

// SIM84
#[test]
fn a_value_losing_receiver_is_found() {
    let found = catch_unwind(AssertUnwindSafe(|| explore(lossy)));
    let text = *found
        .expect_err("it is found")
        .downcast::<String>()
        .expect("text");
    assert!(text.contains("the value was lost"));
}

// SIM84
#[test]
fn a_correct_receiver_passes_at_each_await() {
    assert_eq!(explore(careful), 2);
}

/// Loses its value where the other task, which is as quick, comes first and it is dropped then.
async fn lossy_if_late(queue: Queue) -> Option<u32> {
    let late = Rc::new(RefCell::new(false));
    let other = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&other);
    host::spawn(async move { told.store(true, Ordering::Relaxed) });
    host::yield_now().await;
    *late.borrow_mut() = other.load(Ordering::Relaxed);
    let value = queue.borrow_mut().pop_front();
    if *late.borrow() {
        host::yield_now().await;
    }
    value
}

// SIM84
#[test]
fn what_depends_on_the_order_is_found_under_some_seed() {
    let under = |seeds| {
        catch_unwind(AssertUnwindSafe(|| {
            explore_drops_under(seeds, || {
                let queue: Queue = Rc::new(RefCell::new(VecDeque::from([1])));
                pair(lossy_if_late, queue)
            })
        }))
    };
    let found: Vec<_> = (0..20).map(|seed| under(seed..seed + 1).is_err()).collect();
    assert!(found.contains(&true) && found.contains(&false), "{found:?}");
    assert!(under(0..20).is_err());
    let careful = explore_drops_under(0..20, || {
        let queue: Queue = Rc::new(RefCell::new(VecDeque::from([1])));
        pair(careful, queue)
    });
    assert_eq!(careful, 40);
}

// SIM84
#[test]
fn a_future_that_never_completes_is_told() {
    let found = catch_unwind(AssertUnwindSafe(|| {
        explore_drops(|| {
            let future = async {
                loop {
                    host::yield_now().await;
                }
            };
            (future, || {})
        })
    }));
    let text = *found
        .expect_err("it is told")
        .downcast::<String>()
        .expect("text");
    assert!(text.contains("pending 1000 times and more"), "{text}");
}
