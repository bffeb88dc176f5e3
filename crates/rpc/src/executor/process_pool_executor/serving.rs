//! One call of a child.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bowline_backend::time::{self, Instant};
use bowline_concurrency::{Outcome, sleep, timeout};

use super::items::pass_on;
use super::lease::{Lease, Worker};
use super::note::Note;
use super::pool::Pool;
use super::worker::RUNS;
use crate::broker::UnknownMethod;
use crate::context::Cancel;
use crate::executor::places::Place;
use crate::executor::{Job, JobBody, JobEnd};
use crate::stream::HandlerStreams;
use crate::{
    Broker, CallError, CallOptions, Caller, Certainty, Code, Context, ErrorKind, OutCall, Retry,
};

/// How often a child is asked whether a call that was cancelled has ended.
const ASK: Duration = Duration::from_millis(5);

/// How many children a call is meant for, if they die before they have it.
const CHILDREN: u32 = 3;

/// Has a child run `job`; the place is held until the child has done with it.
pub(super) async fn serve(pool: Arc<Pool>, mut job: Job, mut place: Place) {
    if job.is_cancelled() {
        return job.answer(JobEnd::failed(Code::Cancelled, Certainty::Refused));
    }
    let deadline = job.deadline();
    if deadline != Instant::NEVER && deadline <= time::now() {
        return job.answer(JobEnd::failed(Code::DeadlineExceeded, Certainty::Refused));
    }
    let (cancel, hops) = (job.cancel().clone(), job.hops());
    let Some((body, scope)) = job.begin() else {
        return;
    };
    let JobBody::Encoded {
        name,
        entry,
        codec,
        named,
        body,
        context,
    } = body
    else {
        let end = JobEnd::failed(Code::Unsupported, Certainty::Refused);
        return job.answer(end);
    };
    let spec = entry.spec;
    let mut options = CallOptions::new(codec);
    (options.deadline, options.hops) = (deadline, hops);
    options.priority = context.priority();
    // There is one peer, and this is where another takes its place. What it does not offer it never will.
    options.retry = Retry::never();
    options.unknown = UnknownMethod::FailFast;
    let mut call = OutCall::new(name.shared().clone(), body, options);
    call.named = named;
    call.streaming = spec.streams();

    let leased = Leased::new();
    let streams = context.streams().cloned();
    let again = spec.is_idempotent() && streams.is_none();
    let calling = call_child(&pool, (call, context), streams, again, &leased);
    let end = {
        let mut running = pin!(async {
            match scope {
                Some(scope) => match scope.run(calling).await {
                    Outcome::Done(end) => end,
                    Outcome::Cancelled(_) => given_up(deadline, &leased),
                },
                None if spec.is_no_cancel() => calling.await,
                None => match until_told(&cancel, calling).await {
                    Some(end) => end,
                    None => given_up(deadline, &leased),
                },
            }
        });
        let mut sight = Some(job.sight());
        let attachment = job.attachment().clone();
        poll_fn(|cx| {
            let ended = running.as_mut().poll(cx);
            if ended.is_pending()
                && let Some(sight) = sight.take()
            {
                place.sleeps(sight, &attachment, cx.waker().clone());
            }
            if ended.is_pending() && place.is_given_up() {
                return Poll::Ready(JobEnd::failed(Code::Cancelled, Certainty::MaybeExecuted));
            }
            ended
        })
        .await
    };
    let lease = leased.take();
    match (&lease, &end) {
        // The handler may go on for a while, in which no other call with its key begins.
        (
            Some(_),
            JobEnd::Failed {
                code: Code::DeadlineExceeded,
                ..
            },
        ) if !end.did_not_run() => job.overdue(),
        _ => job.answer(end.clone()),
    }
    if let Some(lease) = lease {
        place.answered();
        let grace = pool.options().cancel_grace;
        let killed = settle(lease, spec.is_no_cancel(), grace).await;
        drop(place);
        if let (Some(lease), false) = (killed, job.is_settled()) {
            lease.death().await;
        }
        job.answer(end);
    }
}

/// The lease of a call whose handler may run, and how far the call got in the children before.
struct Leased(Mutex<(Option<Lease>, Certainty)>);

impl Leased {
    fn new() -> Self {
        Self(Mutex::new((None, Certainty::Refused)))
    }

    fn put(&self, lease: Lease) {
        self.state().0 = Some(lease);
    }

    fn take(&self) -> Option<Lease> {
        self.state().0.take()
    }

    /// The child that has the call has answered it.
    fn answered(&self) {
        if let Some(lease) = &self.state().0 {
            lease.answered();
        }
    }

    /// What a child that is lost did, the next one cannot undo: how far the call got by now.
    fn reaches(&self, certainty: Certainty) -> Certainty {
        let mut state = self.state();
        state.1 = state.1.max(certainty);
        state.1
    }

    /// How far a call got whose outcome nobody waits for.
    fn reached(&self) -> Certainty {
        let state = self.state();
        match state.0 {
            Some(_) => state.1.max(Certainty::MaybeExecuted),
            None => state.1,
        }
    }

