//! The races of a call with who begins, cancels and closes, in every interleaving: `cargo xtask
//! loom`. No runtime builds with that flag, so what a call becomes is a handle of no task.

use super::error::PortalError;
use super::order::CallOrder;
use super::ticket::{Answer, Ticket};
use crate::node::{Kind, Node, NodeRef};
use crate::sync::Queue;
use crate::task_handle::{Place, TaskHandle, TaskStatus};
use crate::task_id::TaskId;
use loom::future::block_on;
use loom::model::Builder;
use loom::thread;
use std::borrow::Cow;
use std::future::{Ready, poll_fn, ready};
use std::panic::Location;
use std::sync::Arc;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

fn node() -> NodeRef {
    let (at, name) = (Location::caller(), Cow::Borrowed(""));
    Arc::new(Node::new(Kind::Group, TaskId::OUTSIDE, name, at, ()))
}

fn task() -> TaskHandle<Answer<u32>> {
    let (at, name) = (Location::caller(), Cow::Borrowed(""));
    let place = Place::new(TaskStatus::Running);
    TaskHandle::new(Arc::new(Node::new(
        Kind::Task,
        TaskId::OUTSIDE,
        name,
        at,
        place,
    )))
}

type Call = CallOrder<fn() -> Ready<u32>, u32>;

fn call(ticket: &Arc<Ticket<u32>>) -> Call {
    CallOrder::new(|| ready(7), ticket.clone())
}

/// Waits until the call is a task, or there will be none.
fn begun(ticket: &Ticket<u32>) -> Result<(), PortalError> {
    block_on(poll_fn(|cx| ticket.poll_begun(cx))).map(drop)
}

/// As who serves the portal; whether there was one to begin. Then nothing stays in the queue.
fn serve(queue: &Queue<(Call, Arc<Ticket<u32>>)>) -> bool {
    let begins = match block_on(queue.recv()) {
        Ok((_order, ticket)) if ticket.leave_queue() => {
            ticket.begin(task());
            true
        }
        _ => false,
    };
    queue.close();
    while let Ok(order) = queue.try_recv() {
        drop(order);
    }
    begins
}

// TH13, TH16
#[test]
fn call_made_while_the_portal_closes() {
    explore(|| {
        let queue = Arc::new(Queue::bounded(1).expect("one is not zero"));
        let ticket = Arc::new(Ticket::new());
        let (served, closed) = (queue.clone(), queue.clone());
        let serves = thread::spawn(move || serve(&served));
        let closes = thread::spawn(move || closed.close());
        // A closed queue gives it back, and it says so on its ticket.
        drop(block_on(queue.send((call(&ticket), ticket.clone()))));
        let answer = begun(&ticket);
        let was_begun = serves.join().expect("it ends");
        closes.join().expect("it ends");
        match answer {
            Ok(()) => assert!(was_begun),
            Err(error) => assert!(matches!(error, PortalError::Closed) && !was_begun),
        }
    });
}

// TH14
#[test]
fn call_cancelled_by_two_while_it_begins() {
    explore(|| {
        let ticket = Arc::new(Ticket::new());
        let order = call(&ticket);
        let group = node();
        let (taken, other, far) = (ticket.clone(), ticket.clone(), group.clone());
        let begins = thread::spawn(move || {
            let begins = taken.leave_queue();
            if begins {
                taken.begin(task());
            }
            drop(order);
            begins
        });
        let at = Location::caller();
        let cancels = thread::spawn(move || other.cancel(Cow::Borrowed("other"), at, &far));
        let own = ticket.cancel(Cow::Borrowed("own"), at, &group);
        let others = cancels.join().expect("it ends");
        assert_ne!(own, others, "one of them is the first");
        let begun = begun(&ticket);
        match begins.join().expect("it ends") {
            true => {
                assert!(begun.is_ok());
                let task = ticket.take().expect("it has begun");
                assert_eq!(task.status(), TaskStatus::Cancelling);
            }
            false => assert!(matches!(begun, Err(PortalError::Cancelled(_)))),
        }
    });
}
