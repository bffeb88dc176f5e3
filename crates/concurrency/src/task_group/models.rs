//! The races of a child with its group, its runtime and who has its handle, in every interleaving:
//! `cargo xtask loom`. No runtime builds with that flag, so a thread of the model runs the child.

use super::TaskGroup;
use super::child::{Child, Duty};
use super::policy::{PanicPolicy, Policy};
use super::state::GroupState;
use crate::cause::{Cause, CauseKind};
use crate::node::{Kind, Node, NodeRef};
use crate::sleep_forever;
use crate::task_handle::{JoinError, Place, TaskHandle, TaskStatus};
use crate::task_id::TaskId;
use loom::future::block_on;
use loom::model::Builder;
use loom::thread;
use std::borrow::Cow;
use std::future::poll_fn;
use std::panic::Location;
use std::sync::Arc;
use std::task::Poll;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

type Group = Arc<Node<GroupState<()>>>;

fn group() -> Group {
    group_for(usize::MAX)
}

fn group_for(max_children: usize) -> Group {
    let (at, name) = (Location::caller(), Cow::Borrowed(""));
    let root = Node::new(Kind::Root, TaskId::OUTSIDE, name.clone(), at, ());
    let state = GroupState::new(
        Arc::new(root),
        Policy::FailFast,
        PanicPolicy::Resume,
        max_children,
    );
    Arc::new(Node::new(Kind::Group, TaskId::OUTSIDE, name, at, state))
}

/// What a group spawns, and its handle.
fn child<T: Send + 'static, F>(
    group: &Group,
    body: F,
) -> (impl Future<Output = ()> + Send + use<T, F>, TaskHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
{
    let (at, name) = (Location::caller(), Cow::Borrowed(""));
    let place = Place::new(TaskStatus::Running);
    let node = Node::below(group.clone(), Kind::Task, TaskId::OUTSIDE, name, at, place);
    let node = Arc::new(node);
    let entered = (node.clone() as NodeRef).enter_tasks(group, |_| true);
    entered.expect("the group is open");
    group.payload.count(TaskStatus::Running);
    let handle = TaskHandle::new(node.clone());
    let duty = Duty {
        child: node,
        group: group.clone(),
        start: None,
    };
    (Child::new(duty, Ok, body), handle)
}

fn cancel(node: &NodeRef) {
    let (kind, at) = (CauseKind::Explicit, Location::caller());
    node.cancel(|| Cause::here(kind, Cow::Borrowed("stop"), at, node));
}

/// As a group whose body is over.
fn drained(group: &Group) {
    block_on(poll_fn(|cx| {
        group.store_waker(cx.waker());
        match group.close_if_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }));
}

// TG10
#[test]
fn group_cancelled_while_a_child_is_polled_for_the_first_time() {
    explore(|| {
        let group = group();
        let (running, handle) = child(&group, async {
            let () = match sleep_forever().await {};
        });
        let node: NodeRef = group.clone();
        let cancels = thread::spawn(move || cancel(&node));
        block_on(running);
        cancels.join().expect("it ends");
        assert_eq!(handle.status(), TaskStatus::Cancelled);
        assert_eq!(group.task_count(), 0);
    });
}

// TG4, TG31
#[test]
fn last_child_ends_while_its_group_begins_to_wait() {
    explore(|| {
        let group = group();
        let (running, handle) = child(&group, async { 7 });
        let runs = thread::spawn(move || block_on(running));
        drained(&group);
        assert_eq!(
            handle.status(),
            TaskStatus::Done,
            "told before it is counted out"
        );
        runs.join().expect("it ends");
    });
}

// TG16, TG17
#[test]
fn handle_dropped_while_the_child_ends_or_is_cancelled() {
    explore(|| {
        let group = group();
        let value = Arc::new(());
        let kept = value.clone();
        let mut waited = false;
        let (running, handle) = child(
            &group,
            poll_fn(move |cx| match std::mem::replace(&mut waited, true) {
                true => Poll::Ready(kept.clone()),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }),
        );
        let runs = thread::spawn(move || block_on(running));
        handle.cancel("stop");
        drop(handle);
        runs.join().expect("it ends");
        assert_eq!(Arc::strong_count(&value), 1, "the value is for nobody");
        let seen = group.payload.statistics();
        assert_eq!((seen.live, seen.done + seen.cancelled), (0, 1));
    });
}

// TG16
#[test]
fn join_while_the_child_ends_and_is_cancelled() {
    explore(|| {
        let group = group();
        let (running, handle) = child(&group, async { 7 });
        let node: NodeRef = group.clone();
        let runs = thread::spawn(move || block_on(running));
        let cancels = thread::spawn(move || cancel(&node));
        match block_on(handle.join()) {
            Ok(value) => assert_eq!(value, 7),
            Err(error) => assert!(matches!(error, JoinError::Cancelled(_))),
        }
        runs.join().expect("it ends");
        cancels.join().expect("it ends");
    });
}

// TG17
#[test]
fn join_dropped_while_the_child_ends() {
    explore(|| {
        let group = group();
        let value = Arc::new(());
        let kept = value.clone();
        let (running, handle) = child(&group, async { kept });
        let runs = thread::spawn(move || block_on(running));
        let mut join = Box::pin(handle.join());
        block_on(poll_fn(|cx| {
            let _ = join.as_mut().poll(cx);
            Poll::Ready(())
        }));
        drop(join);
        runs.join().expect("it ends");
        assert_eq!(Arc::strong_count(&value), 1, "nobody has it");
    });
}

// TG14
#[test]
fn places_that_become_free_while_one_is_let_in_let_in_the_next() {
    explore(|| {
        let node = group_for(2);
        let group = TaskGroup { node: node.clone() };
        let slots = [(); 2].map(|()| block_on(group.admit()).expect("there is room"));
        let mut waiting = [(); 2].map(|()| Box::pin(group.admit()));
        block_on(poll_fn(|cx| {
            let polled = waiting.each_mut().map(|one| one.as_mut().poll(cx));
            assert!(polled.iter().all(Poll::is_pending), "the group is full");
            Poll::Ready(())
        }));
        let ends = thread::spawn(move || drop(slots));
        let slots = waiting.map(|one| block_on(one).expect("the group is open"));
        ends.join().expect("it ends");
        assert_eq!(node.task_count(), 2);
        drop(slots);
        assert!(node.payload.gate.has_room(1), "no place was lost");
    });
}
