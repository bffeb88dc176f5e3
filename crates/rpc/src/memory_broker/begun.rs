//! A job that the executor has, and what becomes of it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bowline_backend::time::Instant;
use bowline_channel::oneshot;
use bowline_concurrency::{TaskGroup, timeout_at};

use crate::executor::{CallRef, JobEnd, JobHandle, ReplySink};
use crate::local_answer::{Left, LocalAnswer};
use crate::stream::{End, Outcome, Pipe};
use crate::{CallError, Certainty, Code, Codec, ErrorBody, Reply};

/// A job that the executor has.
pub(super) struct Begun<T> {
    pub(super) given: Given,
    pub(super) answer: Arc<LocalAnswer<T>>,
    pub(super) deadline: Instant,
}

impl<T> Begun<T> {
    /// How it ended, and the value that it left.
    pub(super) async fn end(self) -> Result<Left<T>, CallError> {
        match end_of(&self.answer, self.deadline).await {
            Some(left) => {
                self.given.answered();
                Ok(left)
            }
            None => {
                let certainty = if self.given.take_back() {
                    Certainty::Refused
                } else {
                    Certainty::MaybeExecuted
                };
                Err(CallError::new(Code::DeadlineExceeded, certainty))
            }
        }
    }
}

impl<T> Begun<T> {
    /// It was refused, and is answered.
    pub(super) fn refused(self) {
        self.given.answered();
    }
}

impl Begun<Infallible> {
    /// The reply of a call in this codec.
    pub(super) async fn outcome(self, codec: Codec) -> Result<Reply, CallError> {
        let (end, _) = self.end().await?;
        reply_of(codec, end)
    }
}

/// What the caller of an encoded call gets.
pub(super) fn reply_of(codec: Codec, end: JobEnd) -> Result<Reply, CallError> {
    match end {
        JobEnd::Reply(body) => Ok(Reply::new(codec, body)),
        JobEnd::Application(body) => {
            let codec = crate::proto::CodecId(codec.id());
            Err(CallError::from_application(ErrorBody::new(codec, body)))
        }
        JobEnd::Failed {
            code,
            certainty,
            message,
        } => Err(CallError::new(code, certainty).with_message(message)),
    }
}

/// What the caller of an encoded call gets that was refused with `end`.
pub(super) fn refusal(codec: Codec, end: JobEnd) -> CallError {
    let refused = || CallError::new(Code::Cancelled, Certainty::Refused);
    reply_of(codec, end).err().unwrap_or_else(refused)
}

/// The end of the job that answers `answer`; `None` once `deadline` passed before.
pub(super) async fn end_of<T>(answer: &LocalAnswer<T>, deadline: Instant) -> Option<Left<T>> {
    // Most calls have ended by now, and need neither a waker nor a timeout.
    if let Some(left) = answer.at_once() {
        return Some(left);
    }
    if deadline == Instant::NEVER {
        return Some(answer.ended().await);
    }
    timeout_at(deadline, answer.ended()).await.ok()
}

/// A job given to the executor; dropped before it is answered, it is cancelled.
pub(super) struct Given(pub(super) Option<JobHandle>);

impl Given {
    fn answered(mut self) {
        self.0 = None;
    }

    /// True if it has not run and never will.
    fn take_back(mut self) -> bool {
        let job = self.0.take();
        job.is_some_and(|job| job.request("the deadline passed"))
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if let Some(job) = &self.0 {
            job.request("the caller gave up");
        }
    }
}

/// The outcome of a call with items and a deadline, which is kept whether or not anybody polls this.
pub(super) fn kept(
    group: &TaskGroup<Infallible>,
    running: impl Future<Output = Result<Reply, CallError>> + Send + 'static,
    [to_handler, to_caller]: [Arc<Pipe>; 2],
) -> Outcome {
    let (mut told, outcome) = oneshot();
    drop(group.spawn_ok(async move {
        let ended = {
            let mut running = pin!(running);
            let mut given_up = pin!(told.closed());
            poll_fn(|cx| match running.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending => given_up.as_mut().poll(cx).map(|()| None),
            })
            .await
        };
        let Some(outcome) = ended else { return };
        // Items that came before are still taken.
        to_caller.end(End::Broken);
        to_handler.close();
        let _ = told.send(outcome);
    }));
    Box::pin(async move {
        match outcome.await {
            Ok(outcome) => outcome,
            // The broker has ended, and everything with it.
            Err(_) => Err(CallError::new(Code::Cancelled, Certainty::MaybeExecuted)),
        }
    })
}

/// Where the outcome of a call with items goes: no item goes anywhere after it.
pub(super) struct EndsItems<T> {
    pub(super) answer: Arc<LocalAnswer<T>>,
    pub(super) to_handler: Arc<Pipe>,
    pub(super) to_caller: Arc<Pipe>,
}

impl<T: Send> ReplySink for EndsItems<T> {
    fn settle(&self, call: CallRef, end: JobEnd) {
        self.to_caller.end(End::Broken);
        self.answer.settle(call, end);
        self.to_handler.close();
    }
}
