//! The life of one connection, in its task.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bowline_codec::Codec;
use bowline_concurrency::sync::Semaphore;
use bowline_concurrency::{Outcome, now, on_cancel, shield_for, timeout};

use super::caught::{Caught, Panicked};
use super::handler::{ConnectionHandler, End};
use super::incoming::Incoming;
use super::link::{Link, Seen};
use super::log;
use super::messages::Messages;
use super::peer::Peer;
use super::state::{Entry, State};
use crate::error::{Error, ErrorKind, Operation, TimeLimit, TlsFailure};
use crate::message_stream::{MessageStream, MessageStreamBuilder};
use crate::shared_transport::Shared;
use crate::transport::Transport;

/// How long `on_end` may take.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What all connections of a server have in common.
pub(super) struct Service<H, F> {
    pub(super) state: Arc<State>,
    pub(super) handler: H,
    pub(super) codec: F,
    pub(super) stream: MessageStreamBuilder,
    pub(super) handshakes: Semaphore,
}

impl<H, F> Service<H, F> {
    /// Serves one connection to its end.
    ///
    /// The entry goes last: its place is free once the transport is released.
    pub(super) async fn connection<I, C>(
        self: Arc<Self>,
        mut entry: Entry,
        incoming: I,
    ) -> Result<(), Infallible>
    where
        I: Incoming,
        F: Fn() -> C + Send + Sync + 'static,
        C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
        H: ConnectionHandler<MessageStream<I::Stream, C>> + 'static,
    {
        let scope = entry.take_scope();
        if let Outcome::Done(()) = scope.run(self.clone().live(&entry, incoming)).await {
            entry.note_returned();
        }
        Ok(())
    }

    /// What is not its conversation, and so short, is boxed: a connection that waits for its peer has no
    /// room for it.
    async fn live<I, C>(self: Arc<Self>, entry: &Entry, incoming: I)
    where
        I: Incoming,
        F: Fn() -> C + Send + Sync + 'static,
        C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
        H: ConnectionHandler<MessageStream<I::Stream, C>> + 'static,
    {
        let link = entry.link();
        let stream = match Box::pin(self.establish(incoming)).await {
            Ok(stream) => stream,
            Err(error) => {
                entry.count(|counters| &counters.handshakes_failed);
                log::handshake_failed(link, &error);
                return;
            }
        };
        if !self.state.begin_conversation(link) {
            return;
        }
        let transport = self.stream.clone().over(stream, (self.codec)());
        let shared = Shared::new(transport);
        let peer = Peer::new(shared.clone(), link.clone());
        // Clones of the peer may outlive the connection, and must not keep it open.
        let _aborts = AbortOnDrop(&peer);
        let mut messages = Messages::new(shared.clone(), link.clone());
        // A handler may panic before it gives its future: it is called where that is caught.
        let begin = async { self.handler.on_connection(&peer, &mut messages).await };
        let begun = Box::pin(Caught::new(begin)).await;
        if !matches!(begun, Ok(Ok(()))) {
            Box::pin(self.conclude(entry, &peer, begun)).await;
            return;
        }
        let (service, cut) = (self.clone(), peer.clone());
        let on_cut = on_cancel(move |_| async move {
            let end = async { service.handler.on_end(&cut, End::Cancelled).await };
            let _ = Caught::new(end).await;
        });
        let handle = async { self.handler.handle(&peer, &mut messages).await };
        let handled = Caught::new(handle).await;
        let end = Box::pin(self.conclude(entry, &peer, handled)).await;
        drop(on_cut);
        let tell = async { self.handler.on_end(&peer, end).await };
        let ended = Box::pin(shield_for(END_WITHIN, Caught::new(tell))).await;
        if let Ok(Err(Panicked(message))) = ended {
            self.panicked(link, &message);
        }
    }

    fn panicked(&self, link: &Link, message: &str) {
        if let Some(left_out) = self.state.failures.ask() {
            log::handler_panicked(link, message, left_out);
        }
    }

    async fn establish<I: Incoming>(&self, mut incoming: I) -> Result<I::Stream, Error> {
        let most = self.state.limits.handshake_timeout;
        let late = |what| {
            let kind = ErrorKind::Tls(TlsFailure::Timeout);
            Error::new(Operation::Handshake, kind).with_source(TimeLimit::new(what, most))
        };
        // Who says nothing has no turn: those who do would wait for all of its time.
        let begun = now();
        let heard = timeout(most, incoming.heard()).await;
        heard.map_err(|_| late("there was no handshake"))??;
        let left = most.saturating_sub(now().saturating_duration_since(begun));
        // Those before it may be slow on purpose: the wait takes nothing of its own time, and has an end of
        // its own, or a crowd that begins and goes on slowly would have the server's places for many times as long.
        let turn = timeout(most, self.handshakes.acquire()).await;
        let _turn = turn.map_err(|_| late("there was no turn for the handshake"))?;
        let shaken = timeout(left, incoming.establish()).await;
        shaken.unwrap_or_else(|_| Err(late("the handshake was not done")))
    }

    /// Closes or aborts the connection after its handler, and counts what it came to.
    async fn conclude<T: Transport + 'static, E: Display>(
        &self,
        entry: &Entry,
        peer: &Peer<T>,
        handled: Result<Result<(), E>, Panicked>,
    ) -> End {
        let link = entry.link();
        let closed_by_us = peer.is_closed();
        let failed = match handled {
            Err(Panicked(message)) => {
                peer.abort();
                entry.count(|counters| &counters.panicked);
                self.panicked(link, &message);
                return End::Panicked;
            }
            Ok(Err(error)) => {
                peer.abort();
                Some(error)
            }
            Ok(Ok(())) => {
                // One that the handler itself gave up has not failed.
                if let Err(error) = peer.close().await
                    && error.kind() != ErrorKind::Closed
                {
                    link.note(Seen::Broken(error.kind()));
                }
                None
            }
        };
        match (link.seen(), failed) {
            (Some(Seen::Broken(kind)), error) => {
                entry.count(|counters| &counters.broken);
                match error {
                    Some(error) => log::broken(link, &error),
                    None => log::broken(link, &kind),
                }
                End::Broken(kind)
            }
            (seen, Some(error)) if !closed_by_us && link.is_undecoded() => {
                entry.count(|counters| &counters.undecoded);
                log::undecoded(link, &error);
                seen.map_or(End::Closed, End::from)
            }
            (seen, Some(error)) if !closed_by_us => {
                entry.count(|counters| &counters.failed);
                if let Some(left_out) = self.state.failures.ask() {
                    log::handler_failed(link, &error, left_out);
                }
                seen.map_or(End::Closed, End::from)
            }
            (seen, _) => {
                entry.count(|counters| &counters.completed);
                seen.map_or(End::Closed, End::from)
            }
        }
    }
}

impl From<Seen> for End {
    fn from(seen: Seen) -> End {
        match seen {
            Seen::Ended => End::Ended,
            Seen::Drained => End::Drained,
            Seen::Broken(kind) => End::Broken(kind),
        }
    }
}

struct AbortOnDrop<'a, T: Transport>(&'a Peer<T>);

impl<T: Transport> Drop for AbortOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
