//! Calls that carry more than one message each way: items to the executor, items back, or both.

mod bunch;
mod caller;
mod handler;
mod incoming;
mod outgoing;
mod overflow;
mod pipe;
#[cfg(test)]
mod properties;
mod raw;
mod reader;

pub use caller::{
    ItemReceiver, ItemSender, SendItemError, StreamCall, StreamingCall, TryRecvItemError,
    TrySendItemError,
};
pub use handler::{IntoOutgoing, StreamHandler};
pub use incoming::{Incoming, ItemError};
pub use outgoing::Outgoing;
pub use overflow::{Lossy, Overflow, OverflowExt};
pub use raw::{RawReceiver, RawSendError, RawSender, RawStream};

pub(crate) use bunch::Bunch;
pub(crate) use handler::HandlerStreams;
pub(crate) use pipe::{End, Fed, Pipe};
pub(crate) use raw::Outcome;

use serde::{Deserialize, Serialize};

use crate::proto::{CallKind, MethodOptions};

/// Who sends items in a call besides its arguments and its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Streaming {
    /// Nobody: one message each way.
    #[default]
    No,
    /// The executor, before its reply.
    Executor,
    /// The caller, after its arguments.
    Caller,
    /// Both.
    Both,
}

impl Streaming {
    /// Whether the caller sends items.
    pub const fn from_caller(self) -> bool {
        matches!(self, Streaming::Caller | Streaming::Both)
    }

    /// Whether the executor sends items.
    pub const fn from_executor(self) -> bool {
        matches!(self, Streaming::Executor | Streaming::Both)
    }

    pub(crate) fn kind(self) -> CallKind {
        match self {
            Streaming::No => CallKind::UNARY,
            Streaming::Executor => CallKind::EXECUTOR_STREAMS,
            Streaming::Caller => CallKind::CALLER_STREAMS,
            Streaming::Both => CallKind::BOTH_STREAM,
        }
    }

    /// Why a call of `method`, which streams so, is refused.
    pub(crate) fn asked_wrongly(self) -> &'static str {
        match self {
            Streaming::No => "it has no items, so it is awaited, not opened",
            Streaming::Executor => "it has items of its executor, so it is opened, not awaited",
            Streaming::Caller => "it has items of its caller, so it is opened, not awaited",
            Streaming::Both => "it has items both ways, so it is opened, not awaited",
        }
    }

    /// As an advertised method says it.
    pub(crate) fn of_options(options: MethodOptions) -> Self {
        let caller = options.contains(MethodOptions::CALLER_STREAMS);
        let executor = options.contains(MethodOptions::EXECUTOR_STREAMS);
        match (caller, executor) {
            (false, false) => Streaming::No,
            (false, true) => Streaming::Executor,
            (true, false) => Streaming::Caller,
            (true, true) => Streaming::Both,
        }
    }

    pub(crate) fn of(kind: CallKind) -> Self {
        let both = CallKind(kind.0 & CallKind::BOTH_STREAM.0);
        match both {
            CallKind::EXECUTOR_STREAMS => Streaming::Executor,
            CallKind::CALLER_STREAMS => Streaming::Caller,
            CallKind::BOTH_STREAM => Streaming::Both,
            _ => Streaming::No,
        }
    }
}

/// What is sent where nothing is: no value of this type exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoItem {}
