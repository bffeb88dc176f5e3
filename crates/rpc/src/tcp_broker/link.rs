//! One connection of a broker: its driver's host, and the task that drives it.

mod checks;
mod offering;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::entropy;
use bowline_backend::stream::{Address, ByteStream};
use bowline_backend::time::{self, Instant};

use super::Shared;
use super::attempt::Attempt;
use super::notified::Notified;
use super::offering::{Offer, Offering};
use super::routes::{ConnectionId, NoRoom, Origin};
use super::table::Losses;
use super::wires::Wire;
use crate::connection::{CallPipes, Driver, Ended, Host, Mailbox, Untaken};
use crate::dedupe::{Admitted, CallerId, DedupeKey, Waiter};
use crate::executor::{
    CallRef, Job, JobBody, JobEnd, JobFacts, JobHandle, Notification, ReplySink, Stop,
};
use crate::offers::Served;
use crate::proto::{
    BrokenKind, CallKind, CloseCause, Command, Event, IncomingCall, Machine, Side, Stats,
    StreamProof, Target,
};
use crate::stream::HandlerStreams;
use crate::sys::Reserved;
use crate::{Certainty, Peer, Right};

/// The place of one connection in the broker's table; given up by dropping it.
pub(super) struct Place {
    shared: Arc<Shared>,
    connection: ConnectionId,
    mailbox: Arc<Mailbox>,
}

impl Place {
    pub(super) fn new(shared: &Arc<Shared>, origin: Origin) -> Result<Place, NoRoom> {
        let mailbox = Arc::new(Mailbox::new(&shared.limits));
        let connection = shared.routes.connect(&mailbox, origin, &shared.limits)?;
        Ok(Place {
            shared: shared.clone(),
            connection,
            mailbox,
        })
    }
}

impl Place {
    /// Completes when the connection is to end, before it is driven.
    pub(super) async fn to_end(&self) {
        self.mailbox.to_end().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.routes.disconnect(self.connection);
    }
}

/// How a connection ended.
pub(super) struct Over {
    pub(super) cause: CloseCause,
    /// The error of its stream, where that broke before the handshake was done.
    pub(super) error: Option<io::Error>,
}

/// Drives `wire` until the connection is over and says why. `attempt` is told when the peer's
/// methods are known. The handshake, that of what the wire is made of included, has its time from `began` on.
pub(super) async fn drive(
    place: Place,
    wire: Wire,
    (side, began): (Side, Instant),
    attempt: Option<Arc<Attempt>>,
) -> Over {
    // Proofs without it would hold for a relay as well.
    let Ok(binding) = wire.binding() else {
        let cause = CloseCause::Broken(BrokenKind::Io(io::ErrorKind::Other));
        return Over { cause, error: None };
    };
    let shape = Shape {
        side,
        began,
        binding,
        proof: wire.proof(),
    };
    match wire {
        Wire::Tcp(stream) => drive_stream(place, stream, shape, attempt).await,
        #[cfg(feature = "tls")]
        Wire::Tls(stream) => drive_stream(place, *stream, shape, attempt).await,
        #[cfg(unix)]
        Wire::Unix(stream) => drive_stream(place, stream, shape, attempt).await,
        Wire::Memory(stream) => drive_stream(place, stream, shape, attempt).await,
    }
}

/// What is known of a connection before anything is said.
struct Shape {
    side: Side,
    began: Instant,
    /// What only the two ends of the channel below know.
    binding: Vec<u8>,
    proof: StreamProof,
}

async fn drive_stream<S: ByteStream>(
    place: Place,
    stream: S,
    shape: Shape,
    attempt: Option<Arc<Attempt>>,
) -> Over {
    let side = shape.side;
    let (shared, connection) = (place.shared.clone(), place.connection);
    let mailbox = place.mailbox.clone();
    let link = Link {
        place,
        address: stream.peer_addr().ok(),
        peer: None,
        caller: CallerId::Unknown(connection.0),
        offering: Offering::new(shared.executor.capacity().max_workers, shared.weight),
        attempt,
        restricted: shared.config.restricts(Right::Call),
        side,
        losses: Losses::default(),
        notified: Notified::new(&shared.left_behind),
    };
    let mut seed = [0; 32];
    entropy::fill(&mut seed);
    let now = time::now();
    let at = shared.routes.dialed(connection);
    let machine = Machine::new(shared.config.clone(), side, now, seed)
        .over(shape.proof)
        .dialing(at.as_deref().unwrap_or_default().as_bytes())
        .bound_to(&shape.binding)
        .begun_at(shape.began)
        .offering_later();
    let driver = Driver::new(stream, machine, mailbox.clone(), link, &shared.limits);
    let Ended { cause, error } = driver.run().await;
    Over {
        cause,
        error: error.filter(|_| mailbox.peer().is_none()),
    }
}

