//! Selects whose operations are known only when the program runs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::arm::{Arm, RecvArm, SendArm};
use super::arms::Arms;
use super::race::Race;
use crate::error::{RecvError, SendError};
use crate::flavor::{Flavor, Threads};
use crate::park;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::work;

/// A set of operations, put together when the program runs, of which one takes
/// effect at a time.
///
/// Arms are numbered in the order in which they were added. [`ready`](Self::ready)
/// waits for one; it can be asked again, as often as there are arms left: a
/// receive stays, a send is spent when it won, and a channel that has ended
/// leaves.
///
/// All channels carry values of one type; for channels of several types there
/// is [`select!`](crate::select).
///
/// # Examples
///
/// ```
/// use bowline_channel::{Select, Selected, bounded};
///
/// # futures_lite::future::block_on(async {
/// let channels: Vec<_> = (0..300).map(|_| bounded(1)).collect();
/// channels[217].0.try_send("hello").unwrap();
///
/// let mut select = Select::new();
/// for (_, receiver) in &channels {
///     select = select.recv(receiver);
/// }
/// let selected = select.ready().await;
/// assert_eq!(selected, Selected::Received(217, Ok("hello")));
/// # });
/// ```
pub struct Select<'a, T, F: Flavor = Threads> {
    arms: Vec<Operation<'a, T, F>>,
    biased: bool,
}

/// Which operation took effect, by the number of its arm, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected<T> {
    /// A receive.
    Received(usize, Result<T, RecvError>),
    /// A send.
    Sent(usize, Result<(), SendError<T>>),
}

enum Operation<'a, T, F: Flavor> {
    Recv(RecvArm<'a, T, F>),
    Send(SendArm<'a, T, F>),
    Spent(Spent),
}

/// An arm that takes part no more.
struct Spent;

impl Arm for Spent {
    fn kind(&self) -> super::arm::Kind {
        super::arm::Kind::Disabled
    }
}

impl<'a, T, F: Flavor> Select<'a, T, F> {
    /// No operation yet.
    pub fn new() -> Self {
        Self {
            arms: Vec::new(),
            biased: false,
        }
    }

    /// Of several operations that are ready the first one wins, not a random
    /// one.
    pub fn biased(mut self) -> Self {
        self.biased = true;
        self
    }

    /// Adds a receive.
    pub fn recv(mut self, receiver: &'a Receiver<T, F>) -> Self {
        self.add_recv(receiver);
        self
    }

    /// Adds a send.
    pub fn send(mut self, sender: &'a Sender<T, F>, value: T) -> Self {
        self.add_send(sender, value);
        self
    }

    /// Adds a receive; the number of its arm.
    pub fn add_recv(&mut self, receiver: &'a Receiver<T, F>) -> usize {
        self.add(Operation::Recv(RecvArm::new(receiver.exchange())))
    }

    /// Adds a send; the number of its arm.
    pub fn add_send(&mut self, sender: &'a Sender<T, F>, value: T) -> usize {
        self.add(Operation::Send(SendArm::new(sender.exchange(), value)))
    }

    fn add(&mut self, arm: Operation<'a, T, F>) -> usize {
        self.arms.push(arm);
        self.arms.len() - 1
    }

    /// Takes an arm out; the value of a send that did not win. The numbers of
    /// the others stay.
    pub fn remove(&mut self, arm: usize) -> Option<T> {
        let arm = self.arms.get_mut(arm)?;
        match std::mem::replace(arm, Operation::Spent(Spent)) {
            Operation::Send(arm) => arm.into_value(),
            Operation::Recv(_) | Operation::Spent(_) => None,
        }
    }

    /// Whether no arm is left that can win.
    pub fn is_empty(&self) -> bool {
        self.arms
            .iter()
            .all(|arm| matches!(arm, Operation::Spent(_)))
    }

    /// Waits until one operation took effect; for ever if there is none.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*, *place in queue lost*. The values of the sends stay
    /// with the `Select`, except one that a peer had taken: it was sent.
    pub fn ready(&mut self) -> ReadyFuture<'_, 'a, T, F> {
        let biased = self.biased;
        ReadyFuture {
            race: if biased {
                Race::biased(All(self))
            } else {
                Race::fair(All(self))
            },
        }
    }

    /// The operation that took effect without waiting, if one did.
    pub fn try_ready(&mut self) -> Option<Selected<T>> {
        let biased = self.biased;
        let mut race = if biased {
            Race::biased(All(self))
        } else {
            Race::fair(All(self))
        };
        let winner = race.attempt_once(&mut Context::from_waker(Waker::noop()))?;
        drop(race);
        Some(self.selected(winner))
    }

    /// Waits until one operation took effect, parking the thread.
    pub fn ready_blocking(&mut self) -> Selected<T> {
        park::wait_for(self.ready())
    }

    /// The outcome of the arm that won.
    fn selected(&mut self, winner: usize) -> Selected<T> {
        let arm = &mut self.arms[winner];
        let selected = match arm {
            Operation::Recv(recv) => {
                let outcome = Pin::new(recv).outcome();
                if outcome.is_ok() {
                    return Selected::Received(winner, outcome);
                }
                Selected::Received(winner, outcome)
            }
            Operation::Send(send) => Selected::Sent(winner, Pin::new(send).outcome()),
            Operation::Spent(_) => unreachable!("a spent arm does not win"),
        };
        *arm = Operation::Spent(Spent);
        selected
    }
}

impl<T, F: Flavor> Default for Select<'_, T, F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, F: Flavor> fmt::Debug for Select<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("arms", &self.arms.len())
            .field("biased", &self.biased)
            .finish_non_exhaustive()
    }
}

