use std::sync::Arc;
use std::time::Duration;

use bowline_backend::time::Instant;
use bytes::Bytes;

use super::Guess;
use super::{
    Advertised, CallId, CallKind, CancelReason, CodecId, Extensions, Items, MethodId, Target,
    Violation,
};
use crate::{CallError, Code};

/// How the stream ended, as the driver saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The peer ended its side: no more bytes will come.
    Ended,
    /// The transport failed.
    Broken(BrokenKind),
}

/// How a transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokenKind {
    /// An error of the operating system or of the transport above it.
    Io(std::io::ErrorKind),
    /// The transport accepted no byte for too long.
    Stalled,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// We closed it.
    Closed(Code),
    /// The peer closed it and said why.
    ClosedByPeer {
        /// The code.
        code: Code,
        /// The message, at most 512 bytes, control characters escaped; often empty.
        message: Box<str>,
    },
    /// The peer broke the protocol, or does not speak it, or does not fit.
    Violation(Violation),
    /// The peer ended between two frames without a word.
    Ended,
    /// The peer ended inside a frame or inside its preface.
    Truncated {
        /// Bytes of it that came.
        have: usize,
        /// Bytes it has at least.
        need: usize,
    },
    /// The transport failed.
    Broken(BrokenKind),
    /// The handshake took too long.
    HandshakeTimeout,
    /// Nothing came for three heartbeats.
    HeartbeatTimeout,
}

impl CloseCause {
    /// Whether connecting again would end the same way: another protocol, version or project, or
    /// no right to connect.
    pub fn is_permanent(&self) -> bool {
        match self {
            CloseCause::Violation(violation) => violation.is_permanent(),
            CloseCause::ClosedByPeer { code, .. } => {
                matches!(code, Code::Unauthenticated | Code::Unsupported)
            }
            _ => false,
        }
    }

    /// Whether the two sides belong to different projects.
    pub fn is_wrong_project(&self) -> bool {
        match self {
            CloseCause::Violation(violation) => *violation == Violation::WrongProject,
            CloseCause::ClosedByPeer { code, message } => {
                *code == Code::Unsupported && &**message == "project"
            }
            _ => false,
        }
    }

    /// What the peer speaks instead, if it does not speak this protocol.
    pub fn not_our_protocol(&self) -> Option<Guess> {
        match self {
            CloseCause::Violation(Violation::NotOurProtocol { guess }) => Some(*guess),
            _ => None,
        }
    }
}

impl std::fmt::Display for CloseCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CloseCause::Closed(code) => write!(f, "closed: {code}"),
            CloseCause::ClosedByPeer { code, message } if message.is_empty() => {
                write!(f, "closed by the peer: {code}")
            }
            CloseCause::ClosedByPeer { code, message } => {
                write!(f, "closed by the peer: {code}: {message}")
            }
            CloseCause::Violation(violation) => write!(f, "{violation}"),
            CloseCause::Ended => f.write_str("the peer ended the connection"),
            CloseCause::Truncated { have, need } => {
                write!(
                    f,
                    "the peer ended inside a frame: {have} of at least {need} bytes"
                )
            }
            CloseCause::Broken(BrokenKind::Io(kind)) => write!(f, "the connection broke: {kind}"),
            CloseCause::Broken(BrokenKind::Stalled) => f.write_str("the peer stopped reading"),
            CloseCause::HandshakeTimeout => f.write_str("the handshake took too long"),
            CloseCause::HeartbeatTimeout => f.write_str("the peer is silent"),
        }
    }
}

impl std::error::Error for CloseCause {}

