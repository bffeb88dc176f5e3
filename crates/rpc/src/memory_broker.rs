//! A broker within one process: calls go straight to an executor.

mod insight;

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bowline_backend::entropy;
use bowline_backend::time::{self, Instant};
use bowline_concurrency::{TaskGroup, timeout_at};
use bytes::Bytes;

use crate::broker::{UnknownMethod, submit_encoded, typed};
use crate::call::run_call;
use crate::executor::{
    Attachment, CallRef, Executor, Job, JobBody, JobEnd, JobFacts, JobHandle, MethodKey,
    MethodLimit, Stop, discard,
};
use crate::lifetime::{nested, scoped};
use crate::local_answer::LocalAnswer;
use crate::meter::Meter;
use crate::offers::{Offers, Served};
use crate::sys::Reserved;
use crate::{
    Addressed, Broker, Call, CallError, CallOptions, CallType, Certainty, Code, Codec, Context,
    DynBroker, Error, ErrorBody, MethodName, OutCall, Peer, RegistryError, Reply,
};

/// How many calls a call may be nested in.
const MAX_HOPS: u8 = 8;
/// Calls that wait for a method nobody offers at one broker.
const MAX_WAITING: usize = 1024;

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

    /// The method called `name`, once it is offered.
    async fn find(&self, name: &str, options: &CallOptions) -> Result<Served, CallError> {
        let offers = &self.shared.offers;
        if let Some(served) = offers.now().find(name) {
            return Ok(served.clone());
        }
        let error = |code| CallError::new(code, Certainty::NeverSent).with_message(name);
        if options.unknown == UnknownMethod::FailFast {
            return Err(error(Code::UnknownMethod));
        }
        let Some(_waiting) = Waiting::enter(&self.shared.waiting) else {
            return Err(error(Code::Overloaded));
        };
        let mut changes = offers.changes();
        let found = async {
            loop {
                if let Some(served) = offers.now().find(name) {
                    return served.clone();
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let (mut found, mut over) = (pin!(found), pin!(self.shared.attachment.over()));
        let either = poll_fn(|cx| {
            // Both, for each wakes for itself.
            let over = over.as_mut().poll(cx).map(|()| Err(closed()));
            match found.as_mut().poll(cx) {
                Poll::Ready(served) => Poll::Ready(Ok(served)),
                Poll::Pending => over,
            }
        });
        match timeout_at(options.deadline, either).await {
            Ok(outcome) => outcome,
            Err(_) => Err(error(Code::NoPeer)),
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

    fn close(&self) {
        self.shared.group.cancel("the broker was closed");
    }

    async fn closed(&self) {
        self.shared.attachment.over().await;
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker")
            .field("executor", &self.shared.executor)
            .finish_non_exhaustive()
    }
}

/// A [`MemoryBroker`] that does not run yet.
#[must_use = "a broker exists once it is run or started"]
#[derive(Debug)]
pub struct MemoryBrokerStart {
    executor: Arc<dyn Executor>,
    encode_always: bool,
}

impl MemoryBrokerStart {
    /// Encodes and decodes the arguments and replies of every call, as if they travelled, so that those
    /// that cannot are found: for tests of programs that use another broker otherwise. Outcomes are the
    /// same but for that.
    pub fn encode_always(mut self) -> Self {
        self.encode_always = true;
        self
    }

    /// Runs the broker for as long as `body` takes: every handler has ended when it returns.
    ///
    /// Starting locks the registry for good.
    ///
    /// # Errors
    /// What `body` returns; [`Error`] of kind `Cancelled` if the broker was closed under it.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropped, it drops the body and every handler.
    pub async fn run<T, E, F, Fut>(self, body: F) -> Result<T, E>
    where
        F: FnOnce(MemoryBroker) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        scoped(|group| async move {
            let broker = self.open(group);
            broker.prepare().await?;
            body(broker).await
        })
        .await
    }

    /// Starts the broker as a child of `group`, which stays open until the broker is closed by
    /// `close()` or the group is cancelled.
    ///
    /// Starting locks the registry for good.
    ///
    /// # Errors
    /// Kind `Cancelled` if the group is closed.
    ///
    /// # Cancel safety
    /// *Nothing happened*: the broker is closed again.
    pub async fn start<E: Send + 'static>(
        self,
        group: &TaskGroup<E>,
    ) -> Result<MemoryBroker, Error> {
        let broker = self.open(nested(group).await?);
        match broker.prepare().await {
            Ok(()) => Ok(broker),
            Err(error) => {
                broker.close();
                Err(error)
            }
        }
    }

    fn open(self, group: TaskGroup<Infallible>) -> MemoryBroker {
        let registry = self.executor.registry().clone();
        registry.lock();
        let mut instance = [0; 16];
        entropy::fill(&mut instance);
        MemoryBroker {
            shared: Arc::new(Shared {
                attachment: Attachment::open(&group, &self.executor),
                offers: Offers::new(registry.project(), Some(registry.clone()), usize::MAX),
                executor: self.executor,
                group,
                me: Peer::new(None, instance, "".into()),
                next_call: AtomicU64::new(1),
                waiting: AtomicUsize::new(0),
                encode_always: self.encode_always,
            }),
        }
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

/// A place among the calls that wait for a method nobody offers.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// `None` if there are enough.
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let one_more = |now: usize| (now < MAX_WAITING).then_some(now + 1);
        waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
