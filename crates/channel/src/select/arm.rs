//! One operation of a select.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::{RecvError, SendError};
use crate::exchange::{
    Claimant, Exchange, Load, RecvAttempt, SendAttempt, SendProgress, TicketRef,
};
use crate::flavor::{Flavor, Threads};
use crate::receiver::RecvFuture;
use crate::sender::SendFuture;
use crate::wait_list::Key;

/// How an arm takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not at all.
    Disabled,
    /// It waits in the queue of a channel; what it was given can be given back.
    Recv,
    /// It waits in the queue of a channel; what was taken cannot be taken back.
    Send,
    /// It is polled.
    Future,
}

/// What came of trying an arm of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It took effect.
    Done,
    /// It has to wait.
    Waits,
    /// Another arm took effect.
    Lost,
}

/// One operation of a select; it keeps its outcome when it took effect.
pub trait Arm {
    /// How it takes part.
    fn kind(&self) -> Kind;

    /// Whether no other thread can come upon it in a queue.
    fn is_local(&self) -> bool {
        true
    }

    /// A random number of the channel.
    fn draw(&self) -> Option<u32> {
        None
    }

    /// Whether trying it will probably end in the queue. No more than a guess.
    fn will_wait(&self) -> bool {
        false
    }

    /// Tries an arm of a channel, which queues if `entry` says for whom.
    fn attempt(
        self: Pin<&mut Self>,
        _me: Claimant<'_>,
        _entry: Option<(TicketRef, usize)>,
    ) -> Attempt {
        Attempt::Waits
    }

    /// Polls an arm that is a future; true once it has its outcome.
    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> bool {
        false
    }

    /// Fetches the outcome that a peer decided for.
    fn conclude(self: Pin<&mut Self>) {}

    /// Leaves the queue of its channel.
    fn withdraw(self: Pin<&mut Self>) {}
}

/// A receive as an arm.
pub struct RecvArm<'a, T, F: Flavor = Threads> {
    exchange: &'a Exchange<T, F>,
    enabled: bool,
    key: Option<Key>,
    outcome: Option<Result<T, RecvError>>,
}

/// The outcome is owned, never pinned.
impl<T, F: Flavor> Unpin for RecvArm<'_, T, F> {}

impl<'a, T, F: Flavor> RecvArm<'a, T, F> {
    pub(crate) fn new(exchange: &'a Exchange<T, F>) -> Self {
        Self {
            exchange,
            enabled: true,
            key: None,
            outcome: None,
        }
    }

    /// The outcome of the arm that won.
    pub fn outcome(self: Pin<&mut Self>) -> Result<T, RecvError> {
        self.get_mut()
            .outcome
            .take()
            .expect("the arm that won has one")
    }
}

impl<T, F: Flavor> Arm for RecvArm<'_, T, F> {
    fn kind(&self) -> Kind {
        if self.enabled {
            Kind::Recv
        } else {
            Kind::Disabled
        }
    }

    fn is_local(&self) -> bool {
        F::IS_LOCAL
    }

    fn draw(&self) -> Option<u32> {
        Some(self.exchange.draw())
    }

    fn will_wait(&self) -> bool {
        self.exchange.recv_will_wait()
    }

    fn attempt(
        self: Pin<&mut Self>,
        me: Claimant<'_>,
        entry: Option<(TicketRef, usize)>,
    ) -> Attempt {
        let this = self.get_mut();
        match this.exchange.attempt_recv(me, entry, &mut this.key) {
            RecvAttempt::Done(outcome) => {
                this.outcome = Some(outcome);
                Attempt::Done
            }
            RecvAttempt::Parked | RecvAttempt::Empty => Attempt::Waits,
            RecvAttempt::Lost => Attempt::Lost,
        }
    }

    fn conclude(self: Pin<&mut Self>) {
        let this = self.get_mut();
        if let Some(key) = this.key.take() {
            this.outcome = Some(this.exchange.conclude_recv(key));
        }
    }

    fn withdraw(self: Pin<&mut Self>) {
        let this = self.get_mut();
        if let Some(key) = this.key.take() {
            this.exchange.leave_recv(key);
        }
    }
}

impl<T, F: Flavor> fmt::Debug for RecvArm<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvArm")
            .field("queued", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

/// A send as an arm.
pub struct SendArm<'a, T, F: Flavor = Threads> {
    exchange: &'a Exchange<T, F>,
    enabled: bool,
    /// Here unless it is in the queue or was sent.
    value: Option<T>,
    key: Option<Key>,
    outcome: Option<Result<(), SendError<T>>>,
}

/// The value is owned, never pinned.
impl<T, F: Flavor> Unpin for SendArm<'_, T, F> {}

impl<'a, T, F: Flavor> SendArm<'a, T, F> {
    pub(crate) fn new(exchange: &'a Exchange<T, F>, value: T) -> Self {
        Self {
            exchange,
            enabled: true,
            value: Some(value),
            key: None,
            outcome: None,
        }
    }

    /// The outcome of the arm that won.
    pub fn outcome(self: Pin<&mut Self>) -> Result<(), SendError<T>> {
        self.get_mut()
            .outcome
            .take()
            .expect("the arm that won has one")
    }

