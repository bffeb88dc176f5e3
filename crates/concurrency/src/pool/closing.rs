//! A closing of an item, which may change hands before it is over.

use crate::node::NodeRef;
use crate::owner::{self, Limit, Owner};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What `close_with` made of an item. It is polled by whoever holds the place, and left half-way
/// where that one is dropped; with something in it that holds it goes to the root, which finishes it.
///
/// Invariants:
/// 1. It runs in a scope that no cancel and no deadline reaches: one that cuts the holder cuts or
///    freezes nothing in here. The holder is held only by what in here holds by itself, such as a
///    task group, whose children are not to outlive it.
/// 2. In the tree it stands where it is polled, and nowhere between two holders.
pub(super) struct Closing {
    owner: Owner,
    /// Until it is over.
    body: Option<Body>,
}

type Body = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Closing {
    pub(super) fn new(body: Body, location: &'static Location<'static>) -> Closing {
        let node = owner::new_scope(Cow::Borrowed("closing"), location);
        node.set_loose_mask();
        let mut owner = Owner::new(Limit::Never);
        owner.set_node(node);
        Closing {
            owner,
            body: Some(body),
        }
    }

    /// To be polled by the holder of the place.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Closing { owner, body } = self;
        let Some(running) = body else {
            return Poll::Ready(());
        };
        owner.arrive(cx);
        if owner.inside(|| running.as_mut().poll(cx)).is_pending() {
            owner.arm();
            return Poll::Pending;
        }
        owner.inside(|| *body = None);
        owner.leave();
        Poll::Ready(())
    }

    /// Where it stands, if something in it holds: it cannot rest.
    pub(super) fn held_at(&self) -> Option<NodeRef> {
        let node = self.owner.node();
        (self.body.is_some() && node.is_held()).then(|| node.clone())
    }

    /// The holder goes; another one may poll this later, elsewhere.
    pub(super) fn rest(&mut self) {
        self.owner.rest();
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let Closing { owner, body } = self;
        if body.is_some() {
            owner.inside(|| *body = None);
        }
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing").finish_non_exhaustive()
    }
}
