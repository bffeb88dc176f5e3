use crate::deadline::Elapsed;
use crate::node::NodeRef;
use crate::outcome::Outcome;
use crate::owner::{Limit, Owner};
use crate::root::ShieldDropped;
use pin_project_lite::pin_project;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// A body in a scope of its own; every public form of cancel scope is one inside.
    pub(crate) struct Scoped<F> {
        owner: Owner,
        location: &'static Location<'static>,
        // Cancelled from outside, body dropped: pending until the outer scope drops us.
        frozen: bool,
        #[pin]
        body: Option<F>,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.body.is_none() {
                return;
            }
            let lost = ShieldDropped::seen(this.owner);
            this.owner.inside(|| this.body.set(None));
            this.owner.leave();
            drop(lost);
        }
    }
}

impl<F: Future> Scoped<F> {
    pub(crate) fn new(
        node: Option<NodeRef>,
        limit: Limit,
        location: &'static Location<'static>,
        body: Option<F>,
    ) -> Scoped<F> {
        let mut owner = Owner::new(limit);
        if let Some(node) = node {
            owner.set_node(node);
        }
        Scoped {
            owner,
            location,
            frozen: false,
            body,
        }
    }

    /// The owner poll. `make` makes the body at the first poll where `new` was given none.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        make: impl FnOnce(&NodeRef) -> Option<F>,
    ) -> Poll<Outcome<F::Output>> {
        let mut this = self.project();
        if *this.frozen {
            return Poll::Pending;
        }
        this.owner.ensure_scope(this.location);
        let started = this.owner.is_under_way();
        this.owner.arrive(cx);
        if this.body.is_none() {
            let node = this.owner.node().clone();
            let made = this.owner.inside(|| make(&node));
            this.body.set(made);
        }
        let body = this.body.as_mut().as_pin_mut();
        let body = body.expect("a scope was polled after it had returned");
        // A body that waits for a hold goes on.
        if !(started && this.owner.node().is_eager() && this.owner.is_cut()) {
            if let Poll::Ready(value) = this.owner.inside(|| body.poll(cx)) {
                this.owner.inside(|| this.body.set(None));
                this.owner.leave();
                return Poll::Ready(Outcome::Done(value));
            }
            if !this.owner.is_cut() {
                return Poll::Pending;
            }
        }
        this.owner.inside(|| this.body.set(None));
        if this.owner.outer_cancelled() {
            *this.frozen = true;
            this.owner.leave();
            return Poll::Pending;
        }
        let node = this.owner.node();
        let cause = node.own_cause().expect("a cancelled node has its cause");
        node.note_caught();
        this.owner.leave();
        Poll::Ready(Outcome::Cancelled(cause))
    }

    /// What to say of a scope that its deadline ended.
    pub(crate) fn elapsed(&self) -> Elapsed {
        Elapsed::new(self.owner.node().deadline(), self.location)
    }
}
