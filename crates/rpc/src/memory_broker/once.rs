//! Calls with an idempotency key: each runs once, and its twins get its answer.

use std::convert::Infallible;
use std::sync::Arc;

use bowline_backend::time;

use super::MemoryBroker;
use super::begun::{end_of, reply_of};
use crate::dedupe::{Admitted, CallerId, DedupeKey};
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
        let number = CallRef::Kept(self.next_number());
        let answer = LocalAnswer::<Infallible>::new();
        let waiter: (Arc<dyn ReplySink>, _) = (answer.clone(), number);
        let (admitted, settles) = self.shared.dedupe.admit(key, codec, waiter, time::now());
        match admitted {
            Admitted::Run => {
                let sink = (number, settles.clone());
                match self.encoded_job(served, call, sink, None) {
                    Ok(job) => drop(job.give_to(&*self.shared.executor)),
                    Err(error) => {
                        // Nobody else would tell those who came meanwhile.
                        settles.settle(number, JobEnd::from(&error));
                        return Err(error);
                    }
                }
            }
            Admitted::Waits => {}
            Admitted::Answered(end) => return reply_of(codec, end),
        }
        match end_of(&answer, deadline).await {
            Some((end, _)) => reply_of(codec, end),
            None => Err(CallError::new(
                Code::DeadlineExceeded,
                Certainty::MaybeExecuted,
            )),
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
