//! What carries calls between callers and executors.

use std::any::TypeId;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bowline_backend::time::Instant;
use bytes::Bytes;

use crate::proto::Extensions;
use crate::schema::Expected;
use crate::{
    Addressed, Call, CallError, Certainty, Code, Codec, DeclaredName, ErrorBody, MethodName,
    MethodTable, RawStream, RegistryError, Retry, Streaming,
};

/// The priority of a call that names none.
const DEFAULT_PRIORITY: u8 = 4;

/// Carries calls to wherever their methods run.
///
/// A handle: clones are the same broker, and a handle does not keep the broker alive. Programs
/// call through [`Caller`](crate::Caller), which every broker has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no broker that runs",
    note = "a broker is there once it was started: `.run(async |broker| ..)` or `.start(&group)`"
)]
pub trait Broker: Clone + Send + Sync + 'static {
    /// Sends an encoded call and waits for its outcome.
    ///
    /// # Errors
    /// The outcome of a call that did not succeed.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it cancels the call.
    fn submit(&self, call: OutCall) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// Begins an encoded call that streams: its items are those of
    /// [`streaming`](OutCall::streaming). Once it has begun it is never made again.
    ///
    /// # Errors
    /// The outcome of a call that did not begin: nobody offers the method, say.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it, or what it gave, cancels the call.
    fn open(&self, call: OutCall) -> impl Future<Output = Result<RawStream, CallError>> + Send;

    /// Sends an encoded call that nobody answers, and waits until it is handed to the transport, or to an
    /// executor of this process: no longer, so there is no knowing what becomes of it. A peer takes a
    /// number of them at a time, and while it has not begun with those before this waits.
    ///
    /// # Errors
    /// It was not sent.
    ///
    /// # Cancel safety
    /// *Outcome unknown*: it may have been sent.
    fn notify_raw(&self, call: OutCall) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Sends a call that is a value and waits for its outcome.
    ///
    /// Unless a broker knows better, it sends the encoded call.
    ///
    /// # Errors
    /// The outcome of a call that did not succeed, with the method's own error as a value.
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it cancels the call.
    fn submit_typed<C: Call>(
        &self,
        call: C,
        options: CallOptions,
    ) -> impl Future<Output = Result<C::Reply, CallError<C::Error>>> + Send {
        submit_encoded(self, call, options)
    }

    /// Sends an encoded call to every peer that offers its method, now or once one does. None of
    /// these is made again if it fails.
    ///
    /// # Errors
    /// Nobody offers the method, as for [`submit`](Self::submit).
    ///
    /// # Cancel safety
    /// *Peer told to stop*: dropping it, or what it gave, cancels the calls.
    fn submit_each(
        &self,
        call: OutCall,
    ) -> impl Future<Output = Result<Vec<Addressed>, CallError>> + Send;

    /// The methods that calls find now; it tells when that changes.
    fn methods(&self) -> MethodTable;

    /// The name that calls of a type go by here.
    ///
    /// # Errors
    /// Its name completed with the project is not a name.
    fn name_of(&self, call: CallType) -> Result<MethodName, RegistryError>;

    /// Takes no new calls, waits for those in flight for `most` at most, cancels the rest, and closes.
    ///
    /// # Cancel safety
    /// Dropped, the broker goes on with what it has begun, and does not close.
    fn drain(&self, most: Duration) -> impl Future<Output = DrainReport> + Send;

    /// Cancels everything now and ends every task of the broker.
    fn close(&self);

    /// Completes when the broker takes no more calls and has ended those it had, and says why it came to
    /// that.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    fn closed(&self) -> impl Future<Output = CloseCause> + Send;
}

/// Why a broker ended: the first cause of several.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// [`close`](Broker::close) was called.
    Closed,
    /// It was to drain: by [`drain`](Broker::drain), a signal, or `sys.drain`.
    Drained,
    /// It could not go on: a listener broke, or the one connection it had ended.
    Broken(Arc<str>),
    /// What it ran in has ended: the body of `run`, or the group it was started in.
    Cancelled,
}

