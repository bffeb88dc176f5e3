//! The receiving side of a line.

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll, ready};

use super::{Line, Waiting};
use crate::client::board::ClientState;
use crate::dyn_transport::DynReceiver;
use crate::error::{Break, Delivery, Error, ErrorKind, Operation};
use crate::half_wakers::Half;
use crate::transport::{TransportRecv, TryRecvError};

/// After as much that has come a call lets other tasks run, before it looks on.
const LOOKED_AT_ONCE: usize = 64;

/// Of a receiver: waiting, or only what is there.
type ReceiveBy<R> = fn(&mut DynReceiver<R>, &mut Context<'_>) -> Poll<Result<Option<R>, Error>>;

/// From which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Source {
    /// Whichever is due; one is made where there is none.
    Any,
    /// This one alone.
    Generation(u64),
}

impl<S, R> Line<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Waits for the next message.
    pub(in crate::client) fn poll_recv(
        &self,
        from: Source,
        waiting: &mut Waiting,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<R>, Error>> {
        self.poll_recv_by(DynReceiver::poll_recv, from, waiting, cx)
    }

    /// The same, by this function of the receiver.
    fn poll_recv_by(
        &self,
        receive: ReceiveBy<R>,
        from: Source,
        waiting: &mut Waiting,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<R>, Error>> {
        loop {
            self.wakers.store(Half::Receiver, cx.waker());
            let mut receiver = match self.receiver(from) {
                Next::Lent(receiver) => receiver,
                Next::Message(message) => return Poll::Ready(Ok(Some(message))),
                Next::Failed(error) => return Poll::Ready(Err(error)),
                Next::Nothing => {
                    ready!(self.poll_ready(Half::Receiver, Operation::Recv, waiting, cx))?;
                    continue;
                }
            };
            let polled = receive(&mut receiver, cx);
            let generation = receiver.generation;
            let error = match polled {
                Poll::Ready(Ok(Some(message))) => {
                    receiver.heard = true;
                    return Poll::Ready(Ok(Some(message)));
                }
                Poll::Pending => {
                    drop(receiver);
                    return self
                        .broke_meanwhile(generation)
                        .map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
                Poll::Ready(Ok(None)) if !self.replaces() => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(None)) => Error::new(Operation::Recv, ErrorKind::Ended)
                    .with_peer(self.attributes().peer_addr().cloned())
                    .with_delivery(Delivery::MaybeSent)
                    .with_unsent_frames(receiver.unsent_frames()),
                Poll::Ready(Err(error)) if !error.is_final() => return Poll::Ready(Err(error)),
                Poll::Ready(Err(error)) if !self.replaces() => {
                    let goes_on = !receiver.ends_with(&error);
                    drop(receiver);
                    self.told(generation, &error, goes_on);
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Err(error)) => error,
            };
            drop(receiver);
            return Poll::Ready(Err(self.receiver_ended(generation, error)));
        }
    }

    /// Sees whether the connection is still good, before something is sent that wants a reply; of packets,
    /// what has come too late or twice. What is found, of a connection before it too, is kept for a `recv`,
    /// which is told of it in its turn, the latest of what has come where it is much. It waits only to let
    /// others run.
    pub(in crate::client) fn poll_look(&self, cx: &mut Context<'_>) -> Poll<()> {
        let replaces = self.replaces();
        let (mut waited, mut failed) = (false, false);
        for _ in 0..LOOKED_AT_ONCE {
            let state = self.lock();
            // The old one ends as soon as nothing more has come of it.
            let Some(due) = state.old.as_ref().or(state.now.as_ref()) else {
                return Poll::Ready(());
            };
            if !replaces && !due.of_packets {
                return Poll::Ready(());
            }
            let from = Source::Generation(due.generation);
            drop(state);
            let told = match self.poll_recv_by(now_or_never, from, &mut Waiting::Never, cx) {
                Poll::Ready(Ok(Some(message))) => Ok(message),
                // It says that nothing came, and nobody asked.
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Elapsed && !waited => {
                    waited = true;
                    continue;
                }
                Poll::Ready(Err(error)) => match error.kind() {
                    // Of the second, or somebody closes the client: there is nothing to tell any more.
                    ErrorKind::Elapsed | ErrorKind::Closed => return Poll::Ready(()),
                    // Who sends is told the same.
                    _ if !replaces && self.ends_with(&error) => return Poll::Ready(()),
                    _ => Err(error),
                },
                Poll::Ready(Ok(None)) | Poll::Pending => return Poll::Ready(()),
            };
            failed = told.is_err();
            let mut state = self.lock();
            let dropped = state.untold.put_early(told);
            let later = state.old.is_none().then(|| state.untold.old_is_gone());
            drop(state);
            drop((dropped, later));
        }
        if failed {
            return Poll::Ready(()); // of a socket that does nothing else he is told, too
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the connection that there is carries packets.
    pub(in crate::client) fn is_of_packets(&self) -> bool {
        self.lock().now.as_ref().is_some_and(|now| now.of_packets)
    }

    /// Whether more can follow the last error of this connection.
    pub(in crate::client) fn goes_on_after(&self, generation: u64) -> bool {
        let mut state = self.lock();
        let connection = state.connection(generation);
        connection.is_some_and(|connection| connection.goes_on)
    }

    /// Whether nothing can follow this error of a receiver.
    pub(in crate::client) fn ends_with(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Closed | ErrorKind::NotConnected | ErrorKind::Unsupported => true,
            _ => error.is_final() && !self.replaces() && !self.goes_on(),
        }
    }

    /// Notes of a connection that is not replaced whether more can follow its error.
    fn told(&self, generation: u64, error: &Error, goes_on: bool) {
        if let Some(connection) = self.lock().connection(generation) {
            connection.goes_on = goes_on;
        }
        if !goes_on {
            self.end_for_good(generation, error);
        }
    }

    /// Notes what a connection ended with that is not replaced: it is the client's end.
    pub(super) fn end_for_good(&self, generation: u64, error: &Error) {
        let mut over = Some(error.clone());
        let mut state = self.lock();
        if let Some(connection) = state.connection(generation)
            && connection.over.is_none()
        {
            connection.over = over.take();
        }
        self.dialling.board.note(ClientState::Closed);
        drop(state);
        self.dialling.board.tell();
        drop(over);
    }

    /// Whether more can follow the last error of the connection that is received from.
    fn goes_on(&self) -> bool {
        let state = self.lock();
        let connection = state.old.as_ref().or(state.now.as_ref());
        connection.is_some_and(|connection| connection.goes_on)
    }

    /// The error of a connection that the sender saw break, once nothing more comes of it.
    fn broke_meanwhile(&self, generation: u64) -> Option<Error> {
        let mut state = self.lock();
        let old = state.old.as_mut();
        let error = old
            .filter(|old| old.generation == generation)?
            .broken
            .take()?;
        let old = state.old.take();
        drop(state);
        drop(old);
        Some(error)
    }

    /// Lets go of a connection that ended; what to say of it.
    fn receiver_ended(&self, generation: u64, error: Error) -> Error {
        let mut state = self.lock();
        if state
            .old
            .as_ref()
            .is_some_and(|old| old.generation == generation)
        {
            let mut old = state.old.take();
            drop(state);
            let broken = old.as_mut().and_then(|old| old.broken.take());
            drop(old);
            // The peer's end may be what is left of a reset that the sender was told of.
            return match broken {
                Some(broken) if error.kind() == ErrorKind::Ended => broken,
                _ => error,
            };
        }
        let Some(ended) = state.now.take_if(|now| now.generation == generation) else {
            return error;
        };
        let before = state.gone.suspect(generation);
        let goes_on = state.end_series(&self.dialling, ended.since, &error);
        self.note_end(goes_on);
        drop(state);
        self.settle(ended, before);
        self.tell_end();
        error
    }

    /// What is to be received from next.
    fn receiver(&self, from: Source) -> Next<'_, S, R> {
        let mut state = self.lock();
        let connection = match from {
            // What came before the last connection broke is still received.
            Source::Generation(generation)
                if state.over.is_some()
                    && state.now.is_none()
                    && state.old.as_ref().map(|old| old.generation) != Some(generation) =>
            {
                return Next::Nothing;
            }
            Source::Generation(generation) => {
                let known = [&state.now, &state.old].into_iter().flatten();
                let Some(at) = known.map(|one| one.generation).find(|at| *at == generation) else {
                    let gone = state.untold.take_late_of(generation).unwrap_or_else(|| {
                        Error::new(Operation::Recv, ErrorKind::Broken(Break::Other))
                            .with_delivery(Delivery::MaybeSent)
                    });
                    return Next::Failed(gone);
                };
                match &mut state.old {
                    Some(old) if old.generation == at => old,
                    _ => match &mut state.now {
                        Some(now) => now,
                        None => return Next::Nothing,
                    },
                }
            }
            Source::Any => {
                if let Some(missed) = state.untold.take_missed() {
                    let lagged = Error::new(Operation::Recv, ErrorKind::Lagged { missed });
                    let peer = state.attributes.peer_addr().cloned();
                    return Next::Failed(lagged.with_peer(peer));
                }
                if let Some(told) = state.untold.take_early() {
                    return told.map_or_else(Next::Failed, Next::Message);
                }
                if state.old.is_none()
                    && let Some(error) = state.untold.take_late()
                {
                    return Next::Failed(error);
                }
                let state = &mut *state;
                match (&mut state.old, &mut state.now) {
                    (Some(one), _) | (None, Some(one)) => one,
                    (None, None) => return Next::Nothing,
                }
            }
        };
        let generation = connection.generation;
        match connection.receiver.take() {
            Some(receiver) => Next::Lent(Receiving {
                line: self,
                generation,
                receiver: Some(receiver),
                heard: false,
            }),
            None => Next::Failed(Error::new(Operation::Recv, ErrorKind::Busy)),
        }
    }
}

/// What is there, without a turn for others in between: after it nothing is, unless it has just come.
fn now_or_never<R: Send + 'static>(
    receiver: &mut DynReceiver<R>,
    _: &mut Context<'_>,
) -> Poll<Result<Option<R>, Error>> {
    match receiver.try_recv() {
        Ok(received) => Poll::Ready(Ok(received)),
        Err(TryRecvError::Failed(error)) => Poll::Ready(Err(error)),
        Err(TryRecvError::Empty) => Poll::Pending,
    }
}

enum Next<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    Lent(Receiving<'a, S, R>),
    Message(R),
    Failed(Error),
    /// There is no connection.
    Nothing,
}

/// The receiver while it is polled; dropped, it is back.
struct Receiving<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    line: &'a Line<S, R>,
    generation: u64,
    receiver: Option<DynReceiver<R>>,
    /// It gave a message.
    heard: bool,
}

impl<S, R> Deref for Receiving<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    type Target = DynReceiver<R>;

    fn deref(&self) -> &DynReceiver<R> {
        self.receiver.as_ref().expect("it is here until the drop")
    }
}

impl<S, R> DerefMut for Receiving<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn deref_mut(&mut self) -> &mut DynReceiver<R> {
        self.receiver.as_mut().expect("it is here until the drop")
    }
}

impl<S, R> Drop for Receiving<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        let mut state = self.line.lock();
        if let Some(connection) = state.connection(self.generation) {
            connection.receiver = self.receiver.take();
            connection.heard |= self.heard;
        }
        drop(state);
        self.line.returned();
    }
}
