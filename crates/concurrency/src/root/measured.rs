//! How old a root is, and whether its tasks are timed.

use super::{RootState, root_of};
use crate::cause::clock_of;
use crate::node::{Node, NodeRef, Payload};
use bowline_backend::time::Instant;

/// Whether the polls of a root's tasks are timed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Measured {
    Yes,
    #[default]
    No,
}

impl RootState {
    /// Has a new task timed, if this root's are.
    pub(crate) fn measure<P: Payload>(&self, task: &Node<P>, clock: impl FnOnce() -> Instant) {
        if self.measured == Measured::Yes {
            task.measure_from(clock());
        }
    }
}

/// Has a new task below `root` timed, if its tasks are.
pub(crate) fn measure<P: Payload>(root: &NodeRef, task: &Node<P>, clock: impl FnOnce() -> Instant) {
    root_of(root).measure(task, clock);
}

/// A root is as old as its first poll.
pub(super) fn note_start(root: &NodeRef) {
    let now = clock_of(root);
    match root_of(root).measured {
        Measured::Yes => root.measure_from(now),
        Measured::No => root.note_born(now),
    }
}