/// What became of calls and notifications while a broker drained: of those of its peers, or, of a broker in
/// memory, of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Calls that were answered, with a reply or an error of their handler, and notifications whose handlers
    /// came to their end.
    pub finished: u64,
    /// Calls that came too late or had not begun: their callers know that they did not run.
    pub refused: u64,
    /// Calls that were cancelled when the time was over; and notifications, those that had not begun too:
    /// nobody tells their senders.
    pub cancelled: u64,
    /// Calls whose handlers went on all the same: they were left, and their callers know that they may
    /// have run.
    pub abandoned: u64,
}

/// The first cause of an end, once there is one.
#[derive(Debug, Default)]
pub(crate) struct Ending(OnceLock<CloseCause>);

impl Ending {
    /// A cause, which counts if it is the first.
    pub(crate) fn by(&self, cause: CloseCause) {
        let _ = self.0.set(cause);
    }

    /// The cause of an end that has come.
    pub(crate) fn cause(&self) -> CloseCause {
        self.0.get().cloned().unwrap_or(CloseCause::Cancelled)
    }
}

/// A type of calls, as a value.
#[derive(Clone, Copy, Debug)]
pub struct CallType {
    pub(crate) id: TypeId,
    pub(crate) name: DeclaredName,
}

impl CallType {
    /// The type `C`.
    pub fn of<C: Call>() -> Self {
        Self {
            id: TypeId::of::<C>(),
            name: C::NAME,
        }
    }
}

/// What may be said about a call besides its method and arguments.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallOptions {
    /// When the caller stops waiting; [`Instant::NEVER`] is no deadline.
    pub deadline: Instant,
    /// The format of arguments and reply.
    pub codec: Codec,
    /// What happens while no peer offers the method.
    pub unknown: UnknownMethod,
    /// How many calls it is nested in, 0 to 8; deeper it fails with
    /// [`HopLimit`](crate::Code::HopLimit). Of a call that a handler makes, one more than of that
    /// handler's.
    pub hops: u8,
    /// Its priority at the executor, 0 to 7, higher first.
    pub priority: u8,
    /// How often it is made if it fails in a way that another attempt may mend.
    pub retry: Retry,
    /// Calls of equal hash go to the same peer, where the broker [balances](crate::Balance::Hash) so.
    pub hash: Option<u64>,
    /// Idempotency key, metadata, trace, schema.
    pub extensions: Extensions,
}

impl CallOptions {
    /// No deadline, waiting for the method, nested in no call; arguments and reply in `codec`; priority
    /// 4, retried as is usual, and nothing more said.
    pub fn new(codec: Codec) -> Self {
        Self {
            deadline: Instant::NEVER,
            codec,
            unknown: UnknownMethod::Wait,
            hops: 0,
            priority: DEFAULT_PRIORITY,
            retry: Retry::default(),
            hash: None,
            extensions: Extensions::new(),
        }
    }
}

/// What happens to a call while no peer offers its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownMethod {
    /// It waits until one does or its deadline ends it.
    Wait,
    /// It fails at once.
    FailFast,
}

/// An encoded call on its way out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutCall {
    /// The method's full name.
    pub method: Arc<str>,
    /// The encoded tuple of arguments.
    pub body: Bytes,
    /// The arguments are no tuple, but stand with their names.
    pub named: bool,
    /// It may run twice, whatever is known of its method where it runs.
    pub idempotent: bool,
    /// Who sends items besides.
    pub streaming: Streaming,
    /// What else was said.
    pub options: CallOptions,
    /// Of a typed call, its types.
    pub(crate) expected: Expected,
}

impl OutCall {
    /// A call of `method` with the encoded arguments `body`.
    pub fn new(method: impl Into<Arc<str>>, body: Bytes, options: CallOptions) -> Self {
        Self {
            method: method.into(),
            body,
            named: false,
            idempotent: false,
            streaming: Streaming::No,
            options,
            expected: Expected::default(),
        }
    }
}