struct Link {
    place: Place,
    address: Option<Address>,
    peer: Option<Peer>,
    /// By what its calls with a key are recognised.
    caller: CallerId,
    /// What the peer was told.
    offering: Offering,
    attempt: Option<Arc<Attempt>>,
    /// There are rules about who may call what.
    restricted: bool,
    side: Side,
    losses: Losses,
    notified: Arc<Notified>,
}

impl Link {
    fn method(&self, target: &Target) -> Option<Offer> {
        match target {
            Target::Method(id) => self.offering.find(*id).cloned(),
            Target::Name(_) if self.offering.is_empty() => None,
            Target::Name(name) => match Reserved::named(name) {
                Some(reserved) => Some(Offer::Reserved(reserved)),
                None => {
                    let served = self.place.shared.offers.now().find(name).cloned();
                    served.map(Offer::Served)
                }
            },
        }
    }

    /// Where the outcome of a call goes, and which call it is.
    fn sink_of(&self, incoming: &IncomingCall) -> (Arc<dyn ReplySink>, CallRef) {
        let mailbox = &self.place.mailbox;
        if incoming.kind.contains(CallKind::NOTIFY) {
            let call = incoming.call;
            self.notified.came(call);
            let (mailbox, notified) = (mailbox.clone(), self.notified.clone());
            let give_back = move |dropped| {
                notified.done(call);
                mailbox.notification_taken(dropped);
            };
            let shared = self.place.shared.clone();
            let ends = move |end: &JobEnd| {
                let is_cut = shared.attachment.is_cut();
                shared.counters.notification_ended(end, is_cut);
            };
            (
                Notification::new(give_back, ends),
                CallRef::Notification(call),
            )
        } else {
            (mailbox.clone(), CallRef::Peer(incoming.call))
        }
    }
}

impl Host for Link {
    fn introduce(&mut self) -> Command {
        if self.place.shared.routes.is_closing() {
            return Command::Advertise(Vec::new());
        }
        let [_, methods] = self.changes();
        let most = self.place.shared.limits.max_methods as usize;
        match methods {
            Some(Command::Advertise(methods)) if methods.len() <= most => {
                Command::Advertise(methods)
            }
            _ => {
                self.offering.forget();
                Command::Advertise(Vec::new())
            }
        }
    }

    fn refresh(&mut self) -> [Option<Command>; 2] {
        self.changes()
    }

    fn leaving(&mut self) -> Option<Command> {
        let ids = self.offering.ids();
        (!ids.is_empty()).then_some(Command::Withdraw(ids))
    }

    fn left(&mut self) {
        self.place.shared.routes.left(self.place.connection);
    }