/// What a machine tells its driver.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done.
    Ready(Box<PeerHello>),
    /// The peer offers these methods, in addition to those before.
    Advertised(Vec<Advertised>),
    /// The peer's first snapshot is complete: a method not advertised by now is not there yet.
    Discovered,
    /// The peer offers these methods no longer.
    Withdrawn(Vec<MethodId>),
    /// The peer calls. Answer with one [`Reply`](super::Command::Reply) or
    /// [`Fail`](super::Command::Fail). If the arguments are longer than
    /// [`Limits::call_window`](crate::Limits::call_window), say with [`Consumed`](super::Command::Consumed)
    /// when the application has taken them: others wait for that. The answer says it too.
    Opened(IncomingCall),
    /// The peer gave up one of its calls. It still wants an answer, whatever it is: the answer
    /// frees the place of the call.
    Cancelled {
        /// The peer's call.
        call: CallId,
        /// Why.
        reason: CancelReason,
    },
    /// An item of a call that streams to here. Once the application took it, say so with
    /// [`Consumed`](super::Command::Consumed).
    Item {
        /// The call.
        call: CallId,
        /// The encoded item.
        body: Bytes,
    },
    /// Several items of a call that streams to here, each to be counted as [`Item`](Self::Item) is. How
    /// many come together is a matter of how the bytes came.
    Items {
        /// The call.
        call: CallId,
        /// The encoded items.
        items: Items,
    },
    /// The items of a call of the peer are complete.
    Ended {
        /// The peer's call.
        call: CallId,
    },
    /// There may be room for an item again on a call that streams from here.
    Room {
        /// The call.
        call: CallId,
    },
    /// A notification of ours was handed out: that is all there is to know of it.
    Notified {
        /// Our notification.
        call: CallId,
    },
    /// A call of ours succeeded. If the result is longer than
    /// [`Limits::call_window`](crate::Limits::call_window), or items of the call have not been taken, say with
    /// [`Consumed`](super::Command::Consumed) when the application has taken all of it: others wait for
    /// that.
    Replied {
        /// Our call.
        call: CallId,
        /// The encoded result.
        body: Bytes,
    },
    /// A call of ours failed. If items of it have not been taken, as [`Replied`](Self::Replied).
    Failed {
        /// Our call.
        call: CallId,
        /// Why, and whether it may have run.
        error: CallError,
    },
    /// The peer wants no new calls. Calls not yet sent have failed as never sent, and with
    /// `last_taken` those it did not take have failed as refused.
    Draining {
        /// Whether the peer has said which of our calls was the last it took.
        last_taken: bool,
        /// How long it waits for calls in flight.
        within: Duration,
    },
    /// The peer has read that it should [open nothing new](super::Command::Drain): all calls that it
    /// opened before that have come.
    Quiet,
    /// The connection is over; all calls of ours have failed before. Always the last event.
    Closed(CloseCause),
}

impl Event {
    /// Bytes of bodies it holds, of which more than a `window` are counted elsewhere until they are taken.
    pub(super) fn held(&self, window: u32) -> usize {
        let within = |body: &Bytes| body.len().min(window as usize);
        match self {
            Event::Opened(call) => within(&call.body) + call.extensions.len(),
            Event::Replied { body, .. } | Event::Item { body, .. } => within(body),
            Event::Items { items, .. } => items.charge() as usize,
            Event::Failed { error, .. } => {
                error.message().len() + error.application().map_or(0, |body| body.bytes.len())
            }
            Event::Advertised(methods) => methods
                .iter()
                .map(|m| m.name.len() + size_of::<Advertised>())
                .sum(),
            Event::Withdrawn(methods) => size_of_val(&methods[..]),
            _ => 0,
        }
    }
}

/// A call the peer opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct IncomingCall {
    /// Its id, to answer it with.
    pub call: CallId,
    /// Who sends items. A notification wants no answer, but
    /// [`Consumed`](super::Command::Consumed) of the connection once its handler has started.
    pub kind: CallKind,
    /// The method it is for.
    pub target: Target,
    /// The codec of its arguments, one of those agreed on.
    pub codec: CodecId,
    /// Its priority, 0 to 7, higher first.
    pub priority: u8,
    /// How many calls it is nested in, 0 to 8.
    pub hops: u8,
    /// When its caller stops waiting, by our clock; [`Instant::NEVER`] if it named no deadline.
    pub deadline: Instant,
    /// What else came with it.
    pub extensions: Extensions,
    /// The encoded arguments.
    pub body: Bytes,
}

/// By what a peer recognises this side when it comes again, by another connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KnownAs {
    /// By whom it has proved to be, wherever and whichever way it comes.
    Proven(Arc<str>),
    /// By the [pass](crate::proto::Config::passes) that it showed, which is another for each place that it dials,
    /// and another for whoever dials it.
    Shown([u8; 16]),
    /// By nothing: who comes again is somebody else.
    Nothing,
}

/// What the peer said about itself in the handshake, and what was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerHello {
    /// Fresh per start of the peer's broker: tells a peer reached twice and a peer that restarted.
    pub instance: [u8; 16],
    /// The codecs both understand, in the listener's order.
    pub codecs: Vec<CodecId>,
    /// The name the peer gives us; may be empty.
    pub principal: Box<str>,
    /// Whom the peer has proved to be: the id of the key, the principal of its certificate, or its user, as
    /// `uid:1000`. Empty without a proof, or if the id is.
    pub proven: Arc<str>,
    /// Whether the peer has proved anything.
    pub is_known: bool,
    /// What it shows nobody but this side, and shows this side whenever it comes.
    pub pass: Option<[u8; 16]>,
    /// By what the peer recognises this side when it comes again.
    pub known_as: KnownAs,
    /// Longest message to this peer, in bytes.
    pub max_body: u32,
    /// Calls to this peer that may be open at once, at hop level 0.
    pub max_calls: u32,
}
