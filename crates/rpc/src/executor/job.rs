//! One call on its way through an executor.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bowline_backend::time::{self, Instant};
use bowline_concurrency::{CancelScope, Outcome};
use bytes::Bytes;

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
            answer,
        }
    }

    /// How to cancel it, in the queue or running.
    pub(crate) fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// When its caller stops waiting; [`Instant::NEVER`] if it waits as long as it takes.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether its caller gave it up.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.requested()
    }

    /// Runs it to its end; its answer is given by then.
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
            Some(scope) => match caught(scope.run(running)).await {
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
            None => match caught(running).await {
                Ok(end) => end,
                Err(payload) => panicked(&*payload),
            },
        };
        self.answer.give(end);
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

pin_project_lite::pin_project! {
    /// Catches a panic out of a poll; the panic hook has run.
    struct Caught<F> {
        #[pin]
        running: F,
    }
}

fn caught<F: Future>(running: F) -> Caught<F> {
    Caught { running }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let running = self.project().running;
        // After a panic the future is never polled again, only dropped.
        match panic::catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }
}
