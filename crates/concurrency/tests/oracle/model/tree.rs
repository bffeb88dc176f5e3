//! Who is cancelled, why, by when at the latest, and who is held.

use super::super::event::Cause;
use super::super::program::Ms;
use super::{Model, Node, Pending, Run};

impl Model<'_> {
    /// The first cause stays.
    pub(super) fn cancel(&mut self, at: usize, kind: &str, reason: String) -> bool {
        let grace = self.nodes[at].grace;
        self.cancel_within(at, grace, kind, reason)
    }

    /// A later cancel can only bring the end of the grace nearer.
    pub(super) fn cancel_within(
        &mut self,
        at: usize,
        grace: Ms,
        kind: &str,
        reason: String,
    ) -> bool {
        self.changed = true;
        let (now, node) = (self.now, &mut self.nodes[at]);
        let first = node.own.is_none();
        let cause = Cause(kind.to_owned(), reason, now);
        let own = node.own.get_or_insert((cause, Ms::MAX));
        own.1 = own.1.min(now + grace);
        first
    }

    /// N1, with what is in force.
    pub(super) fn is_cut(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let own = node.own.as_ref().is_some_and(|own| own.1 <= self.now);
        own || self.is_cut_outside(at)
    }

    pub(super) fn is_cut_outside(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        !node.mask && node.parent.is_some_and(|parent| self.is_cut(parent))
    }

    /// Law 3: that of the outermost one that is visible, be it in its grace.
    pub(super) fn cause(&self, at: usize) -> Option<Cause> {
        let node = &self.nodes[at];
        let outer = match node.parent.filter(|_| !node.mask) {
            Some(parent) => self.cause(parent),
            None => None,
        };
        outer.or_else(|| node.own.as_ref().map(|own| own.0.clone()))
    }

    pub(super) fn deadline(&self, at: usize) -> Ms {
        let node = &self.nodes[at];
        let outer = match node.parent.filter(|_| !node.mask) {
            Some(parent) => self.deadline(parent),
            None => Ms::MAX,
        };
        let own = match &node.own {
            Some(own) if own.1 <= self.now => Ms::MAX,
            _ => node.due(),
        };
        outer.min(own)
    }

    /// Law 4: whether owners above must not drop this.
    pub(super) fn holds(&self, run: &Run<'_>) -> bool {
        match run.step.as_deref() {
            Some(Pending::Scope(_, _, Some(_))) => true,
            Some(Pending::Scope(place, Some(body), None)) => {
                self.nodes[place.node].mask || self.holds(body)
            }
            Some(Pending::Group(place, ..)) => self.nodes[place.node].in_tree,
            Some(Pending::Crew(branches)) => {
                branches.finalising().next().is_some() || branches.runs().any(|run| self.holds(run))
            }
            Some(Pending::Join(runs, _) | Pending::Select(runs)) => {
                runs.iter().flatten().any(|run| self.holds(run))
            }
            _ => false,
        }
    }
}

impl Node {
    /// When something happens to it by itself.
    pub(super) fn due(&self) -> Ms {
        self.own.as_ref().map_or(self.deadline, |own| own.1)
    }
}