    /// The value of an arm that did not win.
    pub fn reclaim(self: Pin<&mut Self>) -> T {
        self.get_mut()
            .value
            .take()
            .expect("the arm that did not win has its value")
    }

    /// The value, unless the arm won.
    pub(crate) fn into_value(mut self) -> Option<T> {
        self.value.take()
    }
}

impl<T, F: Flavor> Arm for SendArm<'_, T, F> {
    fn kind(&self) -> Kind {
        if self.enabled {
            Kind::Send
        } else {
            Kind::Disabled
        }
    }

    fn is_local(&self) -> bool {
        F::IS_LOCAL
    }

    fn draw(&self) -> Option<u32> {
        Some(self.exchange.draw())
    }

    fn attempt(
        self: Pin<&mut Self>,
        me: Claimant<'_>,
        entry: Option<(TicketRef, usize)>,
    ) -> Attempt {
        let this = self.get_mut();
        let Some(value) = this.value.take() else {
            // It was a future that was polled before, and had sent its value.
            return if this.outcome.is_some() && me.win() {
                Attempt::Done
            } else {
                Attempt::Lost
            };
        };
        match this.exchange.attempt_send(value, me, entry) {
            SendAttempt::Done(outcome) => {
                this.outcome = Some(outcome);
                Attempt::Done
            }
            SendAttempt::Parked(key) => {
                this.key = Some(key);
                Attempt::Waits
            }
            SendAttempt::Full(value) => {
                this.value = Some(value);
                Attempt::Waits
            }
            SendAttempt::Lost(value) => {
                this.value = Some(value);
                Attempt::Lost
            }
        }
    }

    fn conclude(self: Pin<&mut Self>) {
        self.withdraw();
    }

    /// The outcome is kept if a peer has decided, and else the value.
    fn withdraw(self: Pin<&mut Self>) {
        let this = self.get_mut();
        if let Some(key) = this.key.take() {
            match this.exchange.leave_send(key) {
                Ok(outcome) => this.outcome = Some(outcome),
                Err(value) => this.value = Some(value),
            }
        }
    }
}

impl<T, F: Flavor> fmt::Debug for SendArm<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendArm")
            .field("queued", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

/// Any future as an arm. It is not dropped before the select is.
pub struct FutureArm<U: Future> {
    enabled: bool,
    future: U,
    outcome: Option<U::Output>,
}

impl<U: Future> FutureArm<U> {
    /// The outcome of the arm that won.
    pub fn outcome(self: Pin<&mut Self>) -> U::Output {
        self.project().1.take().expect("the arm that won has one")
    }

    #[expect(
        unsafe_code,
        reason = "a projection by hand, for one field in one place"
    )]
    fn project(self: Pin<&mut Self>) -> (Pin<&mut U>, &mut Option<U::Output>) {
        // SAFETY: `future` is pinned whenever the arm is: it is never moved, the
        // arm has no `Drop`, and its `Unpin` depends on all its fields.
        // `outcome` is never pinned.
        unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.outcome)
        }
    }
}

impl<U: Future> Arm for FutureArm<U> {
    fn kind(&self) -> Kind {
        if self.enabled {
            Kind::Future
        } else {
            Kind::Disabled
        }
    }

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> bool {
        let (future, outcome) = self.project();
        if outcome.is_none()
            && let Poll::Ready(output) = future.poll(context)
        {
            *outcome = Some(output);
        }
        outcome.is_some()
    }
}

impl<U: Future> fmt::Debug for FutureArm<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FutureArm").finish_non_exhaustive()
    }
}

/// Makes an arm of any future; operations of channels have a method of this
/// name of their own, which goes first.
pub trait IntoFutureArm: IntoFuture + Sized {
    /// An arm of the future.
    fn into_arm(self, enabled: bool) -> FutureArm<Self::IntoFuture> {
        FutureArm {
            enabled,
            future: self.into_future(),
            outcome: None,
        }
    }
}

impl<U: IntoFuture> IntoFutureArm for U {}

impl<'a, T, F: Flavor> RecvFuture<'a, T, F> {
    /// For the macros: the receive as an arm of a select.
    #[doc(hidden)]
    pub fn into_arm(self, enabled: bool) -> RecvArm<'a, T, F> {
        let (exchange, parked) = self.into_parts();
        if let Some(key) = parked {
            exchange.forget_recv(key);
        }
        RecvArm {
            enabled,
            ..RecvArm::new(exchange)
        }
    }
}

impl<'a, T, F: Flavor> SendFuture<'a, T, F> {
    /// For the macros: the send as an arm of a select.
    ///
    /// # Panics
    ///
    /// If it was polled and had finished.
    #[doc(hidden)]
    pub fn into_arm(self, enabled: bool) -> SendArm<'a, T, F> {
        let (exchange, progress) = self.into_parts();
        let mut arm = SendArm {
            exchange,
            enabled,
            value: None,
            key: None,
            outcome: None,
        };
        match progress {
            SendProgress::Unsent(Load::Value(value)) => arm.value = Some(value),
            SendProgress::Parked(key) => match exchange.leave_send(key) {
                Ok(outcome) => arm.outcome = Some(outcome),
                Err(value) => arm.value = Some(value),
            },
            SendProgress::Unsent(Load::Slot) | SendProgress::Finished => {
                panic!("a send was made an arm after it had finished")
            }
        }
        arm
    }
}
