//! Calls with an idempotency key: each runs once, and its twins get its answer.

use std::sync::Arc;

use bowline_backend::time;

use super::MemoryBroker;
use super::begun::{end_of, reply_of};
use crate::dedupe::{Admitted, CallerId, DedupeKey, Waiter};
use crate::executor::{CallRef, JobEnd, ReplySink};
use crate::local_answer::LocalAnswer;
use crate::offers::Served;
use crate::{CallError, Certainty, Code, OutCall, Reply};

impl MemoryBroker {
    /// Has the executor answer a call with a key, unless a twin of it has been answered or is going to be.
    ///
    /// It runs to its end or its deadline, whether or not anybody still waits. So it holds a place in the
    /// queue that its caller does not hold, and is refused where that is full.
    pub(super) async fn carry_once(
        &self,
        served: Served,
        call: OutCall,
    ) -> Result<Reply, CallError> {
        let (codec, deadline) = (call.options.codec, call.options.deadline);
        let me = &self.shared.me;
        let key = call.options.extensions.idempotency_key();
        let key = DedupeKey {
            caller: CallerId::Proven(me.principal().into(), me.instance()),
            method: served.method.name.shared().clone(),
            key: key.unwrap_or_default().into(),
        };
        let spec = served.method.entry.spec;
        let late = || CallError::new(Code::DeadlineExceeded, Certainty::MaybeExecuted);
        loop {
            let call_ref = CallRef::Kept(self.next_number());
            let answer = LocalAnswer::new();
            let waiter = Waiter {
                sink: Arc::new(Twin(answer.clone())),
                call: call_ref,
                deadline,
            };
            let dedupe = &self.shared.dedupe;
            let (admitted, settles) = dedupe.admit(key.clone(), codec, spec, waiter, time::now());
            match admitted {
                Admitted::Run => {
                    let sink = (call_ref, settles.clone());
                    match self.encoded_job(served, call, sink, None) {
                        Ok(job) => drop(job.give_to(&*self.shared.executor)),
                        Err(error) => {
                            // Nobody else would tell those who came meanwhile.
                            settles.settle(call_ref, JobEnd::from(&error));
                            return Err(error);
                        }
                    }
                    let (end, _) = end_of(&answer, deadline).await.ok_or_else(late)?;
                    return reply_of(codec, end);
                }
                Admitted::Waits => {
                    let (end, cut_short) = end_of(&answer, deadline).await.ok_or_else(late)?;
                    if cut_short.is_none() {
                        return reply_of(codec, end);
                    }
                }
                Admitted::Answered(end) => return reply_of(codec, end),
            }
        }
    }
}

impl From<&CallError> for JobEnd {
    /// Of a call that was not given to an executor.
    fn from(error: &CallError) -> Self {
        JobEnd::Failed {
            code: error.code(),
            certainty: error.certainty(),
            message: error.message().into(),
        }
    }
}

/// Left in an answer: the call may be made again.
struct CutShort;

/// Where a call with a key gets its answer.
struct Twin(Arc<LocalAnswer<CutShort>>);

impl ReplySink for Twin {
    fn settle(&self, call: CallRef, end: JobEnd) {
        self.0.settle(call, end);
    }

    fn cut_short(&self, call: CallRef, end: JobEnd) {
        self.0.leave(CutShort);
        self.0.settle(call, end);
    }
}
