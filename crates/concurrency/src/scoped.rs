use crate::deadline::Elapsed;
use crate::node::NodeRef;
use crate::outcome::Outcome;
use crate::owner::{Limit, Owner};
use crate::root::ShieldDropped;
use pin_project_lite::pin_project;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

pin_project! {
    /// A body in a scope of its own; every public form of cancel scope is one inside.
    pub(crate) struct Scoped<F> {
        owner: Owner,
        location: &'static Location<'static>,
        // Cancelled, body dropped, finalisers not over.
        cut: bool,
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
            this.owner.lose(|| this.body.set(None));
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
            cut: false,
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
        let started = this.owner.is_under_way();
        this.owner.arrive_scope(this.location, cx);
        if !*this.cut {
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
                let cut = match started {
                    true => this.owner.is_cut(),
                    false => this.owner.is_cut_first(cx),
                };
                if !cut {
                    return Poll::Pending;
                }
            }
            this.owner.cut(|| this.body.set(None));
            *this.cut = true;
        }
        if this.owner.poll_finalisers(cx).is_pending() {
            return Poll::Pending;
        }
        let outer = this.owner.outer_cancelled();
        let node = this.owner.node();
        // Without a cause of its own it was cut for an outer one, which a shield hides by now.
        let Some(cause) = node.own_cause().filter(|_| !outer) else {
            *this.frozen = true;
            this.owner.leave();
            return Poll::Pending;
        };
        node.note_caught();
        this.owner.leave();
        Poll::Ready(Outcome::Cancelled(cause))
    }

    /// How long the finalisers of the body may take together.
    pub(crate) fn finalise_within(mut self, span: Duration) -> Scoped<F> {
        self.owner.finalise_within(span);
        self
    }

    /// What to say of a scope that its deadline ended.
    pub(crate) fn elapsed(&self) -> Elapsed {
        Elapsed::new(self.owner.node().deadline(), self.location)
    }
}
