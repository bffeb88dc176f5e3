mod beginning;
mod commands;
mod ending;
mod gauges;
mod stats;
mod streaming;
mod timing;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time::Instant;
use bytes::BytesMut;

use super::adverts::Adverts;
use super::auth::Handshake;
use super::bucket::Bucket;
use super::frame::{CHARGE, Header};
use super::handshake::{Agreed, Hello};
use super::incoming::Incoming;
use super::inlet::Inlets;
use super::methods::Directory;
use super::outgoing::Outgoing;
use super::outlets::Outlets;
use super::{Advertised, CodecId, Config, Event, Side, StreamProof, Violation};
use crate::small_bodies::SmallBodies;

pub(super) use ending::Sent;
pub(crate) use gauges::Gauges;
pub use stats::Stats;

/// Events that may wait before no more frames are taken.
pub(super) const MAX_EVENTS: usize = 4096;

/// One end of one connection.
///
/// # Driving it
/// A driver owns the byte stream and the machine, and repeats, in any order:
///
/// * **Read.** Append received bytes to one buffer and call [`handle_bytes`](Self::handle_bytes):
///   it takes whole frames from the front and leaves a part of one. When the stream ends, call
///   [`handle_end`](Self::handle_end).
/// * **Events.** After every input poll [`poll_event`](Self::poll_event), as often as you like. If
///   4096 events wait, `handle_bytes` takes no more frames, and
///   [`is_holding`](Self::is_holding) says so: then poll, and call it again with what is left,
///   before you read more and before you tell that the stream has ended.
/// * **Commands.** [`command`](Self::command) whenever there is one; what comes of it is an event.
/// * **Write.** [`poll_transmit`](Self::poll_transmit) into a batch until it adds nothing or the
///   batch is large enough; write the batch; report with
///   [`on_transmitted`](Self::on_transmitted) each time the transport took bytes. Order does not
///   change: what is in the batch is written before what is polled later.
/// * **Time.** Keep one timer at [`poll_timeout`](Self::poll_timeout), call
///   [`handle_timeout`](Self::handle_timeout) when it fires. It may be left armed too early: that
///   call then does nothing.
///
/// When [`is_finished`](Self::is_finished), what is in the batch is written if the stream still
/// takes it, unless `handle_end` was called: after that nothing more may be written, because
/// calls have been reported as never sent. Then the stream is closed, whatever its state.
///
/// # Example
/// ```
/// use bowline_backend::time::Instant;
/// use bowline_codec::OutputBatch;
/// use bowline_rpc::proto::{CodecId, Command, Config, Event, Machine, Open, Side, Target};
/// use bytes::{Bytes, BytesMut};
/// use std::sync::Arc;
///
/// let now = Instant::from_nanos(0);
/// let config = |instance| Arc::new(Config::new("example", [instance; 16]));
/// let mut dialer = Machine::new(config(1), Side::Dialer, now, [3; 32]);
/// let mut listener = Machine::new(config(2), Side::Listener, now, [4; 32]);
///
/// // A network: what one sends, the other receives, until nobody has anything to say.
/// fn exchange(from: &mut Machine, to: &mut Machine, now: Instant) -> bool {
///     let mut batch = OutputBatch::new();
///     from.poll_transmit(now, &mut batch, 64 * 1024);
///     let mut bytes: BytesMut = batch.slices().flatten().copied().collect();
///     from.on_transmitted(bytes.len());
///     let moved = !bytes.is_empty();
///     to.handle_bytes(now, &mut bytes).expect("no violation");
///     moved
/// }
///
/// let target = Target::Name("mul".into());
/// let call = Open::new(target, CodecId::JSON, Bytes::from_static(b"[2,3]"));
/// let id = dialer.command(now, Command::Open(call))?;
/// let result = 'result: loop {
///     while exchange(&mut dialer, &mut listener, now) | exchange(&mut listener, &mut dialer, now) {}
///     while let Some(event) = listener.poll_event() {
///         if let Event::Opened(call) = event {
///             let answer = Command::Reply { call: call.call, body: Bytes::from_static(b"6") };
///             listener.command(now, answer)?;
///         }
///     }
///     while let Some(event) = dialer.poll_event() {
///         if let Event::Replied { call, body } = event {
///             assert_eq!(call, id);
///             break 'result body;
///         }
///     }
/// };
/// assert_eq!(&result[..], b"6");
/// # Ok::<(), bowline_rpc::proto::Rejected>(())
/// ```
// Invariants
// M1 Each call of ours gets exactly one `Replied` or `Failed`: `settle` and `on_reply` are the only
//    makers, and `Outgoing` gives each call to them once.
// M2 `Closed` is pushed once, after the last event of any call, by `close` alone.
// M3 `held` is the sum of `Event::held` over `events`.
// M4 Once `phase` is `Over`, nothing is sent but what `control` and `answers` hold, nothing is
//    received, and no timeout is due but the end of a silence before a CLOSE.
pub struct Machine {
    pub(super) config: Arc<Config>,
    pub(super) side: Side,
    pub(super) seed: [u8; 32],
    pub(super) phase: Phase,
    /// Until the peer has proved itself, or no proof is asked for.
    pub(super) handshake: Option<Box<Handshake>>,
    /// Whom the peer has proved to be.
    pub(super) principal: Arc<str>,
    /// What the stream says of it.
    pub(super) stream: StreamProof,
    /// The peer has proved who it is.
    pub(super) known: bool,
    /// This side has proved to the peer who it is.
    pub(super) proves: bool,
    /// The pass that it showed the peer.
    pub(super) shown: Option<[u8; 16]>,
    /// The last frame waits until then.
    pub(super) silent_until: Option<Instant>,
    pub(super) started: Instant,
    pub(super) violation: Option<Violation>,
    pub(super) handshake_bytes: usize,
    pub(super) preface: [u8; 8],
    pub(super) preface_len: usize,
    pub(super) tail: (usize, usize),
    /// Whole frames are left in the input until events are polled.
    pub(super) holding: bool,
    pub(super) peer: Option<Box<Hello>>,
    pub(super) agreed: Agreed,
    pub(super) control: BytesMut,
    pub(super) pongs: u32,
    pub(super) adverts: Adverts,
    pub(super) snapshot: Vec<Advertised>,
    /// The snapshot comes with the first command to advertise once the connection is open.
    pub(super) offers_later: bool,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    /// What goes out in parts or as one item of many, and what comes in so.
    pub(super) outlets: Outlets,
    pub(super) inlets: Inlets,
    /// Bytes of whole messages handed out since the last part of another.
    pub(super) since_part: usize,
    pub(super) directory: Directory,
    pub(super) discovered: bool,
    pub(super) draining: bool,
    pub(super) leaving: bool,
    /// The peer was asked to open nothing new, and has not answered the PING after that.
    pub(super) asked_to_drain: bool,
    /// Notifications received and not granted again, and those of them that were taken.
    pub(super) notifications: u32,
    pub(super) notifications_taken: u32,
    /// Late frames that a peer may send that keeps the rules.
    pub(super) forgiven: u64,
    pub(super) pings: Bucket,
    pub(super) changes: Bucket,
    pub(super) unknown: Bucket,
    pub(super) events: VecDeque<Event>,
    pub(super) held: usize,
    /// CREDIT frames for what this side sends: the program there has taken some of it.
    pub(super) credits: u64,
    pub(super) bodies: SmallBodies,
    /// What the buffer has room for from which frames are taken.
    pub(super) buffer: usize,
    pub(super) handed: u64,
    pub(super) transmitted: u64,
    pub(super) received_at: Instant,
    pub(super) pinged_at: Option<Instant>,
    pub(super) interval: Duration,
    /// What the last heartbeat took.
    pub(super) round_trip: Option<Duration>,
    pub(super) stats: Stats,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the peer's preface.
    Preface,
    /// Waits for its HELLO.
    Hello,
    /// Waits for its PROOF.
    Proof,
    /// Waits for its READY.
    Ready,
    /// Both are ready.
    Open,
    /// Closed or ended.
    Over,
}