/// All arms of a [`Select`].
struct All<'s, 'a, T, F: Flavor>(&'s mut Select<'a, T, F>);

impl<T, F: Flavor> Arms for All<'_, '_, T, F> {
    fn count(&self) -> usize {
        self.0.arms.len()
    }

    fn arm(&mut self, index: usize) -> Pin<&mut (dyn Arm + '_)> {
        work::touch();
        match &mut self.0.arms[index] {
            Operation::Recv(arm) => Pin::<&mut RecvArm<'_, T, F>>::new(arm),
            Operation::Send(arm) => Pin::<&mut SendArm<'_, T, F>>::new(arm),
            Operation::Spent(arm) => Pin::<&mut Spent>::new(arm),
        }
    }
}

/// The future of [`Select::ready`].
///
/// # Panics
///
/// If it is polled again after it has finished.
#[must_use = "a select does nothing unless it is awaited"]
pub struct ReadyFuture<'s, 'a, T, F: Flavor = Threads> {
    race: Race<All<'s, 'a, T, F>>,
}

impl<T, F: Flavor> Future for ReadyFuture<'_, '_, T, F> {
    type Output = Selected<T>;

    #[expect(unsafe_code, reason = "a projection by hand, for the only field")]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Selected<T>> {
        // SAFETY: `race` is pinned whenever this is: it is never moved out, this
        // has no `Drop`, and is `Unpin` only if `race` is.
        let mut race = unsafe { self.map_unchecked_mut(|this| &mut this.race) };
        let winner = std::task::ready!(race.as_mut().poll(context));
        Poll::Ready(race.selected(winner))
    }
}

impl<T, F: Flavor> Race<All<'_, '_, T, F>> {
    /// The outcome of the arm that won.
    fn selected(self: Pin<&mut Self>, winner: usize) -> Selected<T> {
        self.arms_mut().0.selected(winner)
    }
}

impl<T, F: Flavor> fmt::Debug for ReadyFuture<'_, '_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadyFuture").field(&self.race).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;
    use crate::rendezvous;

    struct Idle;

    impl Wake for Idle {
        fn wake(self: std::sync::Arc<Self>) {}
    }

    /// What it takes to wait at so many channels, to be polled for nothing, to be woken by the
    /// one in the middle, to be found decided by its neighbour, and to fetch the value and leave.
    fn work(arms: usize) -> [usize; 5] {
        let channels: Vec<_> = (0..arms).map(|_| rendezvous()).collect();
        let mut set = Select::new();
        for (_, receiver) in &channels {
            set.add_recv(receiver);
        }
        let waker = Waker::from(std::sync::Arc::new(Idle));
        let mut context = Context::from_waker(&waker);
        let mut waiting = std::pin::pin!(set.ready());
        let middle = arms / 2;

        let (enter, polled) = work::count(|| waiting.as_mut().poll(&mut context));
        assert!(polled.is_pending());
        let (again, polled) = work::count(|| waiting.as_mut().poll(&mut context));
        assert!(polled.is_pending());
        let (wake, sent) = work::count(|| channels[middle].0.try_send(7));
        assert!(sent.is_ok());
        let (stale, sent) = work::count(|| channels[middle - 1].0.try_send(8));
        assert!(sent.is_err());
        let (leave, polled) = work::count(|| waiting.as_mut().poll(&mut context));
        assert_eq!(polled, Poll::Ready(Selected::Received(middle, Ok(7))));
        [enter, again, wake, stale, leave]
    }

    // CH32
    #[test]
    fn a_wake_costs_the_same_at_any_number_of_arms_and_the_rest_grows_linearly() {
        let [few_enter, few_again, few_wake, few_stale, few_leave] = work(10);
        let [enter, again, wake, stale, leave] = work(1_000);
        assert_eq!((wake, stale, again), (few_wake, few_stale, few_again));
        assert!(
            wake < 20 && stale < 20 && again < 20,
            "{wake} {stale} {again}"
        );
        assert!(
            few_enter >= 10 && few_leave >= 10,
            "{few_enter} {few_leave}"
        );
        assert!(
            enter <= 100 * few_enter && leave <= 100 * few_leave,
            "{enter} {leave}"
        );
    }
}
