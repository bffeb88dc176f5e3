//! The drop explorer.

use bowline_sim::{explore_drops, host};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

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

fn explore<F: Future<Output = Option<u32>>>(receive: impl Fn(Queue) -> F) -> usize {
    explore_drops(|| {
        let queue: Queue = Rc::new(RefCell::new(VecDeque::from([1])));
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
    })
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
