//! A job on its way to its end.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bowline_backend::time::{self, Instant, Sleep};
use bowline_concurrency::{CancelScopeRun, Nesting, Outcome, in_nesting};

use super::caught::{Caught, caught, discard};
use super::job::{Job, JobBody, JobEnd, LocalFuture};
use crate::ambient::handed_on;
use crate::call::NoThread;
use crate::context::Cancel;
use crate::method::{Arguments, HandlerEnd, HandlerFuture};
use crate::{Certainty, Code};

/// Runs a job to its end; its answer is given by then, and by its deadline where its caller is a
/// peer, whatever the handler does.
///
/// It may be moved between polls, so one that ends in its first poll needs no memory of its own.
///
/// Invariants:
/// - R1 the handler is dropped before its caller has the answer.
/// - R2 once the handler may have run, the answer says so, and so does one that is given because
///   this was dropped.
#[must_use = "a job runs while it is polled"]
pub(super) struct Running {
    // First: dropped before the answer of the job is given.
    stage: Stage,
    alarm: Option<Pin<Box<Sleep>>>,
    job: Job,
}

enum Stage {
    /// Not begun; what the clock showed, if that was just now.
    New(Option<Instant>),
    /// Dropped when it is cancelled.
    Scoped(Caught<CancelScopeRun<Body>>),
    /// Told when it is cancelled, and when it is dropped: work on another thread outlives this task.
    Told(Caught<Body>, CancelOnDrop),
    Over,
}

impl Running {
    pub(super) fn new(job: Job) -> Self {
        Self {
            stage: Stage::New(None),
            alarm: None,
            job,
        }
    }

    /// Of a job that has come just now, and is polled at once: the clock is not looked at again.
    pub(super) fn of_fresh(job: Job) -> Self {
        Self {
            stage: Stage::New(Some(job.arrived())),
            alarm: None,
            job,
        }
    }

    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// The first step, at a moment that is `fresh` if it is known; what it gives is the end.
    fn start(&mut self, fresh: Option<Instant>) -> Option<JobEnd> {
        let job = &mut self.job;
        if job.is_cancelled() {
            return Some(JobEnd::failed(Code::Cancelled, Certainty::Refused));
        }
        let deadline = job.deadline();
        if deadline != Instant::NEVER && deadline <= fresh.unwrap_or_else(time::now) {
            return Some(JobEnd::failed(Code::DeadlineExceeded, Certainty::Refused));
        }
        let (body, scope) = job.begin()?;
        let body = Body::New(body);
        self.stage = match scope {
            Some(scope) => Stage::Scoped(caught(scope.deadline_ahead(deadline).run(body))),
            None => Stage::Told(caught(body), CancelOnDrop(Some(job.cancel().clone()))),
        };
        None
    }

    fn poll_stage(&mut self, cx: &mut TaskContext<'_>) -> Poll<JobEnd> {
        match &mut self.stage {
            Stage::Scoped(running) => Pin::new(running).poll(cx).map(|ended| match ended {
                Ok(Outcome::Done(end)) => end,
                Ok(Outcome::Cancelled(_)) if self.job.deadline() <= time::now() => {
                    JobEnd::failed(Code::DeadlineExceeded, Certainty::MaybeExecuted)
                }
                Ok(Outcome::Cancelled(_)) => {
                    JobEnd::failed(Code::Cancelled, Certainty::MaybeExecuted)
                }
                Err(payload) => panicked(payload),
            }),
            Stage::Told(running, unfinished) => Pin::new(running).poll(cx).map(|ended| {
                unfinished.disarm();
                ended.unwrap_or_else(panicked)
            }),
            Stage::New(_) | Stage::Over => Poll::Pending,
        }
    }

    /// Drops the handler, if it has not ended.
    pub(super) fn drop_handler(&mut self) {
        self.stage = Stage::Over;
    }

    /// Answers its caller though the handler goes on; again is fine.
    pub(super) fn give_up(&mut self) {
        if !self.job.is_settled() {
            let end = JobEnd::failed(Code::Cancelled, Certainty::MaybeExecuted);
            self.job.answer(end);
        }
    }

