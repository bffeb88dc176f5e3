//! One call on its way through an executor.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Context as TaskContext;

use bowline_backend::time::{self, Instant, Sleep};
use bowline_concurrency::{CancelScope, Outcome, TaskGroup};
use bytes::Bytes;

use super::caught::caught;
use super::{Attachment, Executor, JobHandle};
use crate::context::Cancel;
use crate::method::{Entry, HandlerEnd};
use crate::proto::CallId;
use crate::{Certainty, Code, Codec, Context, Peer};

/// Where the outcome of a job goes.
pub(crate) trait ReplySink: Send + Sync {
    /// Takes the one outcome of the call `call`.
    fn settle(&self, call: CallRef, end: JobEnd);
}

/// Which call of a sink a job belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallRef {
    /// A call within this process.
    Local(u64),
    /// A call of a peer.
    Peer(CallId),
}

impl CallRef {
    fn number(self) -> u64 {
        match self {
            CallRef::Local(number) => number,
            CallRef::Peer(call) => call.as_u64(),
        }
    }
}

/// The one outcome of a job.
#[derive(Debug)]
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
    fn failed(code: Code, certainty: Certainty) -> Self {
        Self::Failed {
            code,
            certainty,
            message: String::new(),
        }
    }
}

/// Makes the future of a local job.
pub(crate) type LocalStart =
    Box<dyn FnOnce(Context) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What a job runs.
pub(crate) enum JobBody {
    /// A method with encoded arguments.
    Encoded {
        entry: Arc<Entry>,
        codec: Codec,
        body: Bytes,
    },
    /// A future of the caller's, which keeps its result itself.
    Local(LocalStart),
}

/// One call on its way through an executor.
///
/// Whatever becomes of it, its caller gets exactly one answer: a job that is dropped answers
/// [`Cancelled`](Code::Cancelled).
pub struct Job {
    body: Option<JobBody>,
    deadline: Instant,
    cancel: Cancel,
    scope: Option<CancelScope>,
    caller: Option<Peer>,
    call: CallRef,
    attachment: Arc<Attachment>,
    answer: Answer,
}

impl Job {
    /// A job whose outcome goes to `sink` as that of `call`.
    ///
    /// `stoppable` methods are dropped when they are cancelled, the others only see a flag.
    pub(crate) fn new(
        body: JobBody,
        stop: Stop,
        deadline: Instant,
        caller: Option<Peer>,
        call: CallRef,
        attachment: Arc<Attachment>,
        sink: Arc<dyn ReplySink>,
    ) -> Self {
        let (cancel, scope) = match stop {
            Stop::Drop => {
                let scope = CancelScope::new();
                let scope = if deadline == Instant::NEVER {
                    scope
                } else {
                    scope.deadline(deadline)
                };
                (Cancel::Scope(scope.handle()), Some(scope))
            }
            Stop::Flag => (Cancel::Flag(Arc::default()), None),
        };
        let answer = Answer {
            sink: Some(sink),
            call,
            certainty: Certainty::Refused,
        };
        Self {
            body: Some(body),
            deadline,
            cancel,
            scope,
            caller,
            call,
            attachment,
            answer,
        }
    }

    /// Gives it to `executor`; what comes back cancels it, waiting or running. A job that is refused
    /// is answered.
    pub(crate) fn give_to(self, executor: &dyn Executor) -> JobHandle {
        let cancel = self.cancel.clone();
        let ticket = executor.admit(self).unwrap_or_default();
        JobHandle::new(cancel, ticket)
    }

    /// The group of its broker: its handler runs as a child of it.
    pub fn group(&self) -> &TaskGroup<Infallible> {
        self.attachment.group()
    }

    pub(super) fn attachment(&self) -> &Arc<Attachment> {
        &self.attachment
    }

