mod cut;
mod place;
mod timer;

use crate::ambient;
use crate::cause::{Cause, CauseKind};
use crate::finaliser::{FINALISE_WITHIN, Finalising};
use crate::node::{Kind, Node, NodeRef};
use crate::scope_local::{self as locals, Locals};
use crate::span::SpawnSpan;
use crate::task_id::TaskId;
use bowline_backend::time::Instant;
use place::WakerId;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use timer::Timer;

/// When a region ends at the latest.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Never,
    At(Instant),
    /// The same, and the clock was just seen not to have come to it.
    Ahead(Instant),
    /// Counted from the first poll.
    After(Duration),
}

impl Limit {
    fn deadline(self, clock: impl FnOnce() -> Instant) -> Instant {
        match self {
            Limit::Never | Limit::After(Duration::MAX) => Instant::NEVER,
            Limit::At(deadline) | Limit::Ahead(deadline) => deadline,
            Limit::After(span) => clock().saturating_add(span),
        }
    }
}

/// The place of an owner that stands nowhere: no node's address.
const NOWHERE: usize = usize::MAX;

/// The part of a wrapper that keeps its body's node in the tree.
///
/// Invariants:
/// 1. The waker of the current poll is stored in the node, or its pulse, before the body is polled:
///    whatever happens to the node from then on leads to another poll. A scope that is not a host
///    stores it behind its first poll only, and then wakes itself if a wake was missed.
/// 2. The outermost wrapper of a task is its host: it keeps the task's one backend sleep, armed
///    at the smallest deadline of the task's nodes whenever a poll returns `Pending`.
/// 3. Dropping the owner takes the node out of the tree and returns its holds, so a panic in
///    the body leaves nothing behind.
pub(crate) struct Owner {
    node: Option<NodeRef>,
    /// Address of the parent, which lives as long as the node is linked; zero for none.
    place: usize,
    stage: Stage,
    limit: Limit,
    /// The wrapper is the task's outermost one.
    host: bool,
    /// Which waker the node was given last. While the node has one it is alive, so equal addresses
    /// mean the same waker, and no second clone of it has to be kept here.
    waker: WakerId,
    timer: Option<Box<Timer>>,
    finalising: Option<Finalising>,
    finalise_within: Duration,
    /// The scope locals that a task inherited.
    locals: Option<Locals>,
    /// Where a task was spawned.
    span: SpawnSpan,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Not polled yet.
    New,
    /// In the tree where the ambient context says.
    Linked,
    /// A task or root: its place never changes.
    Fixed,
    /// The same, and out of the tree when it leaves.
    Carried,
    Left,
}

impl Owner {
    pub(crate) fn new(limit: Limit) -> Owner {
        Owner {
            node: None,
            place: NOWHERE,
            stage: Stage::New,
            limit,
            host: false,
            waker: WakerId::default(),
            timer: None,
            finalising: None,
            finalise_within: FINALISE_WITHIN,
            locals: None,
            span: SpawnSpan::none(),
        }
    }

    /// How long the finalisers of the body may take together.
    pub(crate) fn finalise_within(&mut self, span: Duration) {
        self.finalise_within = span;
    }

    /// For a task or root, whose node stands in the tree already.
    pub(crate) fn fixed(node: NodeRef) -> Owner {
        let mut owner = Owner::new(Limit::Never);
        owner.node = Some(node);
        owner.stage = Stage::Fixed;
        owner.host = true;
        owner.locals = locals::inherited();
        owner.span = SpawnSpan::current();
        owner
    }

    /// For a root, which its caller polls.
    pub(crate) fn root(node: NodeRef) -> Owner {
        let mut owner = Owner::fixed(node);
        owner.span = SpawnSpan::none();
        owner
    }

    /// For a body that runs elsewhere and stands where the node was linked.
    pub(crate) fn carried(node: NodeRef) -> Owner {
        let mut owner = Owner::fixed(node);
        owner.stage = Stage::Carried;
        owner
    }

    /// For a branch, whose node was linked below the one with the address `place`.
    pub(crate) fn linked(node: NodeRef, place: usize) -> Owner {
        let mut owner = Owner::new(Limit::Never);
        owner.node = Some(node);
        owner.place = place;
        owner.stage = Stage::Linked;
        owner
    }

    pub(crate) fn set_node(&mut self, node: NodeRef) {
        self.node = Some(node);
    }

    /// The owners above must not drop this one once it was polled.
    pub(crate) fn holding(&mut self) {
        self.node().set_hold();
    }

    pub(crate) fn node(&self) -> &NodeRef {
        self.node.as_ref().expect("an owner has its node in a poll")
    }

    /// Runs `f` at the node's place: a poll or drop of the body, or a call of user code.
    #[inline]
    pub(crate) fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.stage {
            Stage::Fixed | Stage::Carried => self.inside_task(f),
            _ => ambient::inside(self.node.as_ref(), self.host, f),
        }
    }

    fn inside_task<R>(&self, f: impl FnOnce() -> R) -> R {
        let locals = self.locals.clone();
        let start = self.node.as_ref().and_then(|node| node.timed_since());
        let node = self.node.as_ref();
        let result = self
            .span
            .inside(|| ambient::inside(node, true, || locals::inside(locals, f)));
        if let (Some(start), Some(node)) = (start, &self.node) {
            node.add_busy_since(start);
        }
        result
    }

    /// Whether the cancel comes from an ancestor, which then drops us: we must not return.
    pub(crate) fn outer_cancelled(&self) -> bool {
        let node = self.node();
        !node.is_masked() && node.parent().is_some_and(|parent| parent.is_cancelled())
    }

    /// Cancels this node for a reason of its own kind.
    pub(crate) fn cancel(&self, kind: CauseKind, at: &'static Location<'static>) {
        let node = self.node();
        node.cancel(|| Cause::here(kind, Cow::Borrowed(""), at, node));
    }

    /// The body was polled and has neither ended nor been dropped by us.
    pub(crate) fn is_under_way(&self) -> bool {
        self.stage == Stage::Linked
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.leave();
    }
}

pub(crate) fn new_scope(name: Cow<'static, str>, location: &'static Location<'static>) -> NodeRef {
    Arc::new(Node::new(Kind::Scope, TaskId::OUTSIDE, name, location, ()))
}

/// The cause, or that foreign code dropped what stands at `node`.
pub(crate) fn dropped_or(cause: Option<Cause>, node: &NodeRef) -> Cause {
    cause.unwrap_or_else(|| Cause::here(CauseKind::Dropped, Cow::Borrowed(""), node.location, node))
}

/// The clock of the node's backend; a node without one takes the current backend and keeps it.
fn ambient_clock(node: &NodeRef) -> Instant {
    let backend = node.backend().unwrap_or_else(|| {
        let backend = ambient::backend();
        node.keep_backend(backend);
        backend
    });
    backend.now()
}
