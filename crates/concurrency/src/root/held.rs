//! Cancelled scopes that wait long for what holds them.

use super::{above, root_of, say};
use crate::ambient;
use crate::caught::{guarded, quietly};
use crate::cause::clock_of;
use crate::node::{Kind, Node, NodeRef, Payload};
use crate::task_info::TaskInfo;
use bowline_backend::Backend;
use bowline_backend::time::{Instant, Sleep};
use std::collections::VecDeque;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a cancelled scope may wait for a hold before it is named, unless the root says
/// otherwise.
pub(super) const NAMED_AFTER: Duration = Duration::from_secs(10);

/// Scopes watched at a time; those beyond are not named.
const WATCHED: usize = 1024;

/// Holds that a report names; more are only counted.
const NAMED: usize = 3;

/// Those of one root.
///
/// Invariants:
/// 1. `watched` is set while somebody keeps the sleep for the first in line, or is about to; it is
///    cleared under the lock, when the line is empty or who kept the sleep is gone.
/// 2. A scope stands in the line once for each time that it was found cancelled and held while it
///    was not; it leaves at its time, named or not.
pub(super) struct Held {
    after: Duration,
    watched: AtomicBool,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiter>,
    /// How many were turned away since somebody looked for room.
    refused: usize,
}

struct Waiter {
    due: Instant,
    node: Weak<Node<dyn Payload>>,
}