    /// Whether its caller is a task of this process.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.call, CallRef::Local(_))
    }

    /// Whether it waits where others are refused because the queue is full: its caller waits in this
    /// process, so it holds no more than its caller does.
    pub fn is_patient(&self) -> bool {
        self.is_local()
    }

    /// When its caller stops waiting; [`Instant::NEVER`] if it waits as long as it takes.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether nobody waits for it: its caller gave it up, or its broker has ended.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.requested() || self.attachment.is_over()
    }

    /// Runs it to its end; its answer is given by then, and by its deadline where its caller is a
    /// peer, whatever the handler does.
    ///
    /// A job that was cancelled or whose deadline passed is not started.
    pub async fn run(mut self) {
        if self.is_cancelled() {
            return self
                .answer
                .give(JobEnd::failed(Code::Cancelled, Certainty::Refused));
        }
        if self.deadline != Instant::NEVER && self.deadline <= time::now() {
            return self
                .answer
                .give(JobEnd::failed(Code::DeadlineExceeded, Certainty::Refused));
        }
        let Some(body) = self.body.take() else { return };
        let deadline = (self.deadline != Instant::NEVER).then_some(self.deadline);
        let context = Context::new(
            deadline,
            self.cancel.clone(),
            self.caller.take(),
            self.call.number(),
        );
        // From here on the handler may run: a job dropped now says so.
        self.answer.certainty = Certainty::MaybeExecuted;
        let running = run_body(body, context);
        let end = match self.scope.take() {
            Some(scope) => match self.in_time(caught(scope.run(running))).await {
                Ok(Outcome::Done(end)) => end,
                Ok(Outcome::Cancelled(_))
                    if deadline.is_some_and(|deadline| deadline <= time::now()) =>
                {
                    JobEnd::failed(Code::DeadlineExceeded, Certainty::MaybeExecuted)
                }
                Ok(Outcome::Cancelled(_)) => {
                    JobEnd::failed(Code::Cancelled, Certainty::MaybeExecuted)
                }
                Err(payload) => panicked(&*payload),
            },
            None => {
                // Work on another thread outlives this task if the broker ends: it is told.
                let unfinished = CancelOnDrop(Some(self.cancel.clone()));
                let ended = self.in_time(caught(running)).await;
                unfinished.disarm();
                match ended {
                    Ok(end) => end,
                    Err(payload) => panicked(&*payload),
                }
            }
        };
        self.answer.give(end);
    }

    /// Runs a handler to its end, and answers a peer at the deadline if it is not there yet.
    async fn in_time<F: Future>(&mut self, running: F) -> F::Output {
        let mut running = pin!(running);
        let mut alarm: Option<Pin<Box<Sleep>>> = None;
        future::poll_fn(|cx| {
            let polled = running.as_mut().poll(cx);
            if polled.is_pending() && self.is_overdue(&mut alarm, cx) {
                self.cancel.request("the deadline passed");
                self.answer.give(JobEnd::failed(
                    Code::DeadlineExceeded,
                    Certainty::MaybeExecuted,
                ));
            }
            polled
        })
        .await
    }

    /// Whether a peer waits in vain. Callers of this process see to that themselves.
    fn is_overdue(&self, alarm: &mut Option<Pin<Box<Sleep>>>, cx: &mut TaskContext<'_>) -> bool {
        if self.is_local() || self.deadline == Instant::NEVER || self.answer.sink.is_none() {
            return false;
        }
        match &self.cancel {
            Cancel::Never => false,
            // The scope's own deadline polls us.
            Cancel::Scope(scope) => scope.cancel_called() && self.deadline <= time::now(),
            Cancel::Flag(_) => alarm
                .get_or_insert_with(|| Box::pin(time::sleep_until(self.deadline)))
                .as_mut()
                .poll(cx)
                .is_ready(),
        }
    }

    /// Answers it with `code` without running it.
    pub(crate) fn refuse(mut self, code: Code) {
        self.answer.give(JobEnd::failed(code, Certainty::Refused));
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("call", &self.call)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// What cancelling does to a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It is dropped at its next suspension.
    Drop,
    /// It sees a flag and runs to its end.
    Flag,
}

impl Stop {
    pub(crate) fn of(spec: crate::MethodSpec) -> Self {
        if spec.is_no_cancel() || spec.is_blocking() {
            Stop::Flag
        } else {
            Stop::Drop
        }
    }
}

/// Cancels unless it is disarmed.
struct CancelOnDrop(Option<Cancel>);

impl CancelOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel.request("the broker ended");
        }
    }
}

/// An executor did not take a job: there is no room. The job has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the executor has no room for the call")]
#[non_exhaustive]
pub struct Refusal;

/// Gives the one answer, on drop at the latest.
struct Answer {
    sink: Option<Arc<dyn ReplySink>>,
    call: CallRef,
    certainty: Certainty,
}

impl Answer {
    fn give(&mut self, end: JobEnd) {
        if let Some(sink) = self.sink.take() {
            sink.settle(self.call, end);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let certainty = self.certainty;
        self.give(JobEnd::failed(Code::Cancelled, certainty));
    }
}

async fn run_body(body: JobBody, context: Context) -> JobEnd {
    match body {
        JobBody::Encoded { entry, codec, body } => {
            let end = match entry.begin(codec, &body, context) {
                Ok(handler) => handler.await,
                Err(end) => end,
            };
            match end {
                HandlerEnd::Reply(body) => JobEnd::Reply(body),
                HandlerEnd::Application(body) => JobEnd::Application(body),
                HandlerEnd::BadArguments(message) => JobEnd::Failed {
                    code: Code::BadArguments,
                    certainty: Certainty::Refused,
                    message,
                },
                HandlerEnd::Internal(message) => JobEnd::Failed {
                    code: Code::Internal,
                    certainty: Certainty::Executed,
                    message,
                },
            }
        }
        JobBody::Local(start) => {
            start(context).await;
            JobEnd::Reply(Bytes::new())
        }
    }
}

/// The panic's text stays here: it may hold what is nobody's business.
fn panicked(_: &(dyn Any + Send)) -> JobEnd {
    JobEnd::failed(Code::Panic, Certainty::Executed)
}
