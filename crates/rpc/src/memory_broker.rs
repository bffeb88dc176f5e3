//! A broker within one process: calls go straight to an executor.

mod drain;
mod find;
mod insight;
mod start;

pub use start::MemoryBrokerStart;

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bowline_backend::time::{self, Instant};
use bowline_concurrency::{TaskGroup, timeout_at};
use bytes::Bytes;

use crate::broker::{Ending, submit_encoded, typed};
use crate::call::run_call;
use crate::executor::{
    Attachment, CallRef, Executor, Job, JobBody, JobEnd, JobFacts, JobHandle, MethodKey,
    MethodLimit, Stop, discard,
};
use crate::local_answer::LocalAnswer;
use crate::meter::Meter;
use crate::offers::{Offers, Served};
use crate::sys::Reserved;
use crate::{
    Addressed, Broker, Call, CallError, CallOptions, CallType, Certainty, CloseCause, Code, Codec,
    Context, DrainReport, DynBroker, Error, ErrorBody, MethodName, OutCall, Peer, RegistryError,
    Reply,
};

/// How many calls a call may be nested in.
const MAX_HOPS: u8 = 8;

/// Calls go to an executor in this process; typed arguments and replies move without being
/// encoded.
///
/// A method the executor does not have is waited for like everywhere, so such a call ends at its
/// deadline with [`NoPeer`](Code::NoPeer), or at once with `.fail_fast()`; at most 1024 calls wait so,
/// one more is [`Overloaded`](Code::Overloaded). When the executor has no room for one more call, the
/// call waits in order until it has. Closing the broker ends them all.
///
/// A handle, made by [`run`](MemoryBrokerStart::run) or [`start`](MemoryBrokerStart::start);
/// clones are the same broker.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{Caller, Error, MemoryBroker, Registry, executor::AsyncExecutor};
///
/// let registry = Registry::new("example");
/// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
/// let sum = Backend::Tokio.block_on(
///     MemoryBroker::new(AsyncExecutor::new(registry, 4))
///         .run(async |broker| -> Result<i64, Error> { Ok(broker.call_named::<i64>("add", (2, 3)).await?) }),
/// )?;
/// assert_eq!(sum, 5);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

struct Shared {
    executor: Arc<dyn Executor>,
    attachment: Arc<Attachment>,
    group: TaskGroup<Infallible>,
    me: Peer,
    next_call: AtomicU64,
    offers: Offers,
    ending: Ending,
    /// New calls that were refused, as it drains.
    refused: AtomicU64,
    /// Calls that wait for a method nobody offers.
    waiting: AtomicUsize,
    encode_always: bool,
}

impl MemoryBroker {
    /// A broker over `executor`, to be run or started.
    #[expect(clippy::new_ret_no_self, reason = "a broker exists only while it runs")]
    pub fn new(executor: impl Executor) -> MemoryBrokerStart {
        MemoryBrokerStart {
            executor: Arc::new(executor),
            encode_always: false,
        }
    }

    async fn prepare(&self) -> Result<(), Error> {
        let shared = &self.shared;
        shared.attachment.introduce(DynBroker::new(self.clone()));
        shared.executor.prepare(&shared.attachment).await
    }

    async fn submit_job<T: Send + 'static>(
        &self,
        body: impl FnOnce(Context) -> JobBody + Send,
        (stop, limit): (Stop, Option<MethodLimit>),
        meter: Arc<Meter>,
        options: &CallOptions,
        answer: &Arc<LocalAnswer<T>>,
    ) -> Result<Bytes, CallError> {
        if self.shared.group.handle().cancel_called() {
            return Err(closed());
        }
        if options.hops > MAX_HOPS {
            return Err(CallError::new(Code::HopLimit, Certainty::NeverSent));
        }
        let number = self.shared.next_call.fetch_add(1, Ordering::Relaxed);
        let job = Job::new(
            body,
            JobFacts {
                stop,
                deadline: options.deadline,
                caller: Some(self.shared.me.clone()),
                call: CallRef::Local(number),
                hops: options.hops,
                priority: options.priority,
                limit,
                extensions: options.extensions.clone(),
                meter,
                arrived: time::now(),
            },
            self.shared.attachment.clone(),
            answer.clone(),
        );
        // The job is counted by now.
        if options.hops == 0 && self.shared.offers.gate().is_closed() {
            job.refuse(Code::Draining);
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(CallError::new(Code::Draining, Certainty::NeverSent));
        }
        // Whatever becomes of the job, it is answered.
        let given = Given(Some(job.give_to(&*self.shared.executor)));
        let Some(end) = end_of(answer, options.deadline).await else {
            let certainty = if given.take_back() {
                Certainty::Refused
            } else {
                Certainty::MaybeExecuted
            };
            return Err(CallError::new(Code::DeadlineExceeded, certainty));
        };
        given.answered();
        match end {
            JobEnd::Reply(body) => Ok(body),
            JobEnd::Application(body) => {
                let codec = crate::proto::CodecId(options.codec.id());
                Err(CallError::from_application(ErrorBody::new(codec, body)))
            }
            JobEnd::Failed {
                code,
                certainty,
                message,
            } => Err(CallError::new(code, certainty).with_message(message)),
        }
    }
}

