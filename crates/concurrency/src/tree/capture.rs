//! Reading the tree, one node at a time.

use super::{EntryKind, EntryState, MOST, Tree, TreeEntry};
use crate::cause::{Cause, clock_of};
use crate::node::{Kind, NodeRef, Stance};
use bowline_backend::time::Instant;

/// A node to be read, and what its parent passes down to it.
struct Visit {
    node: NodeRef,
    parent: Option<usize>,
    deadline: Instant,
    cause: Option<Cause>,
}

impl Tree {
    /// Of these nodes, which stand below nothing, and all below them.
    pub(crate) fn below(tops: Vec<NodeRef>) -> Tree {
        let mut tree = Tree {
            entries: Vec::new(),
            truncated: tops.len() > MOST,
        };
        let mut stack: Vec<Visit> = Vec::new();
        for node in tops.into_iter().take(MOST).rev() {
            stack.push(Visit {
                parent: None,
                deadline: Instant::NEVER,
                cause: None,
                node,
            });
        }
        // Of each entry, whether it is a shield, and what its holds are to its parent.
        let (mut shields, mut stances) = (Vec::new(), Vec::new());
        while let Some(visit) = stack.pop() {
            // Those on the stack are entries to come.
            let room = MOST - 1 - tree.entries.len() - stack.len();
            // What it does before what is in it: of one that has parked, all it made until then is seen.
            let mut entry = entry(&visit, tree.entries.len());
            let sight = visit.node.look(room);
            tree.truncated |= sight.truncated;
            entry.tasks = sight.tasks;
            shields.push(visit.node.is_masked());
            stances.push(visit.node.stance());
            let children = sight.children.into_iter().rev().map(|node| Visit {
                node,
                parent: Some(entry.id),
                deadline: entry_deadline(&visit),
                cause: entry.cause.clone(),
            });
            stack.extend(children);
            if let Some(parent) = visit.parent {
                tree.entries[parent].children.push(entry.id);
            }
            tree.entries.push(entry);
        }
        tree.mark_shielded(&shields);
        tree.count_holds(&stances);
        tree.pass_up_waits();
        tree
    }

    /// What is cancelled around a shield, within its task, is kept by it.
    fn mark_shielded(&mut self, shields: &[bool]) {
        let mut inside = vec![false; self.entries.len()];
        for (id, entry) in self.entries.iter_mut().enumerate().rev() {
            if inside[id] && entry.state == EntryState::Frozen {
                entry.state = EntryState::Shielded;
            }
            if let Some(parent) = entry.parent.filter(|_| entry.kind.is_inside_a_task()) {
                inside[parent] |= inside[id] || shields[id];
            }
        }
    }

    /// A node counts who right below it holds, an entry all that hold in it.
    fn count_holds(&mut self, stances: &[Stance]) {
        let mut all = vec![0; self.entries.len()];
        for (id, entry) in self.entries.iter_mut().enumerate().rev() {
            entry.holds = entry.holds.max(all[id]);
            let shown = match stances[id] {
                Stance::Apart => 0,
                Stance::Shields => 1,
                Stance::Holds => entry.holds + 1,
                Stance::Passes => entry.holds,
            };
            if let Some(parent) = entry.parent {
                all[parent] += shown;
            }
        }
        for entry in self
            .entries
            .iter_mut()
            .filter(|e| e.kind == EntryKind::Root)
        {
            entry.holds = 0;
        }
    }

    /// A task waits for what the last scope inside it waits for.
    fn pass_up_waits(&mut self) {
        for id in (0..self.entries.len()).rev() {
            let entry = &self.entries[id];
            let Some(what) = entry.waiting_on else {
                continue;
            };
            if let Some(parent) = entry.parent.filter(|_| entry.kind.is_inside_a_task()) {
                // From the last to the first: the first to set it is the last inside.
                let parent = &mut self.entries[parent];
                let waits = !matches!(parent.state, EntryState::Running | EntryState::Done);
                if waits && parent.waiting_on.is_none() {
                    parent.waiting_on = Some(what);
                }
            }
        }
    }
}

fn entry_deadline(visit: &Visit) -> Instant {
    let own = visit.node.due();
    match visit.node.is_masked() {
        true => own,
        false => own.min(visit.deadline),
    }
}

fn entry(visit: &Visit, id: usize) -> TreeEntry {
    let node = &visit.node;
    let own = node.own_cause().filter(|_| node.cancel_called());
    let cause = match node.is_masked() {
        true => own,
        false => visit.cause.clone().or(own),
    };
    let deadline = entry_deadline(visit);
    let numbered = matches!(node.kind, Kind::Root | Kind::Task) && !node.id.is_outside();
    let state = state_of(node);
    // Behind what it is to be behind of: the deadline was set, and the work done, before.
    let busy = node.busy();
    let now = clock_of(node);
    TreeEntry {
        id,
        parent: visit.parent,
        kind: match node.kind {
            Kind::Root => EntryKind::Root,
            Kind::Group => EntryKind::Group,
            Kind::Task => EntryKind::Task,
            Kind::Scope => EntryKind::Scope,
        },
        task: numbered.then_some(node.id),
        name: node.name().clone(),
        location: node.location,
        backend: node.backend(),
        state,
        deadline: (!deadline.is_never()).then(|| deadline.saturating_duration_since(now)),
        cause,
        holds: node.holds(),
        polls: node.polls(),
        wakes: node.wakes(),
        busy,
        age: node.age(now),
        waiting_on: node.waiting_on().filter(|_| state != EntryState::Running),
        children: Vec::new(),
        tasks: 0,
    }
}

/// Before what stands below it is known.
fn state_of(node: &NodeRef) -> EntryState {
    if node.is_finalising() {
        EntryState::Finalising
    } else if node.is_body_over() {
        EntryState::Done
    } else if node.is_running() || (node.kind == Kind::Task && node.polls() == 0) {
        EntryState::Running
    } else if node.is_cancelled() {
        EntryState::Frozen
    } else if node.is_masked() {
        EntryState::Shielded
    } else {
        EntryState::Parked
    }
}
