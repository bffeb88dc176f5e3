//! Calls that go to peers.

use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time;
use bowline_concurrency::sleep;
use bytes::Bytes;

use super::routes::{
    Aim, At, ConnectionId, Destination, Found, Key, Routes, Start, Watching, Wish, find_peer,
};
use super::{TcpBroker, here};
use crate::broker::UnknownMethod;
use crate::connection::{Flow, InFlight, Mailbox};
use crate::proto::{CallKind, CodecId, MethodId, MethodOptions, Open, Target};
use crate::retry::Attempts;
use crate::schema::Expected;
use crate::span;
use crate::{CallError, CallOptions, Certainty, Code, Codec, OutCall, Reply};

/// How long a call that may have run waits for the start of the peer that may have run it: as long as three
/// heartbeats, by which both sides know that a connection is gone, and once more for the next one.
const COMES_BACK: Duration = Duration::from_secs(30);

/// What kind of call it is.
#[derive(Clone, Copy, Default)]
pub(super) struct Sent {
    pub(super) kind: CallKind,
    /// What is known of the types of its arguments and its reply.
    pub(super) expected: Expected,
}

impl Sent {
    pub(super) fn of(call: &OutCall, kind: CallKind) -> Self {
        let names = if call.named {
            CallKind::NAMED_ARGUMENTS
        } else {
            CallKind::UNARY
        };
        Self {
            kind: CallKind(kind.0 | names.0),
            expected: call.expected,
        }
    }
}

impl TcpBroker {
    /// Sends an encoded call to a peer that offers its method, and to another where that fails and may
    /// be done. `repeatable` says that it may run twice, whatever its peer says.
    pub(super) async fn call_peer(
        &self,
        key: Key<'_>,
        body: Bytes,
        sent: Sent,
        options: &CallOptions,
        repeatable: bool,
    ) -> Result<Reply, CallError> {
        let routes = &self.shared.routes;
        let has_key = options.extensions.idempotency_key().is_some();
        let mut attempts = Attempts::new(options.retry);
        // Whom it has been to.
        let mut asked = Vec::new();
        // Who alone knows what became of an attempt with a key, and how that one failed.
        let mut bound: Option<Box<(Start, CallError)>> = None;
        loop {
            let found = match &bound {
                Some(bound) => match self.find_same(key, &bound.0, body.len(), options).await {
                    Some(found) => Ok(found),
                    None => return Err(bound.1.clone()),
                },
                None => {
                    let wish = Wish {
                        hash: options.hash,
                        not: &asked,
                        firm: has_key,
                        lasts: sent.kind.contains(CallKind::NOTIFY),
                    };
                    match routes.pick(key, wish) {
                        Some(found) => Ok(found),
                        None => self.wait_for_peer(key, wish, body.len(), options).await,
                    }
                }
            };
            let at = found.as_ref().ok().map(Found::at);
            let mut start = None;
            let (outcome, repeatable) = match found {
                Ok(found) => {
                    let declared = found.options.contains(MethodOptions::IDEMPOTENT);
                    if has_key {
                        start = routes.start(found.connection);
                    }
                    let calling = self.call_found(found, key, body.clone(), sent, options);
                    let outcome = calling.await;
                    (outcome, repeatable || declared)
                }
                Err(error) => (Err(error), repeatable),
            };
            match outcome {
                Ok(reply) => {
                    self.shared.budget.earn();
                    return Ok(reply);
                }
                Err(error) => {
                    if routes.gives_up(options.hops) {
                        attempts.give_up();
                    }
                    if has_key && !repeatable && bound.is_none() && !error.certainty().did_not_run()
                    {
                        match start {
                            Some(start) => bound = Some(Box::new((start, error.clone()))),
                            None => attempts.give_up(),
                        }
                    }
                    let others = self.failed_at(key, at, &error, &mut asked);
                    attempts.others(bound.is_none() && others);
                    attempts.at_home(at.is_some_and(|at| at.is_here));
                    let left = options.deadline.saturating_duration_since(time::now());
                    let again = repeatable || has_key;
                    let pause = attempts.failed(error, again, left, &self.shared.budget)?;
                    sleep(pause).await;
                }
            }
        }
    }

    /// A call came to `error` at the peer that it was given to, if there was one, which joins those that were
    /// `asked`. Whether it had no room, or the way to it, and there is another peer that may have some.
    pub(super) fn failed_at(
        &self,
        key: Key<'_>,
        at: Option<At>,
        error: &CallError,
        asked: &mut Vec<ConnectionId>,
    ) -> bool {
        let Some(At { connection: at, .. }) = at else {
            return false;
        };
        let routes = &self.shared.routes;
        if !asked.contains(&at) {
            asked.push(at);
        }
        let full = error.code() == Code::Overloaded && error.certainty() == Certainty::NeverSent;
        (routes.refused(at, error) || full) && routes.has_others(key, asked)
    }

