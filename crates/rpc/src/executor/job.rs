//! One call on its way through an executor.

mod outcome;

use outcome::Answer;
pub(crate) use outcome::{CallRef, JobEnd, ReplySink};

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bowline_backend::time::{self, Instant};
use bowline_concurrency::{CancelScope, TaskGroup};
use bytes::Bytes;

use super::caught::discard;
use super::queue::MethodLimit;
use super::running::Running;
use super::{Attachment, Executor, JobHandle};
use crate::connection::Untaken;
use crate::context::Cancel;
use crate::meter::Meter;
use crate::method::Entry;
use crate::proto::Extensions;
use crate::span::HandleSpan;
use crate::stream::HandlerStreams;
use crate::sys::{RunningCall, micros, tasks};
use crate::{Certainty, Code, Codec, Context, MethodName, Peer};

/// What a job runs.
pub(crate) enum JobBody {
    /// A method with encoded arguments.
    Encoded {
        name: MethodName,
        entry: Arc<Entry>,
        codec: Codec,
        /// The arguments stand with their names.
        named: bool,
        body: Bytes,
        context: Context,
    },
    /// A future of the caller's, which keeps its result itself.
    Local {
        running: LocalFuture,
        /// The trace that its calls belong to.
        trace: Option<Arc<str>>,
        /// The deadline that they have, if no scope says it.
        until: Option<Instant>,
    },
}

pub(crate) type LocalFuture = Pin<Box<dyn Future<Output = JobEnd> + Send>>;

/// One call on its way through an executor.
///
/// Whatever becomes of it, its caller gets exactly one answer: a job that is dropped answers
/// [`Cancelled`](Code::Cancelled).
pub struct Job {
    body: Option<JobBody>,
    deadline: Instant,
    hops: u8,
    priority: u8,
    limit: Option<MethodLimit>,
    cancel: Cancel,
    scope: Option<CancelScope>,
    attachment: Arc<Attachment>,
    caller: Option<Peer>,
    untaken: Option<Untaken>,
    answer: Answer,
}

/// What is known of a call before it is a job.
pub(crate) struct JobFacts {
    /// What cancelling does to its handler.
    pub(crate) stop: Stop,
    /// When its caller stops waiting.
    pub(crate) deadline: Instant,
    /// Who calls.
    pub(crate) caller: Option<Peer>,
    /// Which call it is.
    pub(crate) call: CallRef,
    /// How many calls it is nested in.
    pub(crate) hops: u8,
    /// 0 to 7, higher first.
    pub(crate) priority: u8,
    /// How many handlers of its method run at once.
    pub(crate) limit: Option<MethodLimit>,
    /// What came with it besides its arguments.
    pub(crate) extensions: Extensions,
    /// When it came.
    pub(crate) arrived: Instant,
    /// Items of either side.
    pub(crate) streams: Option<Arc<HandlerStreams>>,
    /// What the connection it came by holds for it until it begins, or never will.
    pub(crate) untaken: Option<Untaken>,
}