impl Held {
    pub(super) fn new(after: Duration) -> Held {
        Held {
            after,
            watched: AtomicBool::new(false),
            line: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has to begin to watch.
    fn add(&self, node: &NodeRef) -> bool {
        let due = clock_of(node).saturating_add(self.after);
        if due.is_never() {
            return false;
        }
        let node = NodeRef::downgrade(node);
        let mut line = self.lock();
        if let Some(gone) = line.make_room() {
            line.waiting.push_back(Waiter { due, node });
            let begins = !self.watched.swap(true, Ordering::AcqRel);
            drop(line);
            drop(gone);
            return begins;
        }
        false
    }

    /// Takes out those whose time has come, and says when the next one's does; with nobody left the
    /// watch ends.
    fn due(&self, now: Instant) -> (Vec<Waiter>, Option<Instant>) {
        let mut line = self.lock();
        let count = line.waiting.iter().take_while(|w| w.due <= now).count();
        let due = line.waiting.drain(..count).collect();
        let next = line.waiting.front().map(|waiter| waiter.due);
        if next.is_none() {
            self.watched.store(false, Ordering::Release);
        }
        (due, next)
    }

    /// Who kept the sleep is gone: the next one to come begins again.
    fn unwatch(&self) {
        let _line = self.lock();
        self.watched.store(false, Ordering::Release);
    }
}

impl Line {
    /// Those that wait no longer, to be dropped; none if there is no room.
    ///
    /// Who finds no room looks through all of them once for as many newcomers as there are.
    fn make_room(&mut self) -> Option<Vec<Waiter>> {
        if self.waiting.len() < WATCHED {
            return Some(Vec::new());
        }
        if !self.refused.is_multiple_of(WATCHED) {
            self.refused += 1;
            return None;
        }
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (waiting, gone): (Vec<_>, Vec<_>) = all.partition(Waiter::waits);
        self.waiting = waiting.into();
        self.refused = usize::from(gone.is_empty());
        (!gone.is_empty()).then_some(gone)
    }
}

impl Waiter {
    /// Whether the scope may be there still.
    fn waits(&self) -> bool {
        self.node.strong_count() > 0
    }

    /// Names the scope, if it waits still.
    fn report(&self, after: Duration) {
        if let Some(node) = self.node.upgrade()
            && is_stuck(&node)
        {
            let what = described(&node);
            let holds = holders(&node);
            say(format_args!(
                "bowline: {what} has waited {after:?} for {holds}\n"
            ));
        }
    }
}

/// Whether the node is cancelled and held, and no scope around it in its task is cancelled too.
fn is_stuck(node: &NodeRef) -> bool {
    let inner = node.kind != Kind::Task && !node.is_masked();
    node.is_cancelled()
        && node.is_held()
        && !(inner && node.parent().is_some_and(|parent| parent.is_cancelled()))
}

fn described(node: &NodeRef) -> String {
    let (name, place) = (node.name(), node.location);
    let mut what = match node.kind {
        Kind::Task | Kind::Root => String::new(),
        Kind::Group => format!("group \"{name}\" of {place} in "),
        Kind::Scope => format!("scope \"{name}\" of {place} in "),
    };
    let _ = match TaskInfo::of(node) {
        Some(task) => write!(what, "{task}"),
        None => write!(what, "no task"),
    };
    if let Some(cause) = node.visible_cause() {
        let _ = write!(what, ", {cause},");
    }
    what
}

/// The outermost of what holds the node.
fn holders(node: &NodeRef) -> String {
    let (mut text, mut count) = (String::new(), 0);
    let mut stack = vec![node.clone()];
    while let Some(at) = stack.pop() {
        if at.is_holder() && !NodeRef::ptr_eq(&at, node) {
            count += 1;
            if count <= NAMED {
                let comma = if count == 1 { "" } else { ", " };
                let (kind, place) = (kind_of(&at), at.location);
                let _ = match at.name().as_ref() {
                    "" => write!(text, "{comma}{kind} of {place}"),
                    name => write!(text, "{comma}{kind} \"{name}\" of {place}"),
                };
            }
        } else if at.is_held() {
            let below = at.members().into_iter().rev();
            stack.extend(below.filter(|below| below.kind != Kind::Task));
        }
    }
    match count.saturating_sub(NAMED) {
        0 if count == 0 => text.push_str("what has just ended"),
        0 => {}
        more => {
            let _ = write!(text, " and {more} more");
        }
    }
    text
}

fn kind_of(holder: &NodeRef) -> &'static str {
    match (holder.payload.holds_as(), holder.kind) {
        (Some(kind), _) => kind,
        (None, Kind::Group) => "a group",
        (None, _) if holder.is_masked() => "a shield",
        (None, _) => "a hold",
    }
}

/// The owner of `node` has found it cancelled and held. Looks once in the node's life.
pub(crate) fn note_held(node: &NodeRef) {
    if !node.first_held() || !is_stuck(node) {
        return;
    }
    // Where no backend is to be found there is no root, and nobody to watch.
    let Ok(root) = guarded(|| above(Some(node))) else {
        return;
    };
    if !root_of(&root).held.add(node) {
        return;
    }
    if root.id.is_outside() {
        // A process has no future that could watch.
        let watch = Detached(Watch::new(root));
        quietly(|| watch.0.backend.spawn_detached(watch));
    } else if !ambient::task().is_some_and(|task| NodeRef::ptr_eq(&task, &root)) {
        // In its own poll it looks afterwards.
        root.wake_owner();
    }
}

/// Polled by `root` whenever it waits.
pub(super) fn watch(root: &NodeRef, watch: &mut Option<Watch>, cx: &mut Context<'_>) {
    if watch.is_none() && !root_of(root).held.watched.load(Ordering::Acquire) {
        return;
    }
    let begun = watch.get_or_insert_with(|| Watch::new(root.clone()));
    if begun.poll(cx).is_ready() {
        *watch = None;
    }
}

/// Waits for the time of the first in line.
pub(super) struct Watch {
    root: NodeRef,
    backend: Backend,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    fn new(root: NodeRef) -> Watch {
        Watch {
            backend: root.backend().unwrap_or_else(ambient::backend),
            root,
            sleep: None,
        }
    }

    /// Ready when nobody is in line.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let held = &root_of(&self.root).held;
        loop {
            if let Some(sleep) = &mut self.sleep
                && sleep.as_mut().poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            let (due, next) = held.due(self.backend.now());
            for waiter in due {
                waiter.report(held.after);
            }
            let Some(next) = next else {
                return Poll::Ready(());
            };
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(next),
                None => self.sleep = Some(Box::pin(self.backend.sleep_until(next))),
            }
        }
    }
}

/// A watch that is a task of its own, for the root of a process.
struct Detached(Watch);

impl Future for Detached {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        root_of(&self.0.root).held.unwatch();
    }
}