impl Broker for MemoryBroker {
    async fn submit(&self, call: OutCall) -> Result<Reply, CallError> {
        if let Some(reserved) = Reserved::named(&call.method) {
            return self.ask(reserved, &call);
        }
        let Served { method, meter } = self.find(&call.method, &call.options).await?;
        let how = (Stop::of(method.entry.spec), method.entry.limit());
        let mut options = call.options;
        cap(&mut options, method.entry.spec.max_duration());
        let codec = options.codec;
        let body = move |context| JobBody::Encoded {
            name: method.name,
            entry: method.entry,
            codec,
            named: call.named,
            body: call.body,
            context,
        };
        let answer = LocalAnswer::<Infallible>::new();
        self.submit_job(body, how, meter, &options, &answer)
            .await
            .map(Reply::new)
    }

    async fn submit_typed<C: Call>(
        &self,
        call: C,
        mut options: CallOptions,
    ) -> Result<C::Reply, CallError<C::Error>> {
        let offered = self.shared.offers.now();
        let served = offered.find_call(TypeId::of::<C>());
        let as_values = !self.shared.encode_always && self.shared.executor.takes_values();
        // What is no function with the attribute, of a service for instance, goes by its name.
        let Some(Served { meter, .. }) = served.filter(|_| as_values) else {
            drop(offered);
            return Box::pin(submit_encoded(self, call, options)).await;
        };
        let meter = meter.clone();
        drop(offered);
        cap(&mut options, C::SPEC.max_duration());
        let answer = LocalAnswer::new();
        let result = answer.clone();
        let body = move |context| {
            JobBody::Local(Box::pin(async move {
                let ended = run_call(call, context).await;
                let end = match &ended {
                    Ok(_) => JobEnd::Reply(Bytes::new()),
                    Err(_) => JobEnd::Application(Bytes::new()),
                };
                result.leave(ended);
                end
            }))
        };
        let limit = C::SPEC.max_concurrency();
        let limit = limit.map(|most| (MethodKey::Call(TypeId::of::<C>()), most as usize));
        let end = self
            .submit_job(body, (Stop::of(C::SPEC), limit), meter, &options, &answer)
            .await;
        let result = answer.take();
        match (end, result) {
            (Ok(_), Some(Ok(reply))) => Ok(reply),
            (Err(end), Some(Err(error))) if end.code() == Code::Application => {
                Err(CallError::from_application(error))
            }
            (Ok(_), unwanted) => {
                discard(unwanted);
                Err(CallError::new(Code::Internal, Certainty::MaybeExecuted))
            }
            (Err(error), unwanted) => {
                discard(unwanted);
                typed::<C>(Codec::Postcard, Err(error))
            }
        }
    }

    async fn submit_each(&self, call: OutCall) -> Result<Vec<Addressed>, CallError> {
        if Reserved::named(&call.method).is_none() {
            self.find(&call.method, &call.options).await?;
        }
        let broker = self.clone();
        Ok(vec![Addressed {
            peer: self.shared.me.clone(),
            outcome: Box::pin(async move { broker.submit(call).await }),
        }])
    }

    fn name_of(&self, call: CallType) -> Result<MethodName, RegistryError> {
        self.shared.executor.registry().name_of_call(call)
    }

    /// As [`Broker::drain`]. Calls that handlers make which still run are no new ones.
    async fn drain(&self, most: Duration) -> DrainReport {
        self.end_calls(most).await
    }

    fn close(&self) {
        self.shared.ending.by(CloseCause::Closed);
        self.shared.group.cancel("the broker was closed");
    }

    async fn closed(&self) -> CloseCause {
        self.shared.attachment.over().await;
        self.shared.ending.cause()
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker")
            .field("executor", &self.shared.executor)
            .finish_non_exhaustive()
    }
}

/// The end of the job that answers `answer`; `None` once `deadline` passed before.
async fn end_of<T>(answer: &LocalAnswer<T>, deadline: Instant) -> Option<JobEnd> {
    let mut ended = answer.ended();
    if deadline == Instant::NEVER {
        return Some(ended.await);
    }
    // Most calls have ended by now, and need no timeout, which would need memory.
    let at_once = poll_fn(|cx| Poll::Ready(Pin::new(&mut ended).poll(cx))).await;
    match at_once {
        Poll::Ready(end) => Some(end),
        Poll::Pending => timeout_at(deadline, ended).await.ok(),
    }
}

/// Cuts the deadline to what the method allows.
fn cap(options: &mut CallOptions, longest: Option<Duration>) {
    if let Some(longest) = longest {
        options.deadline = options.deadline.min(time::now() + longest);
    }
}

fn closed<E>() -> CallError<E> {
    CallError::new(Code::Cancelled, Certainty::NeverSent).with_message("the broker is closed")
}

/// A job given to the executor; dropped before it is answered, it is cancelled.
struct Given(Option<JobHandle>);

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