/// An encoded reply.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reply {
    /// Its format: the one that was asked for, unless that is postcard, a typed call was made and who
    /// replied has other types, as [`Codec`] says.
    pub codec: Codec,
    /// The encoded result.
    pub body: Bytes,
}

impl Reply {
    /// A reply with the result `body`, encoded with `codec`.
    pub fn new(codec: Codec, body: Bytes) -> Self {
        Self { codec, body }
    }
}

/// A call that is a value, by way of its encoded form.
pub(crate) async fn submit_encoded<C: Call>(
    broker: &impl Broker,
    call: C,
    options: CallOptions,
) -> Result<C::Reply, CallError<C::Error>> {
    let codec = options.codec;
    let call = encoded(broker, call, options)?;
    typed::<C>(codec, broker.submit(call).await)
}

/// A call that is a value in its encoded form.
pub(crate) fn encoded<C: Call, E>(
    broker: &impl Broker,
    call: C,
    mut options: CallOptions,
) -> Result<OutCall, CallError<E>> {
    let body = encode_arguments(options.codec, &call.into_args())?;
    let name = broker.name_of(CallType::of::<C>()).map_err(|error| {
        CallError::new(Code::UnknownMethod, Certainty::NeverSent).with_cause(error)
    })?;
    if C::SPEC.is_strict_schema() {
        options.extensions = options.extensions.with_schema(C::SPEC.schema_hash());
    }
    let mut call = OutCall::new(name.shared().clone(), body, options);
    call.expected = Expected::of::<C>();
    call.idempotent = C::SPEC.is_idempotent();
    call.streaming = C::SPEC.streams();
    Ok(call)
}

/// The failure of a call of that type, with the name that the type goes by.
#[cold]
pub(crate) fn named<E>(broker: &impl Broker, call: CallType, error: CallError<E>) -> CallError<E> {
    match broker.name_of(call) {
        Ok(name) => error.of_method(name.shared().clone()),
        Err(_) => error,
    }
}

/// The outcome of an encoded call as that of a typed one.
pub(crate) fn typed<C: Call>(
    codec: Codec,
    outcome: Result<Reply, CallError>,
) -> Result<C::Reply, CallError<C::Error>> {
    match outcome {
        Ok(reply) => decode_reply(&reply),
        Err(error) => Err(typed_error(codec, error)),
    }
}

/// Refuses a key where no answer is kept for another call to get.
pub(crate) fn without_key(options: &CallOptions) -> Result<(), CallError> {
    if options.extensions.idempotency_key().is_none() {
        return Ok(());
    }
    let error = CallError::new(crate::Code::BadArguments, crate::Certainty::NeverSent);
    Err(error.with_message("only a call with one answer and no items has an idempotency key"))
}

/// An encoded application error as a value; `codec` was asked for.
pub(crate) fn typed_error<E: serde::de::DeserializeOwned>(
    codec: Codec,
    error: CallError,
) -> CallError<E> {
    error.try_map_application(|body: ErrorBody| {
        // As that of a reply: another one only if it is one of those that every broker knows.
        let other = Codec::from_id(body.codec.0).filter(|_| codec == Codec::Postcard);
        other.unwrap_or(codec).decode::<E>(&body.bytes)
    })
}

pub(crate) fn decode_reply<T: serde::de::DeserializeOwned, E>(
    reply: &Reply,
) -> Result<T, CallError<E>> {
    reply.codec.decode(&reply.body).map_err(|error| {
        CallError::new(Code::BadReply, Certainty::Executed).with_message(error.to_string())
    })
}

pub(crate) fn encode_arguments<T: serde::Serialize, E>(
    codec: Codec,
    arguments: &T,
) -> Result<Bytes, CallError<E>> {
    codec.encode(arguments).map_err(|error| {
        CallError::new(Code::BadArguments, Certainty::NeverSent).with_message(error.to_string())
    })
}
