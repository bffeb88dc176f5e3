//! The ticket of one select: whoever claims it first decides which arm wins.

#![expect(
    unsafe_code,
    reason = "entries in the wait lists of several channels point to one ticket inside the future \
              of the select; counting references instead costs two atomic operations an arm"
)]

use std::fmt;
use std::ptr::NonNull;
use std::task::Waker;

use crate::memory::{AtomicUsize, LooseCell, Ordering, pause};
use crate::work;

/// Nobody has decided; any peer may claim.
const OPEN: usize = usize::MAX;
/// Somebody is about to decide, or its owner is changing the waker.
const HELD: usize = usize::MAX - 1;
/// The owner has left; nobody wins any more.
const RETIRED: usize = usize::MAX - 2;

/// Decides which arm of a select takes effect, at most once.
///
/// The state is `OPEN`, `HELD`, `RETIRED` or the number of the arm that won. A
/// peer that finds an arm of a parked select claims its ticket. A peer that is
/// a select itself must win both its own ticket and the other one, or neither:
/// it holds its own while it claims the other. Two that hold their own while
/// they want the other's cannot both wait: the one at the lower address lets
/// go (the scheme of "Parallel Concurrent ML", Reppy, Russo and Xiao 2009).
///
/// Invariants:
/// 1. From `OPEN` the state goes to `HELD`, `RETIRED` or a winner; `HELD` is
///    left only by who entered it; a winner and `RETIRED` are final.
/// 2. Nobody takes a lock or runs foreign code while it holds a ticket. So
///    who waits for a held one waits a moment only.
/// 3. The waker is touched by who holds the ticket, by who claimed it (once),
///    and by the owner before it published the ticket or after it was decided.
/// 4. A local ticket is used by one thread at a time, and found by others in no
///    queue: all channels among the arms of its select are local.
pub(crate) struct Ticket {
    state: AtomicUsize,
    is_local: bool,
    waker: LooseCell<Option<Waker>>,
}

// SAFETY: the waker is `Send`, and by invariant 3 one thread at a time touches
// it, in the order of the acquiring and releasing changes of the state.
unsafe impl Sync for Ticket {}

/// Why a ticket could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Held,
    Decided,
}

impl Ticket {
    /// Of a select that peers in other threads may come upon.
    pub(crate) fn between_threads() -> Self {
        Self::new(false)
    }

    /// Of a select that only its own thread comes upon.
    pub(crate) fn local() -> Self {
        Self::new(true)
    }

    fn new(is_local: bool) -> Self {
        Self {
            state: AtomicUsize::new(OPEN),
            is_local,
            waker: LooseCell::new(None),
        }
    }

    #[cfg(test)]
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

    /// Changes the state from `OPEN`; what it is instead, if it is another.
    #[inline]
    fn leave_open(&self, to: usize) -> Result<(), usize> {
        work::touch();
        if !self.is_local {
            let exchanged =
                self.state
                    .compare_exchange(OPEN, to, Ordering::AcqRel, Ordering::Acquire);
            return exchanged.map(drop);
        }
        // Nobody comes between the two (invariant 4), so this needs no locked instruction.
        match self.state.load(Ordering::Relaxed) {
            OPEN => {
                self.state.store(to, Ordering::Relaxed);
                Ok(())
            }
            other => Err(other),
        }
    }

    /// The arm that won, if that is decided.
    pub(crate) fn winner(&self) -> Option<usize> {
        work::touch();
        let state = self.state.load(Ordering::Acquire);
        (state < RETIRED).then_some(state)
    }

    /// Whether nobody can win any more. A moment later that may be so though it
    /// was not.
    pub(crate) fn is_decided(&self) -> bool {
        !matches!(self.state.load(Ordering::Acquire), OPEN | HELD)
    }

    /// Decides for `arm`, unless it is decided already.
    pub(crate) fn win(&self, arm: usize) -> bool {
        let held = self.hold();
        if held {
            self.state.store(arm, Ordering::Release);
        }
        held
    }

    /// Makes sure that no arm wins from now on; tells the one that has.
    pub(crate) fn retire(&self) -> Option<usize> {
        if self.hold() {
            self.state.store(RETIRED, Ordering::Release);
        }
        self.winner()
    }

    /// Says whom to wake, and returns the waker it replaces; without effect
    /// when the ticket is decided, for then nobody will be woken.
    pub(crate) fn set_waker(&self, waker: Waker) -> Option<Waker> {
        if !self.hold() {
            return Some(waker);
        }
        // SAFETY: we hold the ticket (invariant 3).
        let replaced = self.waker.with(|place| unsafe { (*place).replace(waker) });
        self.release();
        replaced
    }

    /// Like [`set_waker`](Self::set_waker), before others know the ticket.
    pub(crate) fn set_first_waker(&mut self, waker: Waker) {
        // SAFETY: the borrow is exclusive.
        self.waker.with(|place| unsafe { *place = Some(waker) });
    }

