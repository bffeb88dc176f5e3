//! How a call can fail: the code, how far the call got, and what the peer said.

mod code;

pub use code::Code;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::proto::{CodecId, Rejected};

/// How far a call got before it failed: whether the handler may have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Certainty {
    /// No byte of the call was accepted by the transport: it did not run.
    NeverSent = 0,
    /// The peer said that it did not start it: it did not run.
    Refused = 1,
    /// Bytes of the call left and no answer came: it may have run, wholly, in part or not at all.
    MaybeExecuted = 2,
    /// The handler ran and ended.
    Executed = 3,
}

impl Certainty {
    /// What a number received from a peer means. It cannot say that we never sent the call, and
    /// what it says in numbers unknown here tells nothing.
    pub const fn from_wire(number: u8) -> Certainty {
        match number {
            1 => Certainty::Refused,
            3 => Certainty::Executed,
            _ => Certainty::MaybeExecuted,
        }
    }

    /// The number on the wire; what was never sent, told to a peer, is *refused*.
    pub const fn to_wire(self) -> u8 {
        match self {
            Certainty::NeverSent | Certainty::Refused => 1,
            Certainty::MaybeExecuted => 2,
            Certainty::Executed => 3,
        }
    }

    /// Whether the handler certainly did not run, so that calling again is safe for any method.
    pub const fn did_not_run(self) -> bool {
        matches!(self, Certainty::NeverSent | Certainty::Refused)
    }
}

/// An application error as it came over the wire: bytes of a codec.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorBody {
    /// The codec of the call.
    pub codec: CodecId,
    /// The encoded error.
    pub bytes: Bytes,
}

impl ErrorBody {
    /// `bytes`, encoded with `codec`.
    pub fn new(codec: CodecId, bytes: Bytes) -> Self {
        Self { codec, bytes }
    }
}

/// The one outcome of a call that did not succeed.
///
/// `E` is the application error of the method. Where it has not been decoded yet, and for calls by
/// name, it is the [`ErrorBody`].
///
/// # Examples
/// ```
/// use bowline_rpc::{CallError, Certainty, Code};
///
/// let error: CallError = CallError::new(Code::NoPeer, Certainty::NeverSent).of_method("math.add");
/// assert_eq!(error.code(), Code::NoPeer);
/// assert!(error.certainty().did_not_run());
/// assert_eq!(error.to_string(), "math.add: no peer offers the method");
/// ```
#[derive(Clone)]
pub struct CallError<E = ErrorBody> {
    code: Code,
    certainty: Certainty,
    application: Option<E>,
    /// What else is known, if anything is. Apart, as every outcome has room for an error.
    known: Option<Box<Known>>,
}

#[derive(Clone, Default)]
struct Known {
    method: Option<Arc<str>>,
    size: Option<(u32, u32)>,
    retry_after: Option<Duration>,
    message: Option<Box<str>>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Longest message kept, in bytes.
const MAX_MESSAGE: usize = 4096;

impl<E> CallError<E> {
    /// A failure with nothing but a code and a certainty.
    pub fn new(code: Code, certainty: Certainty) -> Self {
        Self {
            code,
            certainty,
            application: None,
            known: None,
        }
    }

    fn known(&mut self) -> &mut Known {
        self.known.get_or_insert_default()
    }

    /// The method failed in its own terms, with `error`.
    pub fn from_application(error: E) -> Self {
        Self {
            application: Some(error),
            ..Self::new(Code::Application, Certainty::Executed)
        }
    }

    /// Says more. Control characters are escaped and everything past 4 KiB is cut.
    #[must_use = "this returns the error with the message and changes nothing"]
    pub fn with_message(mut self, message: impl AsRef<str>) -> Self {
        self.known().message = escape(message.as_ref(), MAX_MESSAGE);
        self
    }

    /// Says when to try again.
    #[must_use = "this returns the error with the time and changes nothing"]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.known().retry_after = Some(after);
        self
    }

    /// Says which limit was passed, and by what, in bytes.
    #[must_use = "this returns the error with the sizes and changes nothing"]
    pub fn with_sizes(mut self, limit: u32, actual: u32) -> Self {
        self.known().size = Some((limit, actual));
        self
    }

    /// Says which method was called, by its full name, if nobody has said so.
    #[must_use = "this returns the error with the name and changes nothing"]
    pub fn of_method(mut self, name: impl Into<Arc<str>>) -> Self {
        self.known().method.get_or_insert_with(|| name.into());
        self
    }

    /// The same, for a call that got at least so far.
    pub(crate) fn at_least(mut self, certainty: Certainty) -> Self {
        self.certainty = self.certainty.max(certainty);
        self
    }

    /// Whether a peer refused it as it has too much to do, or nothing that would do it, for the time being.
    pub(crate) fn has_no_room(&self) -> bool {
        let code = matches!(
            self.code,
            Code::Overloaded | Code::RateLimited | Code::NoExecutor
        );
        code && self.certainty == Certainty::Refused
    }

    /// Says what it came from.
    #[must_use = "this returns the error with the cause and changes nothing"]
    pub fn with_cause(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
        self.known().cause = Some(Arc::new(cause));
        self
    }

