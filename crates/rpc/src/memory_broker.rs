//! A broker within one process: calls go straight to an executor.

mod begun;
mod drain;
mod find;
mod insight;
mod once;
mod start;
mod values;

pub use start::MemoryBrokerStart;

pub(crate) use start::{Callers, Parts};

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::time::{self, Instant};
use bowline_concurrency::sync::Semaphore;
use bowline_concurrency::{CancelHandle, TaskGroup, timeout_at};
use bytes::Bytes;

use crate::broker::{Ending, submit_encoded, without_key};
use crate::dedupe::Dedupe;
use crate::executor::{
    Attachment, CallRef, Executor, Internals, Job, JobBody, JobEnd, JobFacts, MethodLimit,
    Notification, ReplySink, Stop,
};
use crate::local_answer::LocalAnswer;
use crate::meter::Meter;
use crate::offers::{Offered, Offers, Served};
use crate::span::{self, CallSpan};
use crate::stream::{HandlerStreams, Outcome, Pipe, Streaming};
use crate::sys::Reserved;
use crate::{
    Addressed, Broker, Call, CallError, CallOptions, CallType, Certainty, CloseCause, Code,
    Context, DrainReport, DynBroker, Error, MethodName, MethodTable, OutCall, Peer, RawStream,
    RegistryError, Reply,
};
use begun::{Begun, EndsItems, Given, kept, refusal};

/// How many calls a call may be nested in.
const MAX_HOPS: u8 = 8;
/// Notifications that have not begun, before one more waits.
const NOTIFICATIONS: usize = 256;
/// Charge of items that wait in one direction of a call.
const WINDOW: u64 = 64 * 1024;

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
    /// Of that group.
    cancel: CancelHandle,
    me: Peer,
    next_call: AtomicU64,
    offers: Arc<Offers>,
    ending: Ending,
    /// New calls that were refused, as it drains.
    refused: AtomicU64,
    /// Calls that wait for a method nobody offers.
    waiting: AtomicUsize,
    /// Places of notifications that have not begun.
    notifications: Semaphore,
    /// Calls with a key.
    dedupe: Arc<Dedupe>,
    encode_always: bool,
    callers: Callers,
}

impl MemoryBroker {
    /// A broker over `executor`, to be run or started.
    #[expect(clippy::new_ret_no_self, reason = "a broker exists only while it runs")]
    pub fn new(executor: impl Executor) -> MemoryBrokerStart {
        MemoryBrokerStart {
            executor: Arc::new(executor),
            encode_always: false,
            internals: Internals::Hidden,
        }
    }

    /// What it offers now.
    pub(crate) fn offered(&self) -> Arc<Offered> {
        self.shared.offers.now()
    }

    async fn prepare(&self) -> Result<(), Error> {
        let shared = &self.shared;
        shared.attachment.introduce(DynBroker::new(self.clone()));
        shared.executor.prepare(&shared.attachment).await
    }

    /// A job for the executor, whose outcome goes to `sink`.
    fn job(
        &self,
        body: impl FnOnce(Context) -> JobBody + Send,
        (stop, limit): (Stop, Option<MethodLimit>),
        meter: Arc<Meter>,
        options: CallOptions,
        (call, sink): (CallRef, Arc<dyn ReplySink>),
        streams: Option<Arc<HandlerStreams>>,
    ) -> Result<Job, CallError> {
        let shared = &*self.shared;
        if shared.cancel.cancel_called() {
            return Err(closed());
        }
        let hops = options.hops;
        if hops > MAX_HOPS {
            return Err(CallError::new(Code::HopLimit, Certainty::NeverSent));
        }
        let facts = JobFacts {
            stop,
            deadline: options.deadline,
            caller: Some(shared.me.clone()),
            call,
            hops,
            priority: options.priority,
            limit,
            extensions: options.extensions,
            streams,
            arrived: time::now(),
            untaken: None,
        };
        let job = Job::new(body, facts, meter, shared.attachment.clone(), sink);
        // The job is counted by now.
        if hops == 0 && shared.offers.gate().is_closed() {
            job.refuse(Code::Draining);
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(CallError::new(Code::Draining, Certainty::NeverSent));
        }
        span::goes_to(Some(&shared.me), Some(call.number()));
        Ok(job)
    }

    /// The next call, which ends with its caller.
    fn next_call(&self) -> CallRef {
        match self.shared.callers {
            Callers::Wait => CallRef::Local(self.next_number()),
            Callers::GoElsewhere => CallRef::Here(self.next_number()),
        }
    }

