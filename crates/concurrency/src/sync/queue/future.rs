use super::Queue;
use super::error::{Closed, QueueSendError};
use super::job::Job;
use super::state::{Incoming, Outgoing, State};
use crate::node::Waiting;
use crate::sync::guarded::{After, Guarded};
use crate::sync::leaf::{Claim, leaf_future};
use crate::sync::waiters::{Arrival, Waiters};
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

leaf_future! {
    /// Future of [`Queue::send`].
    pub struct QueueSend['a, T](Sending<'a, T>) -> Result<(), QueueSendError<T>>;
}

leaf_future! {
    /// Future of [`Queue::recv`].
    pub struct QueueRecv['a, T](Receiving<'a, T>) -> Result<T, Closed>;
}

leaf_future! {
    /// Future of [`Queue::join`].
    pub struct QueueJoin['a, T](Joining<'a, T>) -> ();
}

/// Future of [`Queue::recv_job`].
#[must_use = "this does nothing until it is awaited"]
pub struct QueueRecvJob<'a, T> {
    queue: &'a Queue<T>,
    recv: QueueRecv<'a, T>,
}

impl<'a, T> QueueRecvJob<'a, T> {
    pub(super) fn new(queue: &'a Queue<T>) -> Self {
        let recv = queue.recv();
        QueueRecvJob { queue, recv }
    }
}

impl<'a, T> Future for QueueRecvJob<'a, T> {
    type Output = Result<Job<'a, T>, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let received = ready!(Pin::new(&mut self.recv).poll(cx));
        Poll::Ready(received.map(|value| Job::new(self.queue, value)))
    }
}

impl<T> fmt::Debug for QueueRecvJob<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueRecvJob").field(&self.recv).finish()
    }
}

/// Sending a value.
pub(in crate::sync) struct Sending<'a, T> {
    /// Until it is sent or lies in the waiter's place.
    value: Option<T>,
    queue: PhantomData<&'a Queue<T>>,
}

impl<T> Sending<'_, T> {
    pub(super) const fn new(value: T) -> Self {
        Sending {
            value: Some(value),
            queue: PhantomData,
        }
    }

    fn value(&mut self) -> T {
        let value = self.value.take();
        value.expect("a send has its value until it is sent or waits")
    }
}

impl<'a, T> Claim for Sending<'a, T> {
    const WAITING: Waiting = Waiting::QueueSend;

    type Handle = &'a Queue<T>;
    type State = State<T>;
    type Extra = Outgoing<T>;
    type Output = Result<(), QueueSendError<T>>;

    fn guarded<'h>(handle: &'h &'a Queue<T>) -> &'h Guarded<State<T>> {
        &handle.guarded
    }

    fn waiters(state: &mut State<T>) -> &mut Waiters<Outgoing<T>> {
        &mut state.senders
    }

    #[inline(always)]
    fn begin(
        &mut self,
        _: &&'a Queue<T>,
        state: &mut State<T>,
        after: &mut After,
    ) -> Option<Self::Output> {
        if state.closed {
            return Some(Err(QueueSendError(self.value())));
        }
        if !state.may_send() {
            return None;
        }
        state.accept(self.value(), after);
        Some(Ok(()))
    }

    fn extra(&mut self, _: &mut State<T>, _: &Arrival) -> Outgoing<T> {
        Outgoing::Waiting(self.value())
    }

    fn pump(state: &mut State<T>, after: &mut After) {
        state.pump(after);
    }

    fn retry(
        &mut self,
        _: &&'a Queue<T>,
        state: &mut State<T>,
        key: usize,
        after: &mut After,
    ) -> Option<Self::Output> {
        // It was frozen when the queue was closed.
        state
            .closed
            .then(|| state.senders.remove(key, after).0.outcome())
    }

    fn finish(
        &mut self,
        _: &&'a Queue<T>,
        _: &mut State<T>,
        outgoing: Outgoing<T>,
        _: &mut After,
    ) -> Self::Output {
        outgoing.outcome()
    }

    fn abandon(
        _: &mut State<T>,
        outgoing: Outgoing<T>,
        _: bool,
        _: &mut After,
    ) -> Option<Outgoing<T>> {
        Some(outgoing)
    }
}

/// Receiving a value.
pub(in crate::sync) struct Receiving<'a, T>(PhantomData<&'a Queue<T>>);

impl<T> Receiving<'_, T> {
    pub(super) const fn new() -> Self {
        Receiving(PhantomData)
    }
}

impl<'a, T> Claim for Receiving<'a, T> {
    const WAITING: Waiting = Waiting::QueueRecv;

    type Handle = &'a Queue<T>;
    type State = State<T>;
    type Extra = Incoming;
    type Output = Result<T, Closed>;

    fn guarded<'h>(handle: &'h &'a Queue<T>) -> &'h Guarded<State<T>> {
        &handle.guarded
    }

    fn waiters(state: &mut State<T>) -> &mut Waiters<Incoming> {
        &mut state.receivers
    }

    #[inline(always)]
    fn begin(
        &mut self,
        _: &&'a Queue<T>,
        state: &mut State<T>,
        after: &mut After,
    ) -> Option<Self::Output> {
        match state.take(after) {
            Some(value) => Some(Ok(value)),
            None => state.has_ended().then_some(Err(Closed)),
        }
    }

    fn extra(&mut self, _: &mut State<T>, _: &Arrival) -> Incoming {
        Incoming::Waiting
    }

    fn pump(state: &mut State<T>, after: &mut After) {
        state.pump(after);
    }

    fn finish(
        &mut self,
        _: &&'a Queue<T>,
        state: &mut State<T>,
        incoming: Incoming,
        after: &mut After,
    ) -> Self::Output {
        state.fetch(incoming, after)
    }

    fn abandon(
        state: &mut State<T>,
        incoming: Incoming,
        settled: bool,
        after: &mut After,
    ) -> Option<Incoming> {
        if settled {
            state.revoke(incoming, after);
        }
        None
    }
}

/// Waiting until all is done.
pub(in crate::sync) struct Joining<'a, T>(PhantomData<&'a Queue<T>>);

impl<T> Joining<'_, T> {
    pub(super) const fn new() -> Self {
        Joining(PhantomData)
    }
}

impl<'a, T> Claim for Joining<'a, T> {
    const WAITING: Waiting = Waiting::QueueJoin;

    type Handle = &'a Queue<T>;
    type State = State<T>;
    type Extra = ();
    type Output = ();

    fn guarded<'h>(handle: &'h &'a Queue<T>) -> &'h Guarded<State<T>> {
        &handle.guarded
    }

    fn waiters(state: &mut State<T>) -> &mut Waiters<()> {
        &mut state.joiners
    }

    fn begin(&mut self, _: &&'a Queue<T>, state: &mut State<T>, _: &mut After) -> Option<()> {
        (state.unfinished == 0).then_some(())
    }

    fn extra(&mut self, _: &mut State<T>, _: &Arrival) {}

    fn pump(state: &mut State<T>, after: &mut After) {
        state.pump_joiners(after);
    }

    fn finish(&mut self, _: &&'a Queue<T>, _: &mut State<T>, (): (), _: &mut After) {}

    fn abandon(_: &mut State<T>, (): (), _: bool, _: &mut After) -> Option<()> {
        None
    }
}