    /// Whether a peer waits in vain. Callers of this process see to that themselves.
    fn is_overdue(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let deadline = self.job.deadline();
        if self.job.is_local() || deadline == Instant::NEVER || self.job.is_answered() {
            return false;
        }
        match self.job.cancel() {
            Cancel::Never => false,
            // The scope's own deadline polls us.
            Cancel::Scope(scope) => scope.cancel_called() && deadline <= time::now(),
            Cancel::Flag(_) => self
                .alarm
                .get_or_insert_with(|| Box::pin(time::sleep_until(deadline)))
                .as_mut()
                .poll(cx)
                .is_ready(),
        }
    }
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Stage::New(fresh) = this.stage
            && let Some(end) = this.start(fresh)
        {
            this.stage = Stage::Over;
            this.job.answer(end);
        }
        if matches!(this.stage, Stage::New(_) | Stage::Over) {
            return Poll::Ready(());
        }
        let nesting = Nesting {
            calls: this.job.hops() + 1,
            origin: this.job.attachment().origin(),
        };
        let span = this.job.span().clone();
        match span.in_scope(|| in_nesting(nesting, || this.poll_stage(cx))) {
            Poll::Ready(end) => {
                // Invariant R1.
                this.stage = Stage::Over;
                this.job.answer(end);
                Poll::Ready(())
            }
            Poll::Pending => {
                if this.is_overdue(cx) {
                    this.job.cancel().request("the deadline passed");
                    this.job.overdue();
                }
                Poll::Pending
            }
        }
    }
}

/// Cancels unless it is disarmed.
struct CancelOnDrop(Option<Cancel>);

impl CancelOnDrop {
    fn disarm(&mut self) {
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

/// A handler, from its arguments to its end.
enum Body {
    New(JobBody),
    Handler(HandlerFuture),
    Local(LocalFuture),
    Over,
}

impl Future for Body {
    type Output = JobEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<JobEnd> {
        let this = &mut *self;
        if let Body::New(_) = this {
            let Body::New(body) = std::mem::replace(this, Body::Over) else {
                unreachable!("it was matched")
            };
            *this = match body {
                JobBody::Local {
                    running,
                    trace,
                    until,
                } => Body::Local(handed_on(trace, until, running)),
                JobBody::Encoded {
                    entry,
                    codec,
                    named,
                    body,
                    context,
                    ..
                } => {
                    let trace = context.traceparent().map(Arc::from);
                    let until = context.until();
                    match entry.begin(
                        Arguments {
                            codec,
                            named,
                            body: &body,
                        },
                        context,
                    ) {
                        Ok(handler) => Body::Handler(handed_on(trace, until, handler)),
                        Err(end) => return Poll::Ready(end.into()),
                    }
                }
            };
        }
        match this {
            Body::Handler(handler) => handler.as_mut().poll(cx).map(JobEnd::from),
            Body::Local(running) => running.as_mut().poll(cx),
            Body::New(_) | Body::Over => Poll::Pending,
        }
    }
}

impl From<HandlerEnd> for JobEnd {
    fn from(end: HandlerEnd) -> Self {
        match end {
            HandlerEnd::Reply(body) => JobEnd::Reply(body),
            HandlerEnd::Application(body) => JobEnd::Application(body),
            HandlerEnd::BadArguments(message) => JobEnd::Failed {
                code: Code::BadArguments,
                certainty: Certainty::Refused,
                message,
            },
            HandlerEnd::TooLarge { certainty, message } => JobEnd::Failed {
                code: Code::TooLarge,
                certainty,
                message,
            },
            HandlerEnd::Failed {
                code,
                certainty,
                message,
            } => JobEnd::Failed {
                code,
                certainty,
                message,
            },
            HandlerEnd::Internal(message) => JobEnd::Failed {
                code: Code::Internal,
                certainty: Certainty::Executed,
                message,
            },
        }
    }
}

/// With what the panic said, if that is text.
fn panicked(payload: Box<dyn Any + Send>) -> JobEnd {
    if payload.is::<NoThread>() {
        return JobEnd::Failed {
            code: Code::Overloaded,
            certainty: Certainty::Refused,
            message: "no thread could be started".into(),
        };
    }
    let text = match payload.downcast_ref::<&str>() {
        Some(text) => Some(*text),
        None => payload.downcast_ref::<String>().map(String::as_str),
    };
    let message = text.unwrap_or_default().to_owned();
    discard(payload);
    JobEnd::Failed {
        code: Code::Panic,
        certainty: Certainty::Executed,
        message,
    }
}
