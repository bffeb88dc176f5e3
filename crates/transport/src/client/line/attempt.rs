//! The attempt to make a connection, which belongs to nobody: who waits for it moves it on.

use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use bowline_backend::time::Instant;
use bowline_concurrency::{apart, now};

use super::connection::Connection;
use super::ending::given_up;
use super::{Line, Over, State};
use crate::attribute::{Attributes, Extra};
use crate::client::board::ClientState;
use crate::datagram::OfPackets;
use crate::dyn_transport::{BoxFuture, DynTransport};
use crate::error::Error;
use crate::half_wakers::Half;
use crate::transport::Transport;

/// The future that makes a connection.
pub(super) struct Attempt<S, R> {
    making: BoxFuture<'static, Result<DynTransport<S, R>, Error>>,
    /// When it is to have been polled again, if anybody waits for it.
    due: Instant,
}

/// Somebody who may wait for a connection.
pub(in crate::client) struct User<'a, S, R>(&'a Line<S, R>)
where
    S: Send + Sync + 'static,
    R: Send + 'static;

impl<S, R> Line<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    pub(in crate::client) fn enter(&self) -> User<'_, S, R> {
        self.users.fetch_add(1, Ordering::SeqCst);
        User(self)
    }

    /// For a half of a transport: nobody waits for what it answered `Pending` to.
    pub(in crate::client) fn stop_waiting(&self, half: Half) {
        let mut state = self.lock();
        state.waits[half as usize] = false;
        if state.waits == [false; 2] {
            self.abandon(state);
        }
    }

    fn attempt(&self) -> Attempt<S, R> {
        Attempt {
            making: Box::pin(apart(self.dialling.clone().run())),
            due: Instant::NEVER,
        }
    }

    /// Polls the attempt that was taken out, or begins it; whether anything came of it.
    pub(super) fn poll_attempt(&self, id: u64, attempt: Option<Attempt<S, R>>) -> bool {
        let unwinding = Unwinding { line: self, id };
        // One that was left alone may hold a connection whose peer has gone, or time that ran out.
        let going_on = attempt.filter(|left| left.due.is_never() || now() <= left.due);
        let mut attempt = going_on.unwrap_or_else(|| self.attempt());
        let making = attempt.making.as_mut();
        let polled = making.poll(&mut Context::from_waker(&self.waker));
        mem::forget(unwinding);
        let result = match polled {
            Poll::Ready(result) => result,
            Poll::Pending => {
                attempt.due = self.dialling.due();
                let mut state = self.lock();
                if let Some((current, place)) = &mut state.attempt
                    && *current == id
                {
                    *place = Some(attempt);
                    return false;
                }
                drop(state);
                return true;
            }
        };
        drop(attempt);
        match result {
            Ok(transport) => self.connected(id, transport),
            Err(error) => self.failed(id, error),
        }
        self.waker.wake_by_ref();
        true
    }

    fn connected(&self, id: u64, transport: DynTransport<S, R>) {
        let attributes = Arc::new(Attributes::of(&transport));
        let since = self.reconnects().then(now);
        let of_packets = transport.extra::<OfPackets>().is_some();
        let mut made = Connection::new(transport.into_split(), since);
        made.of_packets = of_packets;
        let mut made = Some(made);
        let mut state = self.lock();
        let (mut former, mut unwanted) = (None, None);
        if state.attempt.as_ref().is_some_and(|(at, _)| *at == id) {
            state.attempt = None;
            state.generation += 1;
            let generation = state.generation;
            if let Some(made) = &mut made {
                made.generation = generation;
                if state.sender_dropped {
                    unwanted = made.sender.take();
                    state.shut_down = true;
                }
            }
            former = Some(mem::replace(&mut state.attributes, attributes));
            state.now = made.take();
            self.dialling.board.note(ClientState::Ready);
        }
        drop(state);
        self.dialling.board.tell();
        drop((made, former, unwanted));
    }

    fn failed(&self, id: u64, error: Error) {
        let mut state = self.lock();
        if state.attempt.as_ref().is_none_or(|(at, _)| *at != id) {
            return;
        }
        state.attempt = None;
        let gives_up = self.reconnects();
        let error = match gives_up {
            true => given_up(error, self.dialling.tried()),
            false => error,
        };
        if gives_up {
            state.over = Some(Over::GivenUp(error.clone()));
        }
        let former = state.last_failure.replace(error);
        self.failures.fetch_add(1, Ordering::Release);
        self.dialling.board.note(match gives_up {
            true => ClientState::Closed,
            false => ClientState::Idle,
        });
        drop(state);
        self.dialling.board.tell();
        drop(former);
    }

    /// Drops an attempt that nobody waits for any more.
    pub(super) fn abandon(&self, mut state: MutexGuard<'_, State<S, R>>) {
        if self.users.load(Ordering::SeqCst) > 0 {
            return;
        }
        state.waits = [false; 2];
        let Some(abandoned) = state.attempt.take() else {
            return;
        };
        self.dialling.board.note(ClientState::Idle);
        drop(state);
        self.dialling.board.tell();
        drop(abandoned);
    }
}

impl<S, R> Drop for User<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        if self.0.users.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.abandon(self.0.lock());
        }
    }
}

/// Clears the place of an attempt that panicked; the next who comes begins another one.
struct Unwinding<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    line: &'a Line<S, R>,
    id: u64,
}

impl<S, R> Drop for Unwinding<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        let mut state = self.line.lock();
        if state.attempt.as_ref().is_some_and(|(at, _)| *at == self.id) {
            state.attempt = None;
            self.line.dialling.board.note(ClientState::Idle);
        }
        drop(state);
        self.line.dialling.board.tell();
        self.line.waker.wake_by_ref();
    }
}
