//! The options of a method.

use std::time::Duration;

use crate::Streaming;

/// The options of a method; a constant of every [`Call`](crate::Call).
///
/// ```
/// use bowline_rpc::MethodSpec;
/// const SPEC: MethodSpec = MethodSpec::new().idempotent();
/// assert!(SPEC.is_idempotent() && !SPEC.is_blocking());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodSpec {
    idempotent: bool,
    no_cancel: bool,
    blocking: bool,
    timeout: Option<Duration>,
    concurrency: u32,
    pub(super) schema: u64,
    pub(super) strict_schema: bool,
    pub(super) max_args: Option<usize>,
    pub(super) max_reply: Option<usize>,
    streaming: Streaming,
}

impl MethodSpec {
    /// No option set.
    pub const fn new() -> Self {
        Self {
            idempotent: false,
            no_cancel: false,
            blocking: false,
            timeout: None,
            concurrency: 0,
            schema: 0,
            strict_schema: false,
            max_args: None,
            max_reply: None,
            streaming: Streaming::No,
        }
    }

    /// Running it twice is as good as once; peers are told so.
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The handler runs to its end when its caller goes away; its result is then dropped. A stream that it
    /// returned has until the deadline of the call, and is [dropped](crate::Outgoing) then.
    ///
    /// The calls it makes wait no longer than its caller, until the deadline of that. Later ones have the time
    /// they say themselves: what it still does, it does for nobody who waits.
    pub const fn no_cancel(mut self) -> Self {
        self.no_cancel = true;
        self
    }

    /// The handler holds its thread, so it runs where blocking work runs. Such a handler is never
    /// dropped half-way: cancelling only sets the flag its [`Context`](crate::Context) shows.
    pub const fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }

    /// No call of it lasts longer than `timeout`, whatever its caller allows.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// At most so many handlers of it run at once in one executor; 0 is no limit of its own. Calls
    /// that wait for it keep their place in the queue.
    pub const fn concurrency(mut self, handlers: u32) -> Self {
        self.concurrency = handlers;
        self
    }

    /// The hash of its argument and reply types as written; 0 is unknown. Typed calls between two that
    /// differ go in a [format](crate::Codec) that carries types.
    pub const fn schema(mut self, hash: u64) -> Self {
        self.schema = hash;
        self
    }

    /// A typed call whose [`schema`](Self::schema) is another is refused with
    /// [`WrongSchema`](crate::Code::WrongSchema), even if it could be decoded.
    pub const fn strict_schema(mut self) -> Self {
        self.strict_schema = true;
        self
    }

    /// Longest encoded arguments, in bytes; longer ones are [`TooLarge`](crate::Code::TooLarge) and
    /// not decoded. The connection's limit holds besides.
    pub const fn max_args(mut self, bytes: usize) -> Self {
        self.max_args = Some(bytes);
        self
    }

    /// Longest encoded reply, in bytes; a longer one is [`TooLarge`](crate::Code::TooLarge).
    pub const fn max_reply(mut self, bytes: usize) -> Self {
        self.max_reply = Some(bytes);
        self
    }

    /// Who sends items besides arguments and reply. Set by what makes the method, as the handler has to
    /// fit.
    pub const fn streaming(mut self, streaming: Streaming) -> Self {
        self.streaming = streaming;
        self
    }

    /// Who sends items besides arguments and reply.
    pub const fn streams(&self) -> Streaming {
        self.streaming
    }

    /// Whether a call of another schema is refused.
    pub const fn is_strict_schema(&self) -> bool {
        self.strict_schema
    }

    /// The longest encoded arguments, in bytes.
    pub const fn longest_args(&self) -> Option<usize> {
        self.max_args
    }

    /// The longest encoded reply, in bytes.
    pub const fn longest_reply(&self) -> Option<usize> {
        self.max_reply
    }

    /// Whether arguments or replies may be too long.
    pub(crate) const fn measures(&self) -> bool {
        self.max_args.is_some() || self.max_reply.is_some()
    }

    /// Whether running it twice is as good as once.
    pub const fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether it runs to its end when its caller goes away.
    pub const fn is_no_cancel(&self) -> bool {
        self.no_cancel
    }

    /// Whether it holds its thread.
    pub const fn is_blocking(&self) -> bool {
        self.blocking
    }

    /// The longest a call may last.
    pub const fn max_duration(&self) -> Option<Duration> {
        self.timeout
    }

    /// How many handlers of it run at once at most.
    pub const fn max_concurrency(&self) -> Option<u32> {
        match self.concurrency {
            0 => None,
            handlers => Some(handlers),
        }
    }

    /// The hash of its argument and reply types; 0 is unknown.
    pub const fn schema_hash(&self) -> u64 {
        self.schema
    }
}

impl Default for MethodSpec {
    fn default() -> Self {
        Self::new()
    }
}
