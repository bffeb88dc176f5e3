use super::{Branches, Ended, Seat};
use crate::ambient;
use crate::caught::{PanicPayload, discard, guarded, keep_first};
use crate::cause::{Cause, CauseKind, clock_of};
use crate::node::NodeRef;
use crate::owner::{self, Limit, Owner};
use crate::task_group::{ChildError, ChildErrorKind};
use std::borrow::Cow;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

/// Futures of one type that run side by side below one node, so many at a time: what the
/// combinators have in common.
///
/// Invariants:
/// 1. It is over, or resumes a panic, only after every future it took was dropped.
/// 2. What a future answers is told once, unless another one has panicked.
/// 3. After a cancel no further future is started.
pub(crate) struct Cohort<F: Future> {
    owner: Owner,
    location: &'static Location<'static>,
    crew: Crew<F>,
    over: Option<Halt>,
    /// Where it stands while that is above whoever polls it; none to stand right below the poller.
    home: Option<NodeRef>,
}

/// Apart from the owner, at whose node it runs.
struct Crew<F: Future> {
    branches: Branches<Pin<Box<F>>, usize>,
    waiting: vec::IntoIter<F>,
    started: usize,
    limit: usize,
    panic: Option<PanicPayload>,
    /// Some did not come to their end.
    cut: bool,
}

/// What the end of one means for the rest.
pub(crate) enum Next {
    GoOn,
    /// The rest is cancelled for this reason.
    Cancel(CauseKind),
    /// The poll ends here.
    Return,
}

/// Why a poll came to its end.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It was told to.
    Returned,
    /// There is none left.
    Over,
    /// The same, but some were dropped while code outside was cancelled: nobody is to hear of it.
    CutOutside,
}

/// Futures are pinned in their boxes, and not before.
impl<F: Future> Unpin for Cohort<F> {}

impl<F: Future> Cohort<F> {
    pub(crate) fn new(
        futures: impl IntoIterator<Item = F>,
        limit: usize,
        location: &'static Location<'static>,
    ) -> Cohort<F> {
        let waiting: Vec<F> = futures.into_iter().collect();
        let node = owner::new_scope(Cow::Borrowed(""), location);
        let mut owner = Owner::new(Limit::Never);
        owner.set_node(node.clone());
        Cohort {
            owner,
            location,
            crew: Crew {
                branches: Branches::new(node),
                waiting: waiting.into_iter(),
                started: 0,
                limit,
                panic: None,
                cut: false,
            },
            over: None,
            home: None,
        }
    }

    /// Stands where it was made: a scope that is only around a poll of it has no hold on it.
    pub(crate) fn at_home(mut self) -> Self {
        self.home = ambient::current();
        self
    }

    /// How many have not ended.
    pub(crate) fn len(&self) -> usize {
        self.crew.len()
    }

    /// Polls those that were woken, and tells of each that ends.
    ///
    /// # Panics
    ///
    /// Resumes the first panic of a future, when all are gone.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut told: impl FnMut(usize, F::Output) -> Next,
    ) -> Poll<Halt> {
        if let Some(over) = self.over {
            return Poll::Ready(over);
        }
        self.arrive(cx);
        let node = self.owner.node().clone();
        node.take_up_holds();
        let (crew, location) = (&mut self.crew, self.location);
        if self.owner.inside(|| crew.run(&node, location, &mut told)) {
            node.end_poll();
            return Poll::Ready(Halt::Returned);
        }
        if crew.len() > 0 {
            crew.branches.end(cx);
            self.owner.wait_cut();
            return Poll::Pending;
        }
        // Cut for a cancel outside, which a shield may hide by now.
        let cut_outside = self.owner.outer_cancelled() || node.own_cause().is_none();
        let over = match crew.cut && cut_outside {
            true => Halt::CutOutside,
            false => Halt::Over,
        };
        self.owner.leave();
        self.over = Some(over);
        if let Some(panic) = self.crew.panic.take() {
            resume_unwind(panic);
        }
        Poll::Ready(over)
    }

    /// Nobody polls it until somebody does again: what holds in it does not keep the scopes around.
    pub(crate) fn rest(&mut self) {
        if self.over.is_none() && self.crew.started > 0 {
            self.owner.node().rest_holds();
        }
    }

    fn arrive(&mut self, cx: &mut Context<'_>) {
        let Some(home) = self.home.take() else {
            return self.owner.arrive(cx);
        };
        let home = match ambient::is_below(&home) {
            true => Some(home),
            // It was taken out of there.
            false => ambient::current(),
        };
        ambient::inside(home.as_ref(), false, || self.owner.arrive(cx));
        self.home = home;
    }

    /// Why the rest was cancelled, if it was.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.over.and_then(|_| self.owner.node().own_cause())
    }
}