    /// Whether the waker in place wakes the same task as `waker`. For the owner.
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        if !self.hold() {
            return false;
        }
        // SAFETY: we hold the ticket (invariant 3).
        let same = self.waker.with(|place| unsafe {
            (*place)
                .as_ref()
                .is_some_and(|known| known.will_wake(waker))
        });
        self.release();
        same
    }

    /// Decides for `arm` on behalf of a peer, which is to wake what it returns.
    fn claim(&self, arm: usize) -> Result<Option<Waker>, Refusal> {
        match self.leave_open(arm) {
            // SAFETY: we are the one that claimed it (invariant 3).
            Ok(()) => Ok(self.waker.with(|place| unsafe { (*place).take() })),
            Err(HELD) => Err(Refusal::Held),
            Err(_) => Err(Refusal::Decided),
        }
    }

    /// The waker of a select that the caller decided just now on its behalf,
    /// under the lock of a channel where an entry of it is.
    pub(crate) fn take_waker(&self) -> Option<Waker> {
        // SAFETY: as in `claim`, we are the one that decided it (invariant 3).
        self.waker.with(|place| unsafe { (*place).take() })
    }

    /// Keeps others from deciding, unless it is decided.
    fn hold(&self) -> bool {
        let mut round = 0;
        loop {
            match self.leave_open(HELD) {
                Ok(()) => return true,
                Err(HELD) => pause(&mut round),
                Err(_) => return false,
            }
        }
    }

    fn release(&self) {
        self.state.store(OPEN, Ordering::Release);
    }

    fn is_held(&self) -> bool {
        self.state.load(Ordering::Relaxed) == HELD
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.winner()).finish()
    }
}

/// Points to the ticket of a select that waits.
#[derive(Clone, Copy)]
pub struct TicketRef(NonNull<Ticket>);

// SAFETY: a ticket is `Sync`, and `TicketRef::new` keeps it alive.
unsafe impl Send for TicketRef {}

impl TicketRef {
    /// # Safety
    ///
    /// The ticket must neither move nor go before every entry that got a copy
    /// of this was removed from its wait list, under the lock of its channel.
    pub(crate) unsafe fn new(ticket: &Ticket) -> Self {
        Self(NonNull::from(ticket))
    }

    /// The ticket. For entries that are in a wait list, under its lock.
    pub(crate) fn ticket(&self) -> &Ticket {
        // SAFETY: the entry that holds this is in its list, so the ticket lives.
        unsafe { self.0.as_ref() }
    }
}

impl fmt::Debug for TicketRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TicketRef").finish()
    }
}

/// On whose behalf an operation is attempted.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    ticket: Option<&'a Ticket>,
    arm: usize,
}

/// What came of the attempt to match a claimant with a waiting select.
#[derive(Debug)]
pub(crate) enum Match {
    /// Both are committed; here is whom to wake.
    Made(Option<Waker>),
    /// The other one was decided elsewhere.
    Gone,
    /// The claimant itself was decided elsewhere.
    Lost,
}

impl<'a> Claimant<'a> {
    /// An operation of its own, which nobody else can decide.
    pub(crate) const ALONE: Self = Self {
        ticket: None,
        arm: 0,
    };

    /// The `arm` of a select whose ticket others may know already.
    pub(crate) fn arm_of(ticket: &'a Ticket, arm: usize) -> Self {
        Self {
            ticket: Some(ticket),
            arm,
        }
    }

    /// Whether this is the select with that ticket.
    pub(crate) fn is(&self, other: &Ticket) -> bool {
        self.ticket.is_some_and(|mine| std::ptr::eq(mine, other))
    }

    /// Commits to the attempted operation; not if it is decided elsewhere.
    #[inline]
    pub(crate) fn win(&self) -> bool {
        match self.ticket {
            None => true,
            Some(ticket) => ticket.win(self.arm),
        }
    }

    /// Commits this and the select with the ticket `other`, or neither.
    pub(crate) fn match_with(&self, other: &Ticket, other_arm: usize) -> Match {
        let mut round = 0;
        let Some(mine) = self.ticket else {
            loop {
                match other.claim(other_arm) {
                    Ok(waker) => return Match::Made(waker),
                    Err(Refusal::Decided) => return Match::Gone,
                    Err(Refusal::Held) => pause(&mut round),
                }
            }
        };
        loop {
            if !mine.hold() {
                return Match::Lost;
            }
            loop {
                match other.claim(other_arm) {
                    Ok(waker) => {
                        mine.state.store(self.arm, Ordering::Release);
                        return Match::Made(waker);
                    }
                    Err(Refusal::Decided) => {
                        mine.release();
                        return Match::Gone;
                    }
                    Err(Refusal::Held) if std::ptr::from_ref(mine) < std::ptr::from_ref(other) => {
                        break;
                    }
                    Err(Refusal::Held) => pause(&mut round),
                }
            }
            // It may want ours; let it have its way first.
            mine.release();
            while other.is_held() {
                pause(&mut round);
            }
        }
    }
}