impl Job {
    /// A job whose outcome goes to `sink`, and which `meter` counts; `body` makes what it runs from the
    /// context of the handler.
    pub(crate) fn new(
        body: impl FnOnce(Context) -> JobBody,
        mut facts: JobFacts,
        meter: Arc<Meter>,
        attachment: Arc<Attachment>,
        sink: Arc<dyn ReplySink>,
    ) -> Self {
        let (deadline, untaken) = (facts.deadline, facts.untaken.take());
        let (cancel, scope) = match facts.stop {
            Stop::Drop => {
                let scope = CancelScope::new().finalise_within(attachment.cancel_grace());
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
            call: facts.call,
            certainty: Certainty::Refused,
            span: HandleSpan::new(&meter, facts.caller.as_ref(), facts.call),
            meter,
            arrived: facts.arrived,
            overdue: false,
        };
        answer.meter.arrived();
        let caller = facts.caller.clone();
        let (hops, priority, limit) = (facts.hops, facts.priority, facts.limit);
        let states = attachment.states().clone();
        let context = Context::new(facts, cancel.clone(), states, attachment.origin());
        Self {
            body: Some(body(context)),
            deadline,
            hops,
            priority,
            limit,
            cancel,
            scope,
            attachment,
            caller,
            untaken,
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

    /// Whether a task of this process waits for it, and gives it up itself.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.answer.call, CallRef::Local(_) | CallRef::Here(_))
    }

    /// Whether it waits where others are refused because the queue is full: its caller waits in this
    /// process and can call nobody else, so it holds no more than its caller does; or it is a notification, of which a peer sends no
    /// more before some have begun.
    pub fn is_patient(&self) -> bool {
        matches!(
            self.answer.call,
            CallRef::Local(_) | CallRef::Notification(_)
        )
    }

    pub(super) fn is_notification(&self) -> bool {
        matches!(self.answer.call, CallRef::Notification(_))
    }

    /// When its caller stops waiting; [`Instant::NEVER`] if it waits as long as it takes.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When it came.
    pub(super) fn arrived(&self) -> Instant {
        self.answer.arrived
    }

    /// How many calls it is nested in, 0 to 8.
    pub fn hops(&self) -> u8 {
        self.hops
    }

    /// Its priority, 0 to 7, higher first.
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// How many handlers of its method run at once.
    pub(super) fn limit(&self) -> Option<MethodLimit> {
        self.limit
    }

    /// Whether it is not to begin: its caller gave it up, or its broker has ended or cancels its calls.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.requested() || self.attachment.is_cut()
    }

    /// What its caller said of it under this key.
    #[cfg(unix)]
    pub(super) fn metadata(&self, key: &str) -> Option<&[u8]> {
        match self.body.as_ref()? {
            JobBody::Encoded { context, .. } => context.metadata(key),
            JobBody::Local { .. } => None,
        }
    }

    /// It is run for another process: the call is `call` there, and of `caller`.
    #[cfg(unix)]
    pub(super) fn is_of(&mut self, caller: Option<Peer>, call: u64) {
        if let Some(JobBody::Encoded { context, .. }) = &mut self.body {
            context.is_of(caller, call);
        }
    }

    /// Runs it to its end; its answer is given by then, and by its deadline where its caller is a
    /// peer, whatever the handler does.
    ///
    /// A job that was cancelled or whose deadline passed is not started.
    ///
    /// # Cancel safety
    /// *Value lost*: the handler is dropped, or told if it is not to be dropped, and the call answered
    /// [`Cancelled`](Code::Cancelled).
    pub async fn run(self) {
        Running::new(self).await;
    }

    /// What it runs, and the scope to run it in; from here on the handler may run, and a job that is
    /// dropped says so.
    pub(super) fn begin(&mut self) -> Option<(JobBody, Option<CancelScope>)> {
        let body = self.body.take()?;
        self.untaken = None;
        self.answer.certainty = Certainty::MaybeExecuted;
        self.answer.meter.begun();
        if let Some(sink) = &self.answer.sink {
            sink.begun();
        }
        Some((body, self.scope.take()))
    }

    /// What is to be seen of it while it runs.
    pub(super) fn sight(&self) -> JobSight {
        JobSight {
            meter: self.answer.meter.clone(),
            origin: self.attachment.origin(),
            cancel: self.cancel.clone(),
            call: self.answer.call,
            caller: self.caller.clone(),
            hops: self.hops,
            arrived: self.answer.arrived,
            deadline: self.deadline,
        }
    }

    /// The span of its handler.
    pub(super) fn span(&self) -> &HandleSpan {
        &self.answer.span
    }

    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Whether its caller has its answer.
    pub(super) fn is_answered(&self) -> bool {
        self.answer.sink.is_none() || self.answer.overdue
    }

    /// Whether nobody wants its outcome any more.
    pub(super) fn is_settled(&self) -> bool {
        self.answer.sink.is_none()
    }

    /// Answers its caller, whose time is over, though the handler goes on.
    pub(super) fn overdue(&mut self) {
        let end = JobEnd::failed(Code::DeadlineExceeded, Certainty::MaybeExecuted);
        self.answer.give_overdue(end);
    }

    /// Gives its one answer, unless it has been given.
    pub(super) fn answer(&mut self, mut end: JobEnd) {
        if let JobEnd::Failed {
            code: Code::Panic,
            message,
            ..
        } = &mut end
            && !self.attachment.exposes_internals()
        {
            // It may hold what is nobody's business.
            message.clear();
        }
        self.answer.give(end);
    }

    /// Answers it with `code` without running it.
    pub(crate) fn refuse(mut self, code: Code) {
        self.answer.give(JobEnd::failed(code, Certainty::Refused));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The arguments of a call in this process are values.
        discard(self.body.take());
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("call", &self.answer.call)
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

/// What is to be seen of a job that runs.
#[derive(Clone)]
pub(crate) struct JobSight {
    meter: Arc<Meter>,
    /// The number of its broker.
    pub(super) origin: u64,
    pub(super) cancel: Cancel,
    call: CallRef,
    caller: Option<Peer>,
    hops: u8,
    arrived: Instant,
    deadline: Instant,
}

impl JobSight {
    /// What is told of it.
    pub(super) fn describe(&self) -> RunningCall {
        let now = time::now();
        let caller = self.caller.as_ref();
        let left = self.deadline.saturating_duration_since(now);
        RunningCall {
            method: self.meter.name().to_string(),
            call: self.call.number(),
            peer: caller.map(Peer::place).unwrap_or_default(),
            principal: caller.map_or("", Peer::principal).into(),
            hops: self.hops,
            age_us: micros(now.saturating_duration_since(self.arrived)),
            left_us: (self.deadline != Instant::NEVER).then(|| micros(left)),
            cancelled: self.cancel.requested(),
            tasks: self.cancel.tree().as_ref().map(tasks).unwrap_or_default(),
        }
    }
}

/// An executor did not take a job: there is no room. The job has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the executor has no room for the call")]
#[non_exhaustive]
pub struct Refusal;
