mod timer;

use crate::ambient;
use crate::cause::{Cause, CauseKind};
use crate::finaliser::{self, FINALISE_WITHIN, Finalising};
use crate::node::{Kind, Node, NodeRef, note_change};
use crate::root;
use crate::scope_local::{self as locals, Locals};
use crate::span::SpawnSpan;
use crate::task_id::TaskId;
use bowline_backend::time::Instant;
use std::borrow::Cow;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use timer::Timer;

/// When a region ends at the latest.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Never,
    At(Instant),
    /// Counted from the first poll.
    After(Duration),
}

impl Limit {
    fn deadline(self, clock: impl FnOnce() -> Instant) -> Instant {
        match self {
            Limit::Never | Limit::After(Duration::MAX) => Instant::NEVER,
            Limit::At(deadline) => deadline,
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

/// The addresses of a waker's data and of its table.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
struct WakerId(usize, usize);

impl WakerId {
    fn of(waker: &Waker) -> WakerId {
        WakerId(
            waker.data().addr(),
            std::ptr::from_ref(waker.vtable()).addr(),
        )
    }
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

    /// First step of a poll: the place in the tree, the waker, the timer.
    pub(crate) fn arrive(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.stage, Stage::Fixed | Stage::Carried) {
            self.stand(None);
        }
        self.node().begin_poll();
        self.keep_waker(cx.waker());
        self.hear_alarm();
    }

    /// The same for a task, whose pulse has the waker already.
    pub(crate) fn arrive_task(&mut self) {
        self.node().begin_poll();
        self.hear_alarm();
    }

    /// The same for a scope, which has no node before its first poll unless somebody has a handle.
    /// That poll is often its only one, so it keeps the waker of it when the body is pending.
    #[inline]
    pub(crate) fn arrive_scope(
        &mut self,
        location: &'static Location<'static>,
        cx: &mut Context<'_>,
    ) {
        let started = self.is_under_way();
        self.stand(Some(location));
        self.node().begin_poll();
        if started || self.host {
            self.keep_waker(cx.waker());
        }
        self.hear_alarm();
    }

    #[inline]
    fn stand(&mut self, location: Option<&'static Location<'static>>) {
        let (place, in_task) = ambient::place();
        if place != self.place {
            self.host = !in_task;
            self.take_place(place, location);
        }
    }

    /// True if somebody wanted to wake the owner when there was no waker.
    #[inline]
    fn keep_waker(&mut self, waker: &Waker) -> bool {
        let id = WakerId::of(waker);
        if self.waker == id && self.node().has_waker() {
            return false;
        }
        self.waker = id;
        self.node().store_waker(waker)
    }

    #[inline]
    fn hear_alarm(&mut self) {
        if self.timer.as_ref().is_some_and(|t| t.alarm.rang()) {
            self.ring();
        }
    }

    /// The same for a branch, which has one waker for all its life and never the task's timer.
    pub(crate) fn arrive_by(&mut self, waker: &Waker) {
        let (place, _) = ambient::place();
        if place != self.place {
            self.take_place(place, None);
        }
        if !self.node().has_waker() {
            self.node().store_waker(waker);
        }
    }

    #[inline(never)]
    fn take_place(&mut self, place: usize, location: Option<&'static Location<'static>>) {
        ambient::with(|parent| {
            if self.stage == Stage::New {
                return self.begin(parent, location);
            }
            let node = self.node();
            node.unlink();
            match parent {
                Some(parent) => node.link(parent),
                None => {
                    node.note_started();
                    node.refresh();
                }
            }
            note_change();
            self.bring_deadlines(node);
            self.timer = None;
        });
        self.place = place;
        self.stage = Stage::Linked;
    }

    /// Stands below `parent` for the first time.
    fn begin(&mut self, parent: Option<&NodeRef>, location: Option<&'static Location<'static>>) {
        if let (None, Some(location)) = (&self.node, location) {
            if let Some(parent) = parent {
                return self.begin_new(parent, location);
            }
            self.node = Some(new_scope(Cow::Borrowed(""), location));
        } else if let Some(parent) = parent {
            self.node().link(parent);
        }
        let node = self.node();
        if parent.is_none()
            && let Some(backend) = ambient::backend_if_any().filter(|found| found.is_running())
        {
            // Below nothing there is nobody to ask once the body was dropped.
            node.keep_backend(backend);
        }
        let deadline = self.limit.deadline(|| ambient_clock(node));
        // Below a parent the node counts as started by that.
        if !deadline.is_never() || self.host {
            node.start_deadline(deadline);
        }
        node.start_grace(|| ambient_clock(node));
        self.watch_deadline();
    }

    /// The same with a node that nobody else has.
    fn begin_new(&mut self, parent: &NodeRef, location: &'static Location<'static>) {
        let (kind, id, name) = (Kind::Scope, TaskId::OUTSIDE, Cow::Borrowed(""));
        let node = Node::below(parent.clone(), kind, id, name, location, ());
        let node: NodeRef = Arc::new(node);
        node.begin_deadline(self.limit.deadline(|| ambient_clock(&node)));
        node.enter_scopes(parent);
        self.node = Some(node);
        self.watch_deadline();
    }

    /// Cancels a node whose deadline has passed, and tells its task of another one.
    fn watch_deadline(&self) {
        let node = self.node();
        let deadline = node.deadline();
        // A span that was just counted from now lies ahead: no need to ask the clock.
        let lies_ahead =
            matches!(self.limit, Limit::After(span) if !span.is_zero()) && !node.is_rescheduled();
        if !deadline.is_never() && !lies_ahead {
            let now = ambient_clock(node);
            if deadline <= now {
                node.cancel(|| Cause::deadline(node, now));
                return;
            }
        }
        self.bring_deadlines(node);
    }

    /// Tells the task's outermost node of the deadlines that came with this one.
    fn bring_deadlines(&self, node: &NodeRef) {
        let tell = |of: &NodeRef| {
            let due = of.due();
            if due.is_never() {
                return;
            }
            ambient::with_task(|task| match task.filter(|_| !self.host) {
                Some(task) => task.expect(of, due),
                None => node.expect(of, due),
            });
        };
        match self.stage {
            Stage::New => tell(node),
            _ => node.each_of_task(tell),
        }
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

    /// Last step of a poll that is not over: arms the timer, and says whether the body is to be
    /// dropped now.
    pub(crate) fn is_cut(&mut self) -> bool {
        self.arm();
        let node = self.node();
        if !node.is_cancelled() {
            return false;
        }
        let held = node.is_held();
        if held {
            root::note_held(node);
        }
        !held
    }

    /// The same where what it runs is cut piece by piece.
    pub(crate) fn wait_cut(&mut self) {
        let _ = self.is_cut();
    }

    /// The same for a scope in its first poll, whose waker it keeps now.
    pub(crate) fn is_cut_first(&mut self, cx: &Context<'_>) -> bool {
        if self.keep_waker(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        self.is_cut()
    }

    /// Drops the cancelled body, by `cut`, and keeps the finalisers that it leaves behind, and a
    /// panic, for [`poll_finalisers`](Owner::poll_finalisers).
    pub(crate) fn cut(&mut self, cut: impl FnOnce()) {
        let (caught, left) = finaliser::collecting(|| self.inside(cut));
        if caught.is_ok() && left.is_empty() {
            return;
        }
        let (node, within) = (self.node(), self.finalise_within);
        let cause = dropped_or(node.visible_cause(), node);
        node.set_finalising();
        self.finalising = Some(Finalising::new(node, cause, left, within, caught));
    }

    /// Runs what the body left behind; ready when nothing is left.
    ///
    /// # Panics
    ///
    /// Resumes the first panic of the body's drop or a finaliser, once all are over.
    pub(crate) fn poll_finalisers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut finalising) = self.finalising.take() else {
            return Poll::Ready(());
        };
        match self.inside(|| finalising.poll(cx)) {
            Poll::Pending => {
                self.finalising = Some(finalising);
                self.arm();
                Poll::Pending
            }
            Poll::Ready(panic) => {
                self.node().clear_finalising();
                match panic {
                    None => Poll::Ready(()),
                    Some(panic) => resume_unwind(panic),
                }
            }
        }
    }

    /// Drops the body, by `drop_body`, because foreign code drops the wrapper. Finalisers go to
    /// who cuts what is around it, or to the root.
    pub(crate) fn lose(&mut self, drop_body: impl FnOnce()) {
        if self.node.is_none() || finaliser::is_collecting() {
            return self.inside(drop_body);
        }
        let (caught, left) = finaliser::collecting(|| self.inside(drop_body));
        if !left.is_empty() {
            let (node, within) = (self.node(), self.finalise_within);
            let cause = dropped_or(node.visible_cause(), node);
            let work = Finalising::new(node, cause, left, within, Ok(()));
            root::run_behind(node, "finalisers", || Box::pin(work));
        }
        if let Err(panic) = caught
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }

    /// Last step of a poll that is not over and looks for no cut: arms the task's timer, if this
    /// is the outermost wrapper.
    #[inline]
    pub(crate) fn arm(&mut self) {
        self.node().end_poll();
        if self.host {
            self.arm_timer();
        }
    }

    fn arm_timer(&mut self) {
        loop {
            let soonest = self.node().soonest();
            let armed = self.timer.as_ref().map_or(Instant::NEVER, |t| t.armed);
            if soonest >= armed {
                return;
            }
            let node = self.node().clone();
            match &mut self.timer {
                Some(timer) => timer.reset(soonest),
                None => self.timer = Some(Box::new(Timer::new(node, soonest))),
            }
            self.ring();
        }
    }

    /// Polls the timer and, when its time has come, cancels what has expired.
    fn ring(&mut self) {
        let Some(timer) = &mut self.timer else { return };
        if timer.poll().is_ready() {
            timer.armed = Instant::NEVER;
            let node = self.node();
            node.expire(ambient_clock(node));
        }
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

    /// Takes the node out of the tree and returns its holds. Finalisers that are under way go to the
    /// root, which is to be found only from within.
    pub(crate) fn leave(&mut self) {
        if let Some(finalising) = self.finalising.take() {
            root::run_behind(self.node(), "finalisers", || Box::pin(finalising));
        }
        if matches!(self.stage, Stage::Linked | Stage::Carried) {
            self.node().unlink();
        }
        self.stage = Stage::Left;
        self.timer = None;
    }

    /// Takes the node out of the tree and returns its holds until the next poll, which may come
    /// from another task.
    pub(crate) fn rest(&mut self) {
        if self.stage != Stage::Linked {
            return;
        }
        let node = self.node();
        node.unlink();
        note_change();
        node.forget_waker();
        self.timer = None;
        self.place = NOWHERE;
    }

    /// Leaves the node in the tree, for a root to adopt.
    pub(crate) fn give_away(&mut self) {
        self.stage = Stage::Left;
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