    async fn call_found(
        &self,
        found: Found,
        key: Key<'_>,
        body: Bytes,
        sent: Sent,
        options: &CallOptions,
    ) -> Result<Reply, CallError> {
        let outcome = match &found.to {
            Destination::Peer(mailbox) => {
                span::goes_to(mailbox.peer(), None);
                let at = (mailbox, found.method, found.schema);
                match self.send(at, body, sent, options, None) {
                    Ok((call, codec)) => call.await.map(|body| Reply::new(codec, body)),
                    Err(error) => Err(error),
                }
            }
            Destination::Here(broker) => {
                let call = here::out_call(key.name(), body, sent, options);
                // Most calls go to others, and have no room for this.
                let outcome = Box::pin(here::call(broker, call, sent.kind)).await;
                outcome.map_err(|error| self.shared.refused_here(error))
            }
        };
        watched(found.watching, outcome)
    }

    /// Hands a call to the connection of `mailbox`, where its method goes by an id and has types of a hash.
    /// The answer has the format that it goes in, which may be another one than it came in.
    pub(super) fn send(
        &self,
        (mailbox, method, theirs): (&Arc<Mailbox>, MethodId, u64),
        body: Bytes,
        sent: Sent,
        options: &CallOptions,
        flow: Option<Box<Flow>>,
    ) -> Result<(InFlight, Codec), CallError> {
        let said = options.extensions.metadata_bytes();
        let limit = self.shared.limits.max_metadata;
        if said > usize::from(limit) {
            let actual = u32::try_from(said).unwrap_or(u32::MAX);
            let error = CallError::new(Code::TooLarge, Certainty::NeverSent);
            return Err(error.with_sizes(limit.into(), actual));
        }
        let (expected, extensions) = (sent.expected, &options.extensions);
        let fits = expected.fits(options.codec, theirs, extensions);
        let (codec, body) = match fits {
            true => (options.codec, body),
            false => expected.recoded(&body, mailbox.carrying_types())?,
        };
        let bytes = body.len();
        let open = Open::new(Target::Method(method), CodecId(codec.id()), body)
            .deadline(options.deadline)
            .hops(options.hops)
            .priority(options.priority)
            .kind(sent.kind);
        let told = expected.told(fits);
        let open = open.extensions(match told.filter(|_| extensions.schema().is_none()) {
            None => extensions.clone(),
            Some(hash) => extensions.with_schema(hash),
        });
        let call = mailbox.open(open, bytes, flow)?;
        self.shared.counters.calls_sent.add(1);
        Ok((call, codec))
    }

    pub(super) async fn wait_for_peer(
        &self,
        key: Key<'_>,
        wish: Wish<'_>,
        bytes: usize,
        options: &CallOptions,
    ) -> Result<Found, CallError> {
        let routes = &self.shared.routes;
        if options.unknown == UnknownMethod::FailFast {
            let error = CallError::new(routes.why_nobody(), Certainty::NeverSent);
            return Err(error.of_method(key.name().clone()));
        }
        let call = (bytes, options.hops > 0);
        find_peer(routes, key, Aim::Any(wish), call, options.deadline).await
    }

    /// The same start of a peer once more, for a call that may have run there.
    async fn find_same(
        &self,
        key: Key<'_>,
        start: &Start,
        bytes: usize,
        options: &CallOptions,
    ) -> Option<Found> {
        let routes = &self.shared.routes;
        if options.unknown == UnknownMethod::FailFast {
            return routes.pick_same(key, start);
        }
        // Of a peer that had connected to this side nobody says that it has ended for good.
        let until = options.deadline.min(time::now().saturating_add(COMES_BACK));
        let call = (bytes, options.hops > 0);
        let found = find_peer(routes, key, Aim::Same(start), call, until);
        found.await.ok()
    }
}

/// Tells the table what a call at `connection` came to that is not made again: that its peer has no room, and what
/// it wants to know.
pub(super) fn told<T>(
    routes: &Routes,
    connection: ConnectionId,
    watching: Option<Watching>,
    outcome: Result<T, CallError>,
) -> Result<T, CallError> {
    if let Err(error) = &outcome {
        routes.refused(connection, error);
    }
    watched(watching, outcome)
}

/// Tells the table what a call of interest came to.
pub(super) fn watched<T>(
    watching: Option<Watching>,
    outcome: Result<T, CallError>,
) -> Result<T, CallError> {
    if let Some(watching) = watching {
        watching.ended(&outcome);
    }
    outcome
}