impl<F: Future> Crew<F> {
    fn len(&self) -> usize {
        self.branches.len() + self.waiting.len()
    }

    /// Whether it was told to return.
    fn run(
        &mut self,
        node: &NodeRef,
        location: &'static Location<'static>,
        told: &mut impl FnMut(usize, F::Output) -> Next,
    ) -> bool {
        // Whoever was cancelled before gets one poll.
        let mut first = self.started == 0;
        self.branches.begin();
        self.branches.sweep(node.is_cancelled());
        loop {
            self.fill(std::mem::take(&mut first), node, location);
            let Some(ticket) = self.branches.next() else {
                return false;
            };
            let ended = self.branches.poll(ticket);
            self.branches.sweep(node.is_cancelled());
            let Some((_, index, ended)) = ended else {
                continue;
            };
            let cancel = match ended {
                Ended::Done(output) if self.panic.is_some() => {
                    discard(output);
                    continue;
                }
                Ended::Done(output) => match told(index, output) {
                    Next::GoOn => continue,
                    Next::Return => return true,
                    Next::Cancel(kind) => kind,
                },
                Ended::Panicked(panic) => {
                    keep_first(&mut self.panic, panic);
                    CauseKind::SiblingFailed
                }
                Ended::Cancelled(_) => {
                    self.cut = true;
                    continue;
                }
            };
            self.drop_waiting();
            let cause = || {
                let by = ambient::task_id();
                Cause::new(cancel, position(index), location, by, clock_of(node))
            };
            if let Err(panic) = guarded(|| node.cancel(cause)) {
                keep_first(&mut self.panic, panic);
            }
            self.branches.sweep(node.is_cancelled());
        }
    }

    /// Starts as many as there is room for.
    fn fill(&mut self, first: bool, node: &NodeRef, location: &'static Location<'static>) {
        while self.branches.len() < self.limit {
            if !first && node.is_cancelled() {
                return self.drop_waiting();
            }
            let Some(future) = self.waiting.next() else {
                return;
            };
            let link = self.branches.bell().link(Cow::Borrowed(""), location);
            let seat = Seat::new(Arc::new(link), None);
            self.branches.add(seat, Box::pin(future), self.started);
            self.started += 1;
        }
    }

    fn drop_waiting(&mut self) {
        for future in std::mem::take(&mut self.waiting) {
            self.cut = true;
            if let Err(panic) = guarded(|| drop(future)) {
                keep_first(&mut self.panic, panic);
            }
        }
    }
}

impl<F: Future> Drop for Cohort<F> {
    fn drop(&mut self) {
        if self.over.is_some() || self.crew.started == 0 {
            return;
        }
        let crew = &mut self.crew;
        self.owner.lose(|| {
            discard(crew.panic.take());
            crew.panic = crew.branches.lose(drop);
            crew.drop_waiting();
            let first = crew.panic.take();
            if let Some(panic) = first
                && !std::thread::panicking()
            {
                resume_unwind(panic);
            }
        });
    }
}

/// One of the errors of a combinator: named for the position of the future that failed.
pub(crate) fn failed<E>(index: usize, error: E) -> ChildError<E> {
    let kind = ChildErrorKind::Failed(error);
    ChildError::new(ambient::task_id(), position(index), kind)
}

fn position(index: usize) -> Cow<'static, str> {
    Cow::Owned(index.to_string())
}
