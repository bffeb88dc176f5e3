//! The one outcome of a job, and where it goes.

use std::sync::Arc;

use bowline_backend::time::Instant;
use bytes::Bytes;

use crate::meter::Meter;
use crate::proto::CallId;
use crate::span::HandleSpan;
use crate::{Certainty, Code};

/// Where the outcome of a job goes.
pub(crate) trait ReplySink: Send + Sync {
    /// The handler is about to run.
    fn begun(&self) {}

    /// It has come to `end`, of which whoever waits for the last handler has not heard yet.
    fn ends(&self, _end: &JobEnd) {}

    /// Takes the one outcome of the call `call`.
    fn settle(&self, call: CallRef, end: JobEnd);

    /// The one that ran for this call, having its key, came to its own deadline, and to nothing: `end` says so,
    /// and this one may be made again.
    fn cut_short(&self, call: CallRef, end: JobEnd) {
        self.settle(call, end);
    }

    /// Its time is over, of which `end` says so, and its handler goes on. Whether what the handler comes to is
    /// still wanted: then that is the outcome to [`settle`](Self::settle).
    fn overdue(&self, call: CallRef, end: JobEnd) -> bool {
        self.settle(call, end);
        false
    }
}

/// Which call of a sink a job belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallRef {
    /// A call within this process, which ends with its caller.
    Local(u64),
    /// The same, of a caller that may call elsewhere: it does not wait for room.
    Here(u64),
    /// One that goes on without its caller, for others may get its answer.
    Kept(u64),
    /// A call of a peer.
    Peer(CallId),
    /// A notification of a peer, which has the credit of the peer until its handler runs.
    Notification(CallId),
}

impl CallRef {
    pub(crate) fn number(self) -> u64 {
        match self {
            CallRef::Local(number) | CallRef::Here(number) | CallRef::Kept(number) => number,
            CallRef::Peer(call) | CallRef::Notification(call) => call.as_u64(),
        }
    }
}

/// The one outcome of a job.
#[derive(Clone, Debug)]
pub(crate) enum JobEnd {
    /// The encoded reply; empty for a local job, which keeps its result itself.
    Reply(Bytes),
    /// The encoded error of the method.
    Application(Bytes),
    /// It failed otherwise.
    Failed {
        code: Code,
        certainty: Certainty,
        message: String,
    },
}

impl JobEnd {
    /// Whether its handler certainly was not started.
    pub(crate) fn did_not_run(&self) -> bool {
        matches!(self, Self::Failed { certainty, .. } if certainty.did_not_run())
    }

    /// Bytes of what it says.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Reply(body) | Self::Application(body) => body.len(),
            Self::Failed { message, .. } => message.len(),
        }
    }

    pub(in crate::executor) fn failed(code: Code, certainty: Certainty) -> Self {
        Self::Failed {
            code,
            certainty,
            message: String::new(),
        }
    }
}

/// Gives the one answer, on drop at the latest.
pub(super) struct Answer {
    pub(super) sink: Option<Arc<dyn ReplySink>>,
    pub(super) call: CallRef,
    pub(super) certainty: Certainty,
    pub(super) meter: Arc<Meter>,
    pub(super) arrived: Instant,
    pub(super) span: HandleSpan,
    /// Its caller has been told that its time is over, and somebody else wants the outcome.
    pub(super) overdue: bool,
}

impl Answer {
    pub(super) fn give(&mut self, end: JobEnd) {
        if let Some(sink) = self.sink.take() {
            if !self.overdue {
                sink.ends(&end);
                self.count(&end);
            }
            sink.settle(self.call, end);
        }
    }

    /// Its time is over, and the handler goes on.
    pub(super) fn give_overdue(&mut self, end: JobEnd) {
        if let Some(sink) = self.sink.take() {
            sink.ends(&end);
            self.count(&end);
            if sink.overdue(self.call, end) {
                self.sink = Some(sink);
                self.overdue = true;
            }
        }
    }

    fn count(&self, end: &JobEnd) {
        let begun = self.certainty == Certainty::MaybeExecuted;
        self.meter.ended(self.arrived, begun, end);
        self.span.ended(end);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let certainty = self.certainty;
        self.give(JobEnd::failed(Code::Cancelled, certainty));
    }
}