impl Machine {
    pub(super) fn put_control(&mut self, kind: u8, aux: u16, payload: &[u8]) {
        let header = Header::new(kind, payload.len(), aux, 0);
        self.control.extend_from_slice(&header.to_bytes());
        self.control.extend_from_slice(payload);
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let Some(event) = self.events.pop_front() else {
            let call = self.outlets.next_roomy()?;
            return Some(Event::Room { call });
        };
        self.held -= event.held(self.config.limits.call_window);
        match &event {
            Event::Replied { call, .. } | Event::Failed { call, .. } | Event::Notified { call } => {
                self.outgoing.reported(*call)
            }
            _ => {}
        }
        if self.events.is_empty() && self.events.capacity() > 512 {
            self.events = VecDeque::new();
        }
        Some(event)
    }

    pub(super) fn push(&mut self, event: Event) {
        self.held += event.held(self.config.limits.call_window);
        self.events.push_back(event);
    }

    /// Bytes this machine holds: tables, queues, bodies, events not yet polled, and what it has granted beyond
    /// the windows of calls for messages that were not [consumed](super::Command::Consumed).
    ///
    /// Never more than [`LimitsReport::connection`](crate::LimitsReport::connection).
    pub fn memory_in_use(&self) -> usize {
        let snapshot: usize = self.snapshot.iter().map(Advertised::wire_len).sum();
        size_of::<Self>()
            + self
                .handshake
                .as_ref()
                .map_or(0, |handshake| handshake.memory())
            + self.control.capacity()
            + self.adverts.memory()
            + snapshot
            + self.snapshot.capacity() * size_of::<Advertised>()
            + self.outgoing.memory()
            + self.incoming.memory()
            + self.outlets.memory()
            + self.inlets.memory()
            + self.directory.memory()
            + self.events.capacity() * size_of::<Event>()
            + self.held
            + SmallBodies::memory()
    }

