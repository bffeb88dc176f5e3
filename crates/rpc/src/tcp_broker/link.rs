//! One connection of a broker: its driver's host, and the task that drives it.

use std::sync::Arc;

use bowline_backend::entropy;
use bowline_backend::stream::{Address, ByteStream};
use bowline_backend::time;

use super::Shared;
use super::dial::Attempt;
use super::routes::{NoRoom, Origin};
use crate::connection::{Driver, Host, Mailbox};
use crate::executor::{CallRef, Job, JobBody, JobEnd, JobHandle, ReplySink, Stop};
use crate::method::Resolved;
use crate::proto::{
    Advertised, CloseCause, Command, Event, IncomingCall, Machine, MethodId, MethodOptions, Side,
    Target,
};
use crate::{Certainty, Code, Codec, Limits, Peer};

/// The place of one connection in the broker's table; given up by dropping it.
pub(super) struct Place {
    shared: Arc<Shared>,
    connection: u64,
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

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.routes.disconnect(self.connection);
    }
}

/// Drives `stream` until the connection is over and says why. `attempt` is told when the peer's
/// methods are known.
pub(super) async fn drive<S: ByteStream>(
    place: Place,
    stream: S,
    side: Side,
    attempt: Option<Arc<Attempt>>,
) -> CloseCause {
    let shared = place.shared.clone();
    let mailbox = place.mailbox.clone();
    let mut link = Link {
        place,
        address: stream.peer_addr().ok(),
        peer: None,
        methods: Vec::new(),
        workers: shared.executor.capacity().max_workers,
        attempt,
    };
    let mut seed = [0; 32];
    entropy::fill(&mut seed);
    let now = time::now();
    let mut machine = Machine::new(shared.config.clone(), side, now, seed);
    let methods = link.offered();
    // A fresh machine takes its snapshot, if it is within the limit of methods.
    if machine.command(now, Command::Advertise(methods)).is_err() {
        link.methods.clear();
        let _ = machine.command(now, Command::Advertise(Vec::new()));
    }
    let driver = Driver::new(stream, machine, mailbox, link, &shared.limits);
    let ended = driver.run().await;
    shared.counters.add_protocol(&ended.stats);
    ended.cause
}

struct Link {
    place: Place,
    address: Option<Address>,
    peer: Option<Peer>,
    /// What we offer: the method with id `n` at `n - 1`.
    methods: Vec<Resolved>,
    /// Handlers the executor runs at once; fixed, so it is not asked again for every call.
    workers: usize,
    attempt: Option<Arc<Attempt>>,
}

impl Link {
    fn offered(&mut self) -> Vec<Advertised> {
        let workers = self.workers;
        if workers > 0 {
            self.methods = self.place.shared.registry.all();
        }
        let advertise = |(method, id): (&Resolved, u32)| {
            let spec = method.entry.spec;
            let mut options = MethodOptions::default();
            if spec.is_idempotent() {
                options = options.with(MethodOptions::IDEMPOTENT);
            }
            if spec.is_no_cancel() {
                options = options.with(MethodOptions::NO_CANCEL);
            }
            Advertised::new(MethodId(id), method.name.shared().clone())
                .schema(spec.schema_hash())
                .options(options)
                .concurrency(u32::try_from(workers).unwrap_or(u32::MAX))
        };
        self.methods.iter().zip(1..).map(advertise).collect()
    }

    fn method(&self, target: &Target) -> Option<Resolved> {
        match target {
            Target::Method(MethodId(id)) => {
                self.methods.get((*id as usize).checked_sub(1)?).cloned()
            }
            Target::Name(_) if self.methods.is_empty() => None,
            Target::Name(name) => self.place.shared.registry.find(name),
        }
    }

    fn refuse(&self, call: CallRef, code: Code, message: impl Into<String>) -> JobHandle {
        let end = JobEnd::Failed {
            code,
            certainty: Certainty::Refused,
            message: message.into(),
        };
        self.place.mailbox.settle(call, end);
        JobHandle::of_none()
    }
}

impl Host for Link {
    fn event(&mut self, event: Event) {
        match event {
            Event::Ready(hello) => {
                self.peer = Some(Peer::new(self.address.clone(), hello.instance));
                self.place.shared.routes.ready(self.place.connection);
            }
            Event::Advertised(methods) => self
                .place
                .shared
                .routes
                .offer(self.place.connection, methods),
            Event::Withdrawn(methods) => self
                .place
                .shared
                .routes
                .withdraw(self.place.connection, &methods),
            Event::Discovered => {
                if let Some(attempt) = self.attempt.take() {
                    attempt.connected();
                }
            }
            // A peer that leaves gets no new call; one that is gone neither.
            Event::Draining { .. } => self
                .place
                .shared
                .routes
                .disconnect_offers(self.place.connection),
            Event::Closed(cause) => {
                self.place.shared.counters.closed(&cause);
                self.place.shared.routes.lose(self.place.connection);
            }
            _ => {}
        }
    }

    fn opened(&mut self, incoming: IncomingCall) -> JobHandle {
        self.place.shared.counters.calls_received.add(1);
        let call = CallRef::Peer(incoming.call);
        if self.workers == 0 {
            return self.refuse(call, Code::NoExecutor, "");
        }
        let Some(method) = self.method(&incoming.target) else {
            let name = match incoming.target {
                Target::Name(name) => name.to_string(),
                Target::Method(_) => "no such id".into(),
            };
            return self.refuse(call, Code::UnknownMethod, name);
        };
        let Some(codec) = Codec::from_id(incoming.codec.0) else {
            return self.refuse(call, Code::Unsupported, "no such codec");
        };
        let spec = method.entry.spec;
        let limits: &Limits = &self.place.shared.limits;
        let longest = spec
            .max_duration()
            .unwrap_or(limits.max_deadline)
            .min(limits.max_deadline);
        let deadline = incoming.deadline.min(time::now() + longest);
        let body = |context| JobBody::Encoded {
            entry: method.entry,
            codec,
            body: incoming.body,
            context,
        };
        let job = Job::new(
            body,
            Stop::of(spec),
            deadline,
            self.peer.clone(),
            call,
            self.place.shared.attachment.clone(),
            self.place.mailbox.clone(),
        );
        let _until_roused = self.place.shared.attachment.gather();
        job.give_to(&*self.place.shared.executor)
    }

    fn rouse(&mut self) -> bool {
        self.place.shared.attachment.rouse()
    }
}