    fn is_needed(&self) -> bool {
        self.place.shared.routes.is_needed(self.place.connection)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Ready(hello) => {
                let peer = Peer::new(self.address.clone(), hello.instance, hello.proven.clone());
                let known_as = hello.known_as.clone();
                let routes = &self.place.shared.routes;
                routes.ready(self.place.connection, &peer, known_as);
                self.place.mailbox.introduce(&peer, &hello.codecs);
                self.caller = CallerId::of(&hello, self.place.connection.0);
                self.peer = Some(peer);
            }
            Event::Advertised(mut methods) => {
                let config = &self.place.shared.config;
                methods.retain(|m| config.allows(self.principal(), &m.name, Right::Execute));
                let routes = &self.place.shared.routes;
                routes.offer(self.place.connection, methods);
            }
            Event::Withdrawn(methods) => self
                .place
                .shared
                .routes
                .withdraw(self.place.connection, &methods),
            Event::Discovered => {
                self.place.shared.routes.discovered(self.place.connection);
                if let Some(attempt) = self.attempt.take() {
                    attempt.connected();
                }
            }
            // A peer that leaves gets no new call; one that is gone neither.
            Event::Draining { .. } => self.place.shared.routes.retire(self.place.connection),
            Event::Closed(cause) => {
                let counters = &self.place.shared.counters;
                counters.closed(&cause);
                counters.dropped_notifications.add(self.notified.end());
                let losses = match cause {
                    // What this side closes says nothing of the peer.
                    CloseCause::Closed(_) => Losses::default(),
                    _ => self.losses,
                };
                self.place.shared.routes.lost(self.place.connection, losses);
            }
            _ => {}
        }
    }

    fn answered(&mut self) {
        self.losses.answered = true;
        self.heard();
    }

    fn heard(&mut self) {
        if self.place.mailbox.was_tried() {
            self.place.shared.routes.answered(self.place.connection);
        }
    }

    fn lost(&mut self) {
        self.losses.calls = self.losses.calls.saturating_add(1);
    }

    fn ended(&mut self, end: &JobEnd) {
        self.place.shared.counters.ended(end);
    }

    fn retry_after(&self) -> Option<Duration> {
        self.place.shared.retry_after()
    }

    fn counted(&mut self, stats: &Stats) {
        self.place.shared.counters.add_protocol(stats);
    }

    fn abandoned(&mut self, calls: usize) {
        self.place.shared.counters.abandoned(calls);
    }

    fn opened(
        &mut self,
        now: Instant,
        incoming: IncomingCall,
        pipes: Option<CallPipes>,
        untaken: Option<Untaken>,
    ) -> JobHandle {
        self.place.shared.counters.calls_received.add(1);
        let (mut sink, call) = self.sink_of(&incoming);
        let (offer, codec) = match self.check(&incoming) {
            Ok(found) => found,
            Err((code, message)) => {
                let certainty = Certainty::Refused;
                let end = JobEnd::Failed {
                    code,
                    certainty,
                    message,
                };
                sink.settle(call, end);
                return JobHandle::of_none();
            }
        };
        let Served { method, meter } = match offer {
            Offer::Served(served) => served,
            Offer::Reserved(reserved) => return self.tell(reserved, incoming, codec, untaken),
        };
        let named = incoming.kind.contains(CallKind::NAMED_ARGUMENTS);
        let streams = pipes.map(|pipes| {
            let longest = self.place.mailbox.longest();
            HandlerStreams::new(codec, pipes.from_peer, pipes.to_peer, longest)
        });
        let spec = method.entry.spec;
        let longest = spec.max_duration().into_iter();
        let longest = longest.chain(self.place.shared.longest_call).min();
        let deadline = match longest {
            Some(longest) => incoming.deadline.min(now + longest),
            None => incoming.deadline,
        };
        let once = match call {
            CallRef::Peer(_) if streams.is_none() => incoming.extensions.idempotency_key(),
            // One run has the items of one call.
            _ => None,
        };
        let is_once = once.is_some();
        if let Some(key) = once {
            let key = DedupeKey {
                caller: self.caller.clone(),
                method: method.name.shared().clone(),
                key: key.into(),
            };
            let dedupe = &self.place.shared.dedupe;
            let waiter = Waiter {
                sink: sink.clone(),
                call,
                deadline,
            };
            let (admitted, settles) = dedupe.admit(key, codec, spec, waiter, now);
            match admitted {
                Admitted::Run => sink = settles,
                Admitted::Waits => return JobHandle::of_none(),
                Admitted::Answered(end) => {
                    self.place.mailbox.settle(call, end);
                    return JobHandle::of_none();
                }
            }
        }
        let facts = JobFacts {
            stop: Stop::of(spec),
            deadline,
            caller: self.peer.clone(),
            call,
            hops: incoming.hops,
            priority: incoming.priority,
            limit: method.entry.limit(),
            extensions: incoming.extensions,
            arrived: now,
            streams,
            untaken,
        };
        let body = |context| JobBody::Encoded {
            name: method.name,
            entry: method.entry,
            codec,
            named,
            body: incoming.body,
            context,
        };
        let job = Job::new(
            body,
            facts,
            meter,
            self.place.shared.attachment.clone(),
            sink,
        );
        let _until_roused = self.place.shared.attachment.gather();
        let handle = job.give_to(&*self.place.shared.executor);
        match call {
            // It outlives the connection.
            CallRef::Notification(call) => self.notified.given(call, handle),
            // Others may wait for it, or come to.
            _ if is_once => {}
            _ => return handle,
        }
        JobHandle::of_none()
    }

    fn rouse(&mut self) -> bool {
        self.place.shared.attachment.rouse()
    }
}