    fn next_number(&self) -> u64 {
        self.shared.next_call.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether arguments and replies move as they are.
    fn moves_values(&self) -> bool {
        !self.shared.encode_always && self.shared.executor.takes_values()
    }

    fn encoded_job(
        &self,
        Served { method, meter }: Served,
        call: OutCall,
        sink: (CallRef, Arc<dyn ReplySink>),
        streams: Option<Arc<HandlerStreams>>,
    ) -> Result<Job, CallError> {
        let how = (Stop::of(method.entry.spec), method.entry.limit());
        let codec = call.options.codec;
        let body = move |context| JobBody::Encoded {
            name: method.name,
            entry: method.entry,
            codec,
            named: call.named,
            body: call.body,
            context,
        };
        self.job(body, how, meter, call.options, sink, streams)
    }

    /// Has the executor answer an encoded call.
    pub(crate) async fn carry(&self, mut call: OutCall) -> Result<Reply, CallError> {
        let served = self.find_for(&mut call).await?;
        if call.options.extensions.idempotency_key().is_some() {
            return Box::pin(self.carry_once(served, call)).await;
        }
        let codec = call.options.codec;
        let answer = LocalAnswer::<Infallible>::new();
        let sink = (self.next_call(), answer.clone() as Arc<dyn ReplySink>);
        let job = self.encoded_job(served, call, sink, None)?;
        self.begin(job, answer).outcome(codec).await
    }

    /// Begins a call with items.
    pub(crate) async fn begin_items(&self, mut call: OutCall) -> Result<RawStream, CallError> {
        without_key(&call.options)?;
        not_reserved(&call.method)?;
        let served = self.find_for(&mut call).await?;
        let (sends, codec) = (call.streaming.from_caller(), call.options.codec);
        let (to_handler, to_caller) = (Pipe::new(WINDOW), Pipe::new(WINDOW));
        let streams = HandlerStreams::new(
            codec,
            sends.then(|| to_handler.clone()),
            call.streaming.from_executor().then(|| to_caller.clone()),
            usize::MAX,
        );
        let answer = LocalAnswer::<Infallible>::new();
        let sink = Arc::new(EndsItems {
            answer: answer.clone(),
            to_handler: to_handler.clone(),
            to_caller: to_caller.clone(),
        });
        let job = self.encoded_job(served, call, (self.next_call(), sink), Some(streams))?;
        let begun = self.begin(job, answer);
        if let Callers::GoElsewhere = self.shared.callers
            && let Some(end) = begun.answer.refused()
        {
            begun.refused();
            return Err(refusal(codec, end));
        }
        let outcome: Outcome = match begun.deadline {
            Instant::NEVER => Box::pin(begun.outcome(codec)),
            _ => {
                let pipes = [to_handler.clone(), to_caller.clone()];
                kept(&self.shared.group, begun.outcome(codec), pipes)
            }
        };
        Ok(RawStream::new(
            (to_handler, sends),
            to_caller,
            outcome,
            (codec, usize::MAX),
        ))
    }

    /// Hands over a call that nobody answers.
    pub(crate) async fn hand_over(&self, mut call: OutCall) -> Result<(), CallError> {
        without_key(&call.options)?;
        not_reserved(&call.method)?;
        let served = self.find_for(&mut call).await?;
        let places = &self.shared.notifications;
        match timeout_at(call.options.deadline, places.acquire()).await {
            Ok(place) => place.forget(),
            Err(_) => return Err(CallError::new(Code::DeadlineExceeded, Certainty::NeverSent)),
        }
        let shared = self.shared.clone();
        let give_back = move |_| {
            // As many are given back as were taken, so there is room for them.
            let _ = shared.notifications.add_permits(1);
        };
        let sink = Notification::new(give_back, |_: &JobEnd| {});
        let refused = sink.clone();
        // It waits whoever its caller is: it has its place.
        let call_ref = CallRef::Local(self.next_number());
        match self.encoded_job(served, call, (call_ref, sink), None) {
            Ok(job) => {
                drop(job.give_to(&*self.shared.executor));
                Ok(())
            }
            Err(error) => {
                refused.settle(CallRef::Local(0), JobEnd::Reply(Bytes::new()));
                Err(error)
            }
        }
    }

    /// Gives the executor a job whose outcome `answer` gets.
    fn begin<T>(&self, job: Job, answer: Arc<LocalAnswer<T>>) -> Begun<T> {
        // Whatever becomes of the job, it is answered.
        Begun {
            deadline: job.deadline(),
            given: Given(Some(job.give_to(&*self.shared.executor))),
            answer,
        }
    }
}

impl Broker for MemoryBroker {
    async fn submit(&self, call: OutCall) -> Result<Reply, CallError> {
        if let Some(reserved) = Reserved::named(&call.method) {
            return self.ask(reserved, &call);
        }
        let span = CallSpan::new(&call.method);
        span.around(self.carry(call)).await
    }

    async fn open(&self, call: OutCall) -> Result<RawStream, CallError> {
        let span = CallSpan::new(&call.method);
        span.open(self.begin_items(call)).await
    }

    async fn notify_raw(&self, call: OutCall) -> Result<(), CallError> {
        let span = CallSpan::new(&call.method);
        span.around(self.hand_over(call)).await
    }

    async fn submit_typed<C: Call>(
        &self,
        call: C,
        options: CallOptions,
    ) -> Result<C::Reply, CallError<C::Error>> {
        // What is no function with the attribute, of a service for instance, goes by its name. So does
        // what has a key, for a value cannot be given to two callers, and what has to be measured.
        let moves = self.moves_values()
            && options.extensions.idempotency_key().is_none()
            && !C::SPEC.measures();
        let offers = &self.shared.offers;
        match offers.meter_of(TypeId::of::<C>()).filter(|_| moves) {
            Some(meter) => {
                let span = CallSpan::new(meter.name());
                span.around(self.carry_value(call, options, meter)).await
            }
            None => Box::pin(submit_encoded(self, call, options)).await,
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

    fn methods(&self) -> MethodTable {
        MethodTable::live(self.clone(), self.shared.offers.changes())
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

fn closed<E>() -> CallError<E> {
    CallError::new(Code::Cancelled, Certainty::NeverSent).with_message("the broker is closed")
}

/// Reserved methods answer, and have no items.
fn not_reserved(method: &str) -> Result<(), CallError> {
    if Reserved::named(method).is_none() {
        return Ok(());
    }
    let error = CallError::new(Code::Unsupported, Certainty::NeverSent);
    Err(error.with_message(Streaming::No.asked_wrongly()))
}