    /// Whether there is nothing more to send or to receive. Events may still wait.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Over && self.control.is_empty() && !self.incoming.has_answers()
    }

    /// Whether [`handle_bytes`](Self::handle_bytes) left whole frames in its input, because too many
    /// events wait.
    pub fn is_holding(&self) -> bool {
        self.holding && self.phase != Phase::Over
    }

    /// Whether the handshake is done and the connection is not over.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Open
    }

    /// How many events wait to be taken.
    pub(crate) fn events(&self) -> usize {
        self.events.len()
    }

    /// Bytes of bodies of calls that are not sent yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.outgoing.queued_bytes() + self.outlets.held_by_calls()
    }

    /// Whether messages wait that go out in parts or one by one.
    pub(crate) fn is_sending(&self) -> bool {
        self.outlets.held() > 0
    }

    /// Whether calls of the peer are there in part.
    pub(crate) fn has_partial_calls(&self) -> bool {
        self.inlets.has_partial_opens()
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    pub(super) fn has_codec(&self, codec: u8) -> bool {
        self.agreed.codecs.contains(&CodecId(codec))
    }

    /// The charge of a body.
    pub(super) fn charge(body: usize) -> u32 {
        saturate(body.saturating_add(CHARGE))
    }
}

/// What a message of so many bytes takes of the window of its call: its length and 16.
pub const fn charge(length: usize) -> u64 {
    length as u64 + CHARGE as u64
}

/// The answer to a call that was given up while its reply was on the way.
pub(super) fn given_up() -> super::Failure {
    super::Failure::new(crate::Code::Cancelled).certainty(crate::Certainty::Executed)
}

pub(super) fn saturate(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("side", &self.side)
            .field("phase", &self.phase)
            .field("queued", &self.outgoing.queued())
            .field("events", &self.events.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