    /// Why the call failed.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether the handler may have run.
    pub fn certainty(&self) -> Certainty {
        self.certainty
    }

    /// The full name of the method that was called; empty where it is not known.
    pub fn method(&self) -> &str {
        let method = self
            .known
            .as_ref()
            .and_then(|known| known.method.as_deref());
        method.unwrap_or_default()
    }

    /// What was said about it; empty if nothing was.
    pub fn message(&self) -> &str {
        let message = self
            .known
            .as_ref()
            .and_then(|known| known.message.as_deref());
        message.unwrap_or_default()
    }

    /// After what time the peer suggests to try again: one that answers [`Code::Overloaded`] says how long it
    /// takes to begin the calls that wait there, 10 s at most. None where it is not known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.known.as_ref()?.retry_after
    }

    /// The limit and the actual size, in bytes, of [`Code::TooLarge`].
    pub fn sizes(&self) -> Option<(u32, u32)> {
        self.known.as_ref()?.size
    }

    /// The application error, if that is what it is.
    pub fn application(&self) -> Option<&E> {
        self.application.as_ref()
    }

    /// The application error, or this error back if it is another.
    ///
    /// # Errors
    /// The error itself, unless its code is [`Code::Application`] and it carries a value.
    pub fn into_application(mut self) -> Result<E, CallError<E>> {
        match self.application.take() {
            Some(error) => Ok(error),
            None => Err(self),
        }
    }

    /// The same failure with another form of the application error: decoded, say. Where `f` fails
    /// the failure keeps its code and says so in its message.
    pub fn try_map_application<T, D: fmt::Display>(
        self,
        f: impl FnOnce(E) -> Result<T, D>,
    ) -> CallError<T> {
        let mapped = CallError {
            code: self.code,
            certainty: self.certainty,
            application: None,
            known: self.known,
        };
        match self.application.map(f) {
            None => mapped,
            Some(Ok(value)) => CallError {
                application: Some(value),
                ..mapped
            },
            Some(Err(error)) => mapped.with_message(format!("its error did not decode: {error}")),
        }
    }
}

/// `text` with control characters escaped, cut before `max` bytes; nothing if it is empty.
pub(crate) fn escape(text: &str, max: usize) -> Option<Box<str>> {
    let mut kept = String::new();
    for c in text.chars() {
        let before = kept.len();
        if c.is_control() {
            kept.extend(c.escape_default());
        } else {
            kept.push(c);
        }
        if kept.len() > max {
            kept.truncate(before);
            break;
        }
    }
    (!kept.is_empty()).then(|| kept.into_boxed_str())
}

impl<E: fmt::Debug> fmt::Debug for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("CallError");
        if let Some(method) = self.known.as_ref().and_then(|known| known.method.as_ref()) {
            out.field("method", method);
        }
        out.field("code", &self.code)
            .field("certainty", &self.certainty);
        if let Some(application) = &self.application {
            out.field("application", application);
        }
        let Some(known) = &self.known else {
            return out.finish();
        };
        if let Some(message) = &known.message {
            out.field("message", message);
        }
        if let Some(sizes) = &known.size {
            out.field("sizes", sizes);
        }
        if let Some(after) = &known.retry_after {
            out.field("retry_after", after);
        }
        if let Some(cause) = &known.cause {
            out.field("cause", cause);
        }
        out.finish()
    }
}

/// The method, why the call of it failed, and what was said about it; of a method that failed in its own
/// terms, those.
impl<E: fmt::Debug> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method() {
            "" => write!(f, "{}", self.code)?,
            method => write!(f, "{method}: {}", self.code)?,
        }
        if let Some(error) = &self.application {
            write!(f, ": {error:?}")?;
        }
        if !self.message().is_empty() {
            write!(f, ": {}", self.message())?;
        }
        if let Some((limit, actual)) = self.sizes() {
            write!(f, " ({actual} bytes, limit {limit})")?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug> StdError for CallError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let cause = self.known.as_ref()?.cause.as_ref();
        cause.map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

impl<E> From<Rejected> for CallError<E> {
    /// The outcome of a call that the machine did not take: it was never sent.
    fn from(rejected: Rejected) -> Self {
        let error = CallError::new(rejected.code(), Certainty::NeverSent);
        match rejected {
            Rejected::TooLarge { limit, actual } => error.with_sizes(limit, actual),
            Rejected::Codec(_) => error.with_message(rejected.to_string()),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certainty_from_a_peer_never_says_never_sent() {
        let read: Vec<_> = (0..=4).map(Certainty::from_wire).collect();
        use Certainty::{Executed, MaybeExecuted, Refused};
        assert_eq!(
            read,
            [
                MaybeExecuted,
                Refused,
                MaybeExecuted,
                Executed,
                MaybeExecuted
            ]
        );
    }

    #[test]
    fn messages_are_escaped_and_cut_between_characters() {
        assert_eq!(escape("a\nb\u{1b}", 100).as_deref(), Some("a\\nb\\u{1b}"));
        assert_eq!(escape("éé", 3).as_deref(), Some("é"));
        assert_eq!(escape("\n", 1), None);
    }
}
