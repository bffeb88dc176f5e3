//! The trace that calls belong to, from caller to handler and on.

use std::sync::Arc;

use bowline_concurrency::scope_local;

/// Bytes of a `traceparent`: the longest that is sent.
const LONGEST: usize = 256;

scope_local! {
    /// That of the call that is handled, or of the code around.
    static TRACEPARENT: Arc<str>, inherit;
}

/// Text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is ASCII text of 1 to {LONGEST} bytes")]
#[non_exhaustive]
pub struct BadTraceparent;

/// Has the calls that `body` makes, and the tasks it spawns, belong to a trace: what is said so crosses
/// the wire with each of them, and the calls that their handlers make have it too.
///
/// The text is a `traceparent` as W3C Trace Context has it; it is sent as it is. A call that says one
/// itself, as [`metadata`](crate::CallBuilder::metadata) of that name, has that. Handlers read it by
/// [`Context::traceparent`](crate::Context::traceparent).
///
/// # Errors
/// It is empty, longer than 256 bytes, or not ASCII.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{Caller, Context, Error, MemoryBroker, Registry, executor::AsyncExecutor, with_traceparent};
///
/// let registry = Registry::new("example");
/// registry.register_fn("trace", |context: Context, (): ()| async move {
///     context.traceparent().map(str::to_owned)
/// })?;
/// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let seen = Backend::Tokio.block_on(
///     MemoryBroker::new(AsyncExecutor::new(registry, 4)).run(async |broker| -> Result<_, Error> {
///         let call = broker.call_named::<Option<String>>("trace", ());
///         Ok(with_traceparent(parent, async { call.await }).expect("it is one").await?)
///     }),
/// )?;
/// assert_eq!(seen.as_deref(), Some(parent));
/// # Ok::<(), Error>(())
/// ```
pub fn with_traceparent<F: Future>(
    traceparent: impl Into<Arc<str>>,
    body: F,
) -> Result<impl Future<Output = F::Output>, BadTraceparent> {
    let traceparent = traceparent.into();
    if !is_one(&traceparent) {
        return Err(BadTraceparent);
    }
    Ok(inside(traceparent, body))
}

pub(crate) fn inside<F: Future>(traceparent: Arc<str>, body: F) -> impl Future<Output = F::Output> {
    TRACEPARENT.scope(traceparent, body)
}

pub(crate) fn is_one(text: &str) -> bool {
    text.is_ascii() && (1..=LONGEST).contains(&text.len())
}

/// What a call that says nothing belongs to.
pub(crate) fn current() -> Option<Arc<str>> {
    TRACEPARENT.with(Arc::clone).ok()
}