    fn state(&self) -> MutexGuard<'_, (Option<Lease>, Certainty)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn given_up(deadline: Instant, leased: &Leased) -> JobEnd {
    let code = if deadline <= time::now() {
        Code::DeadlineExceeded
    } else {
        Code::Cancelled
    };
    JobEnd::failed(code, leased.reached())
}

/// `None` once the handler is to be told that nobody waits.
async fn until_told(cancel: &Cancel, calling: impl Future<Output = JobEnd>) -> Option<JobEnd> {
    let mut calling = pin!(calling);
    let mut told = pin!(cancel.told());
    poll_fn(|cx| {
        if let Poll::Ready(end) = calling.as_mut().poll(cx) {
            return Poll::Ready(Some(end));
        }
        told.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Calls a child, and another one if the first dies before it has the call, or if the method may run
/// twice. What is left in `leased` is a child whose handler may still run.
async fn call_child(
    pool: &Arc<Pool>,
    (call, context): (OutCall, Context),
    streams: Option<Arc<HandlerStreams>>,
    mut again: bool,
    leased: &Leased,
) -> JobEnd {
    let mut tried = 0;
    loop {
        let lease = match pool.lease().await {
            Ok(lease) => lease,
            Err(error) => {
                return JobEnd::Failed {
                    code: match error.kind() {
                        ErrorKind::Unsupported => Code::Unsupported,
                        _ => Code::NoExecutor,
                    },
                    certainty: leased.reached(),
                    message: error.to_string(),
                };
            }
        };
        let worker = lease.worker.clone();
        let mut call = call.clone();
        let note = Note::new(lease.number, &context);
        call.options.extensions = note.put(context.extensions());
        leased.put(lease);
        tried += 1;
        // Items that were taken from the caller go to one child alone.
        let mut passes = false;
        let outcome = match &streams {
            None => worker.broker.submit(call).await,
            Some(streams) => match worker.broker.open(call).await {
                Ok(opened) => {
                    passes = true;
                    pass_on(opened, streams).await
                }
                Err(error) => Err(error),
            },
        };
        let error = match outcome {
            Ok(reply) => {
                leased.answered();
                drop(leased.take());
                return JobEnd::Reply(reply.body);
            }
            Err(error) => error,
        };
        let certainty = match error.certainty() {
            // The caller of this executor did send it.
            Certainty::NeverSent => Certainty::Refused,
            other => other,
        };
        let reached = leased.reaches(certainty);
        if is_lost(&worker, &error) {
            let lease = leased.take().inspect(Lease::lost);
            let did_not_run = certainty.did_not_run() && !passes;
            if (did_not_run && tried < CHILDREN) || (!did_not_run && std::mem::take(&mut again)) {
                continue;
            }
            let message = match &lease {
                Some(lease) => lease.death().await,
                None => String::new(),
            };
            return JobEnd::Failed {
                code: Code::ConnectionLost,
                certainty: reached,
                message,
            };
        }
        if matches!(error.certainty(), Certainty::Refused | Certainty::Executed) {
            leased.answered();
        }
        // Then the handler may go on in the child; so may one whose items were not passed on to their end.
        let cut = passes && matches!(error.code(), Code::Cancelled | Code::TooLarge);
        if error.code() != Code::DeadlineExceeded && !cut {
            drop(leased.take());
        }
        return match error.application() {
            Some(body) => JobEnd::Application(body.bytes.clone()),
            None => JobEnd::Failed {
                code: error.code(),
                certainty: reached,
                message: error.message().to_owned(),
            },
        };
    }
}

/// Whether a call failed because its child ends, or had ended.
fn is_lost(worker: &Worker, error: &CallError) -> bool {
    match error.code() {
        // It has no connection, and its broker is not closed yet.
        Code::ConnectionLost | Code::NoPeer => true,
        // By the broker to it, which is closed then: a child that cancels has the call.
        Code::Cancelled => error.certainty() == Certainty::NeverSent || worker.is_lost(),
        _ => false,
    }
}

/// Waits until a call that was given up has ended in its child; one that goes on too long ends with
/// the child, whose lease this gives then.
async fn settle(lease: Lease, goes_on: bool, grace: Duration) -> Option<Lease> {
    let mut quiet = pin!(is_quiet(lease.worker.clone(), lease.number));
    if goes_on {
        quiet.await;
        return None;
    }
    if timeout(grace, quiet.as_mut()).await.is_ok() {
        return None;
    }
    lease.kill(quiet).await;
    Some(lease)
}

/// Completes when the call with this number goes on no more in its child.
async fn is_quiet(worker: Arc<Worker>, number: u64) {
    loop {
        let runs = worker.broker.call_named::<bool>(RUNS, (number,));
        match runs.fail_fast().await {
            Ok(false) => return,
            Ok(true) => sleep(ASK).await,
            // The grace is the deadline of the question too.
            Err(error) if error.code() == Code::DeadlineExceeded => sleep(ASK).await,
            // It is gone, and so is the call.
            Err(_) => return,
        }
    }
}
