use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time::Instant;
use bytes::Bytes;

use super::outgoing::LEVELS;
use super::{Advertised, CodecId, Extensions, Items, MethodId};
use crate::{Certainty, Code};

/// One call of one machine, of ours or of the peer's, or the connection itself.
///
/// Calls of ours are named by a place of the machine, because their number on the wire is given
/// only when they are sent; calls of the peer's are named by that number. An id
/// comes again after two thousand million calls at the soonest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

const OURS: u64 = 1 << 63;

impl CallId {
    /// The connection itself: what commands that concern no call return.
    pub const CONNECTION: CallId = CallId(0);

    pub(super) fn ours(generation: u32, slot: u32) -> CallId {
        CallId(OURS | u64::from(generation & 0x7FFF_FFFF) << 32 | u64::from(slot))
    }

    /// `wire` is below 2^63: higher ones are a violation.
    pub(super) fn theirs(wire: u64) -> CallId {
        CallId(wire & !OURS)
    }

    /// Whether this side opened the call.
    pub fn is_ours(self) -> bool {
        self.0 & OURS != 0
    }

    /// Place of a call of ours: small, dense, and free again after the call's terminal event. Good
    /// as index of a table of waiting callers.
    pub fn slot(self) -> usize {
        (self.0 & 0xFFFF_FFFF) as usize
    }

    /// The whole id as a number.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == CallId::CONNECTION {
            f.write_str("CallId(connection)")
        } else if self.is_ours() {
            write!(f, "CallId(ours {}.{})", self.slot(), (self.0 & !OURS) >> 32)
        } else {
            write!(f, "CallId(theirs {})", self.0)
        }
    }
}

/// What a driver tells a machine to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Call a method of the peer. Ends with exactly one [`Replied`](super::Event::Replied) or
    /// [`Failed`](super::Event::Failed).
    Open(Open),
    /// Answer a call of the peer with a result. A body that is larger than the peer takes is
    /// answered with [`Code::TooLarge`].
    Reply {
        /// The peer's call.
        call: CallId,
        /// The encoded result.
        body: Bytes,
    },
    /// Answer a call of the peer with an error.
    Fail {
        /// The peer's call.
        call: CallId,
        /// The error.
        failure: Failure,
    },
    /// Send one item on a call that streams from here.
    ///
    /// [`NoRoom`](super::Rejected::NoRoom) if the peer has granted too little for it; an
    /// [`Event::Room`](super::Event::Room) says when to try again. The first one comes when a call of ours
    /// has been sent.
    Item {
        /// The call.
        call: CallId,
        /// The encoded item.
        body: Bytes,
    },
    /// Send several items on a call that streams from here, none longer than
    /// [`Items::LONGEST`]: [`TooLarge`](super::Rejected::TooLarge) if one is.
    ///
    /// [`NoRoom`](super::Rejected::NoRoom) if the peer has granted too little for all of them; nothing is
    /// sent then.
    Items {
        /// The call.
        call: CallId,
        /// The encoded items.
        items: Items,
    },
    /// The items of a call of ours are complete. Like an item where there is no room for one.
    End {
        /// Our call.
        call: CallId,
    },
    /// The application has taken so much of what came on a call, as [`charge`](super::charge) has it: the
    /// peer may send as much again, on this call while it is open, and on any of what is beyond the windows of
    /// calls. More than came counts as all. With [`CallId::CONNECTION`], so many notifications.
    Consumed {
        /// The call.
        call: CallId,
        /// How much.
        amount: u64,
    },
    /// Give up a call of ours. Its terminal event comes at once; the peer is told.
    Cancel {
        /// Our call.
        call: CallId,
        /// Why.
        reason: CancelReason,
    },
    /// Offer methods to the peer. Given before the connection is ready they are its first
    /// snapshot, which is sent, empty if need be, as soon as it is ready.
    Advertise(Vec<Advertised>),
    /// Offer these methods no longer. Calls in flight are not touched.
    Withdraw(Vec<MethodId>),
    /// Ask the peer to open nothing new. Calls it opens all the same are still taken. Once it has read
    /// that, what it opened before has come, and [`Quiet`](super::Event::Quiet) says so.
    Drain {
        /// How long calls in flight may take.
        within: Duration,
    },
    /// Take no new call from now on: calls of the peer above the last taken one are refused.
    Leave {
        /// How long calls in flight may take.
        within: Duration,
    },
    /// Close the connection: answers given so far are still sent, everything else ends now.
    Close {
        /// Why; [`Code::Cancelled`] for no reason in particular.
        code: Code,
        /// At most 512 bytes are sent.
        message: Arc<str>,
    },
}

/// The method a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By the id the peer advertised.
    Method(MethodId),
    /// By name, 1 to 200 bytes.
    Name(Arc<str>),
}

/// What a call carries besides one message each way, as bits of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallKind(pub u8);

