//! Several futures run side by side in one task: the engine of scopes and combinators.

mod cohort;
mod link;
mod ready;
mod seat;

pub(crate) use cohort::{Cohort, Halt, Next, failed};
pub(crate) use link::Link;
pub(crate) use ready::{Bell, Ticket};
pub(crate) use seat::{Ended, Seat};

use crate::caught::{PanicPayload, keep_first};
use crate::node::NodeRef;
use ready::Turns;
use slab::Slab;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Branches of one type, each with a note of what it is for. Only those that were woken are
/// polled.
pub(crate) struct Branches<F, N> {
    slab: Slab<Branch<F, N>>,
    turns: Turns,
    /// Branches so far.
    serial: usize,
    /// Polls of the task so far.
    round: u64,
    /// All were told of the cancel around them.
    swept: bool,
}

struct Branch<F, N> {
    seat: Seat,
    body: Option<F>,
    note: N,
}

impl<F: Future + Unpin, N> Branches<F, N> {
    /// Those of what stands at `region`.
    pub(crate) fn new(region: NodeRef) -> Self {
        Branches {
            slab: Slab::new(),
            turns: Turns::new(region),
            serial: 0,
            round: 0,
            swept: false,
        }
    }

    pub(crate) fn bell(&self) -> Bell {
        self.turns.bell()
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Takes a branch in; it is polled when those have been that were woken before.
    pub(crate) fn add(&mut self, seat: Seat, body: F, note: N) {
        let key = self.slab.vacant_key();
        self.turn_of(&seat, key);
        self.slab.insert(Branch {
            seat,
            body: Some(body),
            note,
        });
    }

    /// Gives a branch that is kept elsewhere its turns.
    pub(crate) fn turn_of(&mut self, seat: &Seat, key: usize) -> Ticket {
        self.serial += 1;
        let ticket = Ticket {
            key,
            serial: self.serial,
        };
        seat.link().place(ticket);
        self.turns.add(ticket);
        ticket
    }

    pub(crate) fn begin(&mut self) {
        self.round += 1;
        self.turns.begin();
    }

    pub(crate) fn next(&mut self) -> Option<Ticket> {
        self.turns.next(self.swept)
    }

    /// Whether who comes now waits for the next poll: only those that were there at the cancel have
    /// their last one in this.
    pub(crate) fn is_overtime(&self) -> bool {
        self.turns.is_overtime()
    }

    /// After a cancel of the region lets every branch have its last poll: those that have no node
    /// are not told by the tree. True if those that are kept elsewhere have to be
    /// [called](Branches::call) for it.
    pub(crate) fn sweep(&mut self, cancelled: bool) -> bool {
        if self.swept == cancelled {
            return false;
        }
        self.swept = cancelled;
        if cancelled {
            for (_, branch) in &self.slab {
                self.turns.call(branch.seat.link());
            }
        }
        cancelled
    }

    pub(crate) fn call(&mut self, seat: &Seat) {
        self.turns.call(seat.link());
    }

    pub(crate) fn end(&mut self, cx: &mut Context<'_>) {
        self.turns.end(cx);
    }

    /// Polls the branch that the ticket is for; answers how it ended, if it did.
    pub(crate) fn poll(&mut self, ticket: Ticket) -> Option<(Arc<Link>, N, Ended<F::Output>)> {
        let branch = self.slab.get_mut(ticket.key)?;
        let body = Pin::new(&mut branch.body);
        let ended = poll_seat(
            &mut branch.seat,
            body,
            ticket,
            self.round,
            self.swept,
            &mut self.turns,
        )?;
        let branch = self.slab.remove(ticket.key);
        Some((branch.seat.into_link(), branch.note, ended))
    }

    /// The same for one that is kept elsewhere.
    pub(crate) fn poll_at<G: Future>(
        &mut self,
        ticket: Ticket,
        seat: &mut Seat,
        body: Pin<&mut Option<G>>,
    ) -> Option<Ended<G::Output>> {
        poll_seat(seat, body, ticket, self.round, self.swept, &mut self.turns)
    }

    /// Drops every body, in the order of the keys, and gives the notes to `told`. Answers the first
    /// panic.
    pub(crate) fn lose(&mut self, mut told: impl FnMut(N)) -> Option<PanicPayload> {
        let mut first = None;
        for mut branch in std::mem::take(&mut self.slab).into_iter().map(|(_, b)| b) {
            let lost = branch.seat.lose(Pin::new(&mut branch.body));
            if let Err(panic) = lost {
                keep_first(&mut first, panic);
            }
            told(branch.note);
        }
        first
    }
}

fn poll_seat<F: Future>(
    seat: &mut Seat,
    body: Pin<&mut Option<F>>,
    ticket: Ticket,
    round: u64,
    swept: bool,
    turns: &mut Turns,
) -> Option<Ended<F::Output>> {
    if !seat.is(ticket) {
        return None;
    }
    // After a cancel everybody has one more poll, also who has just yielded.
    let had_its_turn = match swept {
        true => std::mem::replace(&mut seat.last_call, round) == round,
        false => seat.yielded == round,
    };
    if had_its_turn {
        turns.put_off(ticket);
        return None;
    }
    seat.link().begin();
    match seat.poll(body) {
        Poll::Ready(ended) => Some(ended),
        Poll::Pending => {
            if seat.link().is_woken() {
                seat.yielded = round;
            }
            None
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::node::{Node, Payload};
    use crate::{ambient, gather, scope, sleep_forever};
    use std::cell::RefCell;
    use std::pin::pin;
    use std::sync::{Arc, Mutex, Weak};
    use std::task::{Context, Poll, Waker};

    type Left = Mutex<Vec<Weak<Node<dyn Payload>>>>;

    fn note(left: &Left) {
        let node = ambient::current().expect("a branch has a node");
        left.lock().unwrap().push(Arc::downgrade(&node));
    }

    /// The node of a branch has the waker, which owns the node.
    #[test]
    fn no_node_outlives_its_branch() {
        let left = Left::default();
        let mut cx = Context::from_waker(Waker::noop());
        for cancel in [true, false] {
            let mut running = pin!(scope::<(), (), _, _>(|scope| {
                let left = &left;
                async move {
                    note(left);
                    scope.spawn_ok(async move { note(left) });
                    scope.spawn_ok(async move {
                        note(left);
                        sleep_forever().await
                    });
                    if cancel {
                        scope.cancel("x");
                    }
                    sleep_forever().await;
                    Ok(())
                }
            }));
            let polled = running.as_mut().poll(&mut cx);
            assert_eq!(polled.is_ready(), cancel);
        }
        let kept = RefCell::new(None);
        {
            let mut running = pin!(gather([0, 1].map(|n| {
                let (left, kept) = (&left, &kept);
                async move {
                    note(left);
                    std::future::poll_fn(|cx| {
                        *kept.borrow_mut() = Some(cx.waker().clone());
                        Poll::<()>::Pending
                    })
                    .await;
                    Ok::<_, ()>(n)
                }
            })));
            assert!(running.as_mut().poll(&mut cx).is_pending());
        }
        // One that a foreign waker keeps does no harm.
        let left = left.into_inner().unwrap();
        let alive = || left.iter().filter(|node| node.strong_count() > 0).count();
        assert_eq!((left.len(), alive()), (8, 1));
        let waker = kept.take().expect("it was polled");
        waker.wake_by_ref();
        drop(waker);
        assert_eq!(alive(), 0);
    }
}
