//! The steps of a poll up to the body: where the owner stands, which waker it has. And how it leaves.

use super::{Limit, NOWHERE, Owner, Stage, ambient_clock, new_scope};
use crate::ambient;
use crate::cause::Cause;
use crate::node::{Kind, Node, NodeRef, note_change};
use crate::root;
use crate::task_id::TaskId;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Waker};

/// The addresses of a waker's data and of its table.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WakerId(usize, usize);

impl WakerId {
    fn of(waker: &Waker) -> WakerId {
        WakerId(
            waker.data().addr(),
            std::ptr::from_ref(waker.vtable()).addr(),
        )
    }
}

impl Owner {
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
    pub(super) fn keep_waker(&mut self, waker: &Waker) -> bool {
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
        // What was just counted from now, or compared with it, lies ahead: no need to ask the clock.
        let lies_ahead = match self.limit {
            Limit::After(span) => !span.is_zero(),
            Limit::Ahead(_) => true,
            Limit::Never | Limit::At(_) => false,
        };
        if !deadline.is_never() && (!lies_ahead || node.is_rescheduled()) {
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
}