impl CallKind {
    /// Arguments there, a reply back.
    pub const UNARY: CallKind = CallKind(0);
    /// The executor sends items before its reply.
    pub const EXECUTOR_STREAMS: CallKind = CallKind(1);
    /// The caller sends items after its arguments.
    pub const CALLER_STREAMS: CallKind = CallKind(2);
    /// Both send items.
    pub const BOTH_STREAM: CallKind = CallKind(3);
    /// Arguments there, and nothing back, not even an error.
    pub const NOTIFY: CallKind = CallKind(4);
    /// The arguments have names.
    pub const NAMED_ARGUMENTS: CallKind = CallKind(8);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: CallKind) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether these bits go together and are all known.
    pub(super) fn is_known(self) -> bool {
        self.0 < 16 && (!self.contains(CallKind::NOTIFY) || self.0 & 3 == 0)
    }
}

/// A call on its way out.
#[derive(Clone, Debug)]
pub struct Open {
    pub(super) kind: CallKind,
    pub(super) target: Target,
    pub(super) codec: CodecId,
    pub(super) priority: u8,
    pub(super) hops: u8,
    pub(super) deadline: Instant,
    pub(super) extensions: Extensions,
    pub(super) body: Bytes,
}

impl Open {
    /// A call of `target` with the arguments `body`, encoded with `codec`: priority 4, hop level
    /// 0, no deadline.
    pub fn new(target: Target, codec: CodecId, body: Bytes) -> Self {
        Self {
            kind: CallKind::UNARY,
            target,
            codec,
            priority: 4,
            hops: 0,
            deadline: Instant::NEVER,
            extensions: Extensions::new(),
            body,
        }
    }

    /// Who sends items, or that nobody waits for an answer.
    pub fn kind(mut self, kind: CallKind) -> Self {
        self.kind = kind;
        self
    }

    /// The arguments have names.
    pub fn named(mut self) -> Self {
        self.kind.0 |= CallKind::NAMED_ARGUMENTS.0;
        self
    }

    /// When the caller stops waiting. [`Instant::NEVER`] is no deadline.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = deadline;
        self
    }

    /// Priority at the executor, 0 to 7, higher first; above 7 counts as 7.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority.min(7);
        self
    }

    /// How many calls this one is nested in, 0 to 8. More is rejected.
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// The hop level whose slots it takes; notifications have a queue of their own.
    pub(crate) fn level(&self) -> usize {
        if self.kind.contains(CallKind::NOTIFY) {
            LEVELS
        } else {
            self.hops.into()
        }
    }

    /// Idempotency key, trace, metadata, schema.
    pub fn extensions(mut self, extensions: Extensions) -> Self {
        self.extensions = extensions;
        self
    }
}

/// The error that answers a call of the peer.
#[derive(Clone, Debug)]
pub struct Failure {
    pub(super) code: Code,
    pub(super) certainty: Certainty,
    pub(super) detail: Detail,
    pub(super) retry_after: Duration,
    pub(super) message: Arc<str>,
}

#[derive(Clone, Debug)]
pub(super) enum Detail {
    None,
    Application(Bytes),
    Sizes { limit: u32, actual: u32 },
}

impl Failure {
    /// A failure with the usual certainty of `code`.
    pub fn new(code: Code) -> Self {
        Self {
            code,
            certainty: code.usual_certainty(),
            detail: Detail::None,
            retry_after: Duration::ZERO,
            message: Arc::from(""),
        }
    }

    /// The method failed in its own terms; `error` is encoded with the call's codec.
    pub fn application(error: Bytes) -> Self {
        Self {
            detail: Detail::Application(error),
            ..Self::new(Code::Application)
        }
    }

    /// Something was too large.
    pub fn too_large(certainty: Certainty, limit: u32, actual: u32) -> Self {
        Self {
            certainty,
            detail: Detail::Sizes { limit, actual },
            ..Self::new(Code::TooLarge)
        }
    }

    /// Whether the handler may have run.
    pub fn certainty(mut self, certainty: Certainty) -> Self {
        self.certainty = certainty;
        self
    }

    /// What to tell the caller. At most 4 KiB are sent, and no more than fits its frames.
    pub fn message(mut self, message: impl Into<Arc<str>>) -> Self {
        self.message = message.into();
        self
    }

    /// When to try again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = after;
        self
    }

    pub(super) fn held(&self) -> usize {
        let detail = match &self.detail {
            Detail::Application(body) => body.len(),
            _ => 0,
        };
        detail + self.message.len()
    }
}

/// Why a call is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelReason {
    /// Nobody waits for it any more.
    Dropped,
    /// Its deadline passed.
    Deadline,
    /// The caller's broker is leaving.
    Drain,
    /// Another call took its place.
    Superseded,
    /// Somebody in charge said so.
    Admin,
}

impl CancelReason {
    pub(super) fn to_wire(self) -> u16 {
        match self {
            CancelReason::Dropped => 1,
            CancelReason::Deadline => 2,
            CancelReason::Drain => 3,
            CancelReason::Superseded => 4,
            CancelReason::Admin => 5,
        }
    }

    pub(super) fn from_wire(number: u16) -> Self {
        match number {
            2 => CancelReason::Deadline,
            3 => CancelReason::Drain,
            4 => CancelReason::Superseded,
            5 => CancelReason::Admin,
            _ => CancelReason::Dropped,
        }
    }
}
