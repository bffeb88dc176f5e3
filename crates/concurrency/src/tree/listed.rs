//! The roots there are, for [`Tree::all`](super::Tree::all).

use crate::node::{Node, NodeRef, Payload};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};

/// Keeps a root, or a group below none, in the list until it is dropped.
pub(crate) struct Listed {
    number: u64,
}

struct Known {
    node: Weak<Node<dyn Payload>>,
    /// A simulated world turns on the thread that made it.
    thread: ThreadId,
}

struct List {
    next: u64,
    known: BTreeMap<u64, Known>,
}

static LIST: Mutex<List> = Mutex::new(List {
    next: 0,
    known: BTreeMap::new(),
});

fn list() -> MutexGuard<'static, List> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listed {
    pub(crate) fn new(node: &NodeRef) -> Listed {
        let known = Known {
            node: NodeRef::downgrade(node),
            thread: thread::current().id(),
        };
        let mut list = list();
        let number = list.next;
        list.next += 1;
        list.known.insert(number, known);
        Listed { number }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let known = list().known.remove(&self.number);
        drop(known);
    }
}

/// Those that can be seen from here, oldest first.
pub(super) fn all() -> Vec<NodeRef> {
    let here = thread::current().id();
    let known: Vec<(NodeRef, ThreadId)> = {
        let list = list();
        let known = list.known.values();
        known
            .filter_map(|known| Some((known.node.upgrade()?, known.thread)))
            .collect()
    };
    let inside = bowline_backend::Backend::current().is_ok_and(is_world);
    let seen = known.into_iter().filter(|(node, thread)| {
        let simulated = node.backend().is_some_and(is_simulated);
        match inside {
            true => simulated && *thread == here,
            false => !simulated,
        }
    });
    seen.map(|(node, _)| node).collect()
}

fn is_simulated(backend: bowline_backend::Backend) -> bool {
    backend.capabilities().virtual_time
}

fn is_world(backend: bowline_backend::Backend) -> bool {
    is_simulated(backend) && backend.is_running()
}
