//! The deadlines of a task that has many of them, in their order.

use super::{CROWDED, Node, NodeRef, Payload};
use bowline_backend::time::Instant;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

/// A task with more nodes than this keeps an agenda once one of its deadlines has passed; one with
/// fewer looks at all of them each time.
const CROWD: usize = 64;

/// What was said of the deadlines of a task's nodes: at least the smallest one that each has, and
/// others that no longer hold. Kept by the outermost node, under its `links`.
pub(super) struct Agenda {
    entries: BinaryHeap<Reverse<Entry>>,
    /// Entries from which on most no longer hold: it is made anew then.
    most: usize,
}

struct Entry {
    at: Instant,
    node: Weak<Node<dyn Payload>>,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl Node<dyn Payload> {
    /// Tells the outermost node of a task that `node`, one of the task's, has this deadline.
    pub(crate) fn expect(&self, node: &NodeRef, deadline: Instant) {
        self.expect_deadline(deadline);
        if !self.has(CROWDED) {
            return;
        }
        let entry = Reverse(Entry {
            at: deadline,
            node: Arc::downgrade(node),
        });
        let full = {
            let mut links = self.lock();
            let Some(agenda) = &mut links.agenda else {
                return;
            };
            agenda.entries.push(entry);
            match agenda.entries.len() > agenda.most {
                true => {
                    self.clear(CROWDED);
                    links.agenda.take()
                }
                false => None,
            }
        };
        // It is made anew when the next deadline has passed; nodes are not freed under the lock.
        drop(full);
    }

    /// Those nodes of the task whose deadline has passed, outer before inner.
    pub(super) fn take_due(self: &Arc<Self>, now: Instant) -> Vec<NodeRef> {
        if !self.has(CROWDED) {
            let mut due = Vec::new();
            let visited = self.due_of_all(now, &mut due);
            if visited > CROWD {
                self.open_agenda(visited, now);
            }
            return due;
        }
        let mut due = Vec::new();
        while let Some(node) = self.next_of_agenda(now) {
            let at = node.due();
            if at <= now {
                due.push(node);
            } else if !at.is_never() {
                self.expect(&node, at);
            }
        }
        if due.len() > 1 {
            due.sort_by_cached_key(|node| (self.depth(node), node.address()));
            due.dedup_by_key(|node| node.address());
        }
        due
    }

    /// Looks at every node of the task, and says how many there are.
    fn due_of_all(self: &Arc<Self>, now: Instant, passed: &mut Vec<NodeRef>) -> usize {
        let mut visited = 0;
        self.each_of_task(|node| {
            visited += 1;
            let at = node.due();
            if at <= now {
                passed.push(node.clone());
            } else if !at.is_never() {
                self.expect_deadline(at);
            }
        });
        visited
    }

    /// From now on all that is said of deadlines is written down; what was said before of those
    /// that lie ahead is collected.
    fn open_agenda(self: &Arc<Self>, nodes: usize, now: Instant) {
        let agenda = Agenda {
            entries: BinaryHeap::new(),
            most: 2 * nodes + 1024,
        };
        {
            let mut links = self.lock();
            links.agenda = Some(Box::new(agenda));
            self.set(CROWDED);
        }
        self.each_of_task(|node| {
            let at = node.due();
            if at > now && !at.is_never() {
                self.expect(node, at);
            }
        });
    }

    /// Takes the next node off the agenda of which it was said that its deadline has passed.
    fn next_of_agenda(self: &Arc<Self>, now: Instant) -> Option<NodeRef> {
        loop {
            let Reverse(entry) = {
                let mut links = self.lock();
                let entries = &mut links.agenda.as_mut()?.entries;
                let Reverse(next) = entries.peek()?;
                if next.at > now {
                    let next = next.at;
                    drop(links);
                    self.expect_deadline(next);
                    return None;
                }
                entries.pop()?
            };
            // One that has left the task since has nothing to do with its timer.
            let node = entry.node.upgrade();
            if let Some(node) = node.filter(|node| Arc::ptr_eq(&node.host(), self)) {
                return Some(node);
            }
        }
    }

    /// How many nodes stand between `node` and this one, above it.
    fn depth(self: &Arc<Self>, node: &NodeRef) -> usize {
        let (mut depth, mut at) = (0, node.clone());
        while !Arc::ptr_eq(&at, self) {
            let Some(parent) = at.parent() else { break };
            (depth, at) = (depth + 1, parent);
        }
        depth
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::node::visits::during;
    use crate::node::{Kind, Node, NodeRef};
    use crate::owner::new_scope;
    use crate::task_id::TaskId;
    use bowline_backend::time::Instant;
    use std::borrow::Cow;
    use std::panic::Location;
    use std::sync::Arc;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn task() -> NodeRef {
        let (name, place) = (Cow::Borrowed(""), Location::caller());
        Arc::new(Node::new(Kind::Task, TaskId::OUTSIDE, name, place, ()))
    }

    /// A scope below `parent`, of the task of `host`.
    fn scope(host: &NodeRef, parent: &NodeRef, deadline: Instant) -> NodeRef {
        let node = new_scope(Cow::Borrowed(""), Location::caller());
        node.start_deadline(deadline);
        node.link(parent);
        host.expect(&node, deadline);
        node
    }

    /// So many deadlines that pass one by one.
    fn one_by_one(count: u64) {
        let host = task();
        let nodes: Vec<_> = (1..=count).map(|n| scope(&host, &host, at(n))).collect();
        for (n, node) in (1..).zip(&nodes) {
            assert_eq!(host.soonest(), at(n));
            host.expire(at(n));
            assert!(node.cancel_called());
            let next = nodes.get(n as usize);
            assert!(next.is_none_or(|next| !next.cancel_called()));
        }
        assert!(host.soonest().is_never());
    }

    // CS35
    #[test]
    fn twice_as_many_deadlines_take_twice_the_steps() {
        let (once, twice) = (during(|| one_by_one(1000)), during(|| one_by_one(2000)));
        assert!(twice <= 2 * once + once / 20, "{once}, then {twice}");
    }

    #[test]
    fn an_agenda_says_what_a_look_at_all_would() {
        let mut state = 1_u64;
        let mut draw = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let host = task();
        let mut nodes: Vec<NodeRef> = Vec::new();
        let mut now = 0;
        for _ in 0..20_000 {
            match draw(10) {
                0..=4 => {
                    let parent = match nodes.len() {
                        0 => host.clone(),
                        some => match draw(3) {
                            0 => nodes[draw(some as u64) as usize].clone(),
                            _ => host.clone(),
                        },
                    };
                    if parent.kind == Kind::Task || parent.parent().is_some() {
                        nodes.push(scope(&host, &parent, at(now + 1 + draw(3000))));
                    }
                }
                5 if !nodes.is_empty() => {
                    let node = &nodes[draw(nodes.len() as u64) as usize];
                    if !node.cancel_called() && node.parent().is_some() {
                        node.start_deadline(at(now + 1 + draw(3000)));
                        host.expect(node, node.deadline());
                    }
                }
                6 if !nodes.is_empty() => {
                    let node = nodes.swap_remove(draw(nodes.len() as u64) as usize);
                    let mut below = Vec::new();
                    node.each_of_task(|node| below.push(node.address()));
                    node.unlink();
                    nodes.retain(|node| !below.contains(&node.address()));
                }
                _ => {
                    now += draw(20);
                    host.expire(at(now));
                    let soonest = nodes.iter().map(|node| node.due()).min();
                    assert!(host.soonest() <= soonest.unwrap_or(Instant::NEVER));
                }
            }
            for node in &nodes {
                let passed = node.deadline() <= at(now);
                assert!(!passed || node.cancel_called() || host.soonest() <= at(now));
                assert!(passed || !node.cancel_called());
            }
            // Those that are over leave, or the tree grows without end.
            if nodes.len() > 400 {
                nodes.drain(..200).for_each(|node| node.unlink());
                nodes.retain(|node| Arc::ptr_eq(&node.host(), &host));
            }
        }
        assert!(host.has(super::CROWDED), "the agenda was in use");
    }
}
