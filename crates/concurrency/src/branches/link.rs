use super::ready::{Ready, Ticket};
use crate::memory::{AtomicBool, AtomicUsize};
use crate::node::{Kind, Node, NodeRef};
use crate::task_id::TaskId;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::Wake;

/// What a branch is for others: its waker, and its node when it needs one.
///
/// Most branches neither wait in the tree nor have anything below them. Until one does, or is
/// cancelled by itself, it stands at the node of what runs it, and costs no node.
///
/// Invariants:
/// 1. `queued` is set from the moment a ticket of the branch is handed out until the poll for it
///    begins, so there is one at most; and for ever once the branch has ended.
/// 2. The node may be made by anyone, but is linked by the code of the branch or by who polls it,
///    one after the other; only then does code of the branch stand there.
pub(crate) struct Link {
    ready: Arc<Ready>,
    key: AtomicUsize,
    serial: AtomicUsize,
    queued: AtomicBool,
    linked: AtomicBool,
    name: Cow<'static, str>,
    location: &'static Location<'static>,
    node: OnceLock<NodeRef>,
}

impl Link {
    pub(super) fn new(
        ready: Arc<Ready>,
        name: Cow<'static, str>,
        location: &'static Location<'static>,
    ) -> Link {
        Link {
            ready,
            key: AtomicUsize::new(usize::MAX),
            serial: AtomicUsize::new(0),
            queued: AtomicBool::new(false),
            linked: AtomicBool::new(false),
            name,
            location,
            node: OnceLock::new(),
        }
    }

    /// Of a branch that has ended, whom nobody refers to, makes one for another.
    pub(crate) fn renew(&mut self, name: Cow<'static, str>, location: &'static Location<'static>) {
        self.queued.store(false, Ordering::Relaxed);
        self.linked.store(false, Ordering::Relaxed);
        self.name = name;
        self.location = location;
        self.node = OnceLock::new();
    }

    pub(crate) fn name(&self) -> &Cow<'static, str> {
        &self.name
    }

    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Whether the branch, or what is around it, is cancelled, also during a grace.
    pub(crate) fn is_noticed(&self) -> bool {
        let own = self.node.get();
        own.is_some_and(|node| node.is_noticed()) || self.ready.region().is_noticed()
    }

    /// The branch's node, made now if there is none. Who cancels it wakes the branch.
    pub(crate) fn node(&self) -> &NodeRef {
        self.node.get_or_init(|| {
            let (kind, id) = (Kind::Scope, TaskId::OUTSIDE);
            let node = Node::new(kind, id, self.name.clone(), self.location, ());
            if let Some(backend) = self.ready.region().backend() {
                node.keep_backend(backend);
            }
            Arc::new(node)
        })
    }

    pub(crate) fn has_node(&self) -> bool {
        self.node.get().is_some()
    }

    /// The node, if the code of the branch stands there.
    pub(crate) fn linked(&self) -> Option<&NodeRef> {
        match self.linked.load(Ordering::Relaxed) {
            true => self.node.get(),
            false => None,
        }
    }

    /// Lets the code of the branch, which runs now or is about to, stand at a node of its own.
    pub(crate) fn join_tree(&self) {
        if self.linked().is_none() {
            self.node().link(self.ready.region());
            self.linked.store(true, Ordering::Relaxed);
        }
    }

    /// The address of the node that it is linked below.
    pub(super) fn region(&self) -> usize {
        self.ready.region().address()
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket {
            key: self.key.load(Ordering::Relaxed),
            serial: self.serial.load(Ordering::Relaxed),
        }
    }

    /// Gives the branch its place, which makes a first ticket.
    pub(super) fn place(&self, ticket: Ticket) {
        self.key.store(ticket.key, Ordering::Relaxed);
        self.serial.store(ticket.serial, Ordering::Relaxed);
        self.queued.store(true, Ordering::Release);
    }

    /// A poll begins: wakes from now on count for the next one.
    pub(super) fn begin(&self) {
        // Not a plain store: it has to see what those did who found it set.
        self.queued.swap(false, Ordering::AcqRel);
    }

    pub(super) fn is_woken(&self) -> bool {
        self.queued.load(Ordering::Acquire)
    }

    /// The branch has ended; whoever still wakes it is not heard.
    pub(super) fn end(&self) {
        self.queued.store(true, Ordering::Release);
    }

    /// A ticket, if the branch has none: for who puts it in the queue.
    pub(super) fn call(&self) -> Option<Ticket> {
        (!self.queued.swap(true, Ordering::AcqRel)).then(|| self.ticket())
    }

    /// Wakes the branch, from anywhere.
    pub(crate) fn wake(&self) {
        if let Some(ticket) = self.call() {
            self.ready.push(ticket);
        }
    }
}

impl Wake for Link {
    fn wake(self: Arc<Self>) {
        Link::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Link::wake(self);
    }
}
