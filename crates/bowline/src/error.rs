use std::error::Error as StdError;
use std::fmt;

/// Any error, for `main` and for examples.
///
/// Every error of Bowline's crates and the common ones of the standard library become one with
/// `?`; others with [`Error::new`]. It is a box: a library should return its own error instead.
/// As the error of `main` it prints itself and all its sources, one a line.
///
/// # Examples
///
/// ```
/// fn read(text: &str) -> Result<u16, bowline::Error> {
///     if text.is_empty() {
///         return Err("nothing to read".into());
///     }
///     Ok(text.parse()?)
/// }
///
/// assert_eq!(read("7").unwrap(), 7);
/// assert_eq!(read("").unwrap_err().to_string(), "nothing to read");
/// assert!(read("x").unwrap_err().downcast_ref::<std::num::ParseIntError>().is_some());
/// ```
pub struct Error(Box<dyn StdError + Send + Sync>);

impl Error {
    /// Boxes any error.
    pub fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Error(Box::new(error))
    }

    /// The error within, if it is of this type.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    /// The error within.
    pub fn into_inner(self) -> Box<dyn StdError + Send + Sync> {
        self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        let mut cause = self.0.source();
        while let Some(source) = cause {
            let text = source.to_string();
            // Some errors end with the text of their cause.
            if !shown.ends_with(&text) {
                write!(f, "\n  because: {text}")?;
                shown = text;
            }
            cause = source.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl From<Box<dyn StdError + Send + Sync>> for Error {
    fn from(error: Box<dyn StdError + Send + Sync>) -> Self {
        Error(error)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Error(message.into())
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Error(message.into())
    }
}

impl From<bowline_backend::blocking::BlockingError> for Error {
    // Its text alone: the payload of a panic cannot be shared between threads.
    fn from(error: bowline_backend::blocking::BlockingError) -> Self {
        Error(error.to_string().into())
    }
}

/// Two halves of different streams, which are dropped.
impl<R, W> From<bowline_backend::stream::ReuniteError<R, W>> for Error {
    fn from(error: bowline_backend::stream::ReuniteError<R, W>) -> Self {
        Error(error.to_string().into())
    }
}

/// A future that no group took, which is dropped.
impl<F> From<bowline_concurrency::SpawnError<F>> for Error {
    fn from(error: bowline_concurrency::SpawnError<F>) -> Self {
        Error(error.to_string().into())
    }
}

macro_rules! from {
    ($($error:ty),* $(,)?) => { $(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Error::new(error)
            }
        }
    )* };
}

/// Errors that carry a value of the user's.
macro_rules! from_carrying {
    ($value:ident: $bound:path; $($error:ty),* $(,)?) => { $(
        impl<$value: fmt::Debug + $bound + Send + Sync + 'static> From<$error> for Error {
            fn from(error: $error) -> Self {
                Error::new(error)
            }
        }
    )* };
}

from! {
    std::fmt::Error,
    std::io::Error,
    std::net::AddrParseError,
    std::num::ParseFloatError,
    std::num::ParseIntError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,

    bowline_backend::NoBackend,
    bowline_backend::UnknownBackend,
    bowline_backend::net::ResolveError,
    bowline_backend::net::SocketClosed,

    bowline_channel::BroadcastRecvError,
    bowline_channel::CapacityError,
    bowline_channel::RecvError,
    bowline_channel::TryBroadcastRecvError,
    bowline_channel::TryRecvError,

    bowline_codec::ConvertError,
    bowline_codec::DecodeError,
    bowline_codec::EncodeError,

    bowline_concurrency::BlockingScopeError,
    bowline_concurrency::Cause,
    bowline_concurrency::Elapsed,
    bowline_concurrency::GroupClosed,
    bowline_concurrency::InvalidValue,
    bowline_concurrency::JoinError,
    bowline_concurrency::NotSet,
    bowline_concurrency::PortalError,
    bowline_concurrency::ThreadError,
    bowline_concurrency::sync::AlreadyBorrowed,
    bowline_concurrency::sync::Busy,
    bowline_concurrency::sync::Closed,
    bowline_concurrency::sync::QueueTryRecvError,
    bowline_concurrency::sync::TooManyDone,
    bowline_concurrency::sync::TryAcquireError,
    bowline_concurrency::sync::WouldDeadlock,

    bowline_transport::Error,
    bowline_transport::ParamError,
    bowline_transport::TryRecvError,
    bowline_transport::TrySendError,
    bowline_transport::UrlError,

    bowline_rpc::BadArguments,
    bowline_rpc::BadLimit,
    bowline_rpc::BadTraceparent,
    bowline_rpc::Error,
    bowline_rpc::ItemError,
    bowline_rpc::RawSendError,
    bowline_rpc::RegistryError,
    bowline_rpc::executor::Refusal,
    bowline_rpc::proto::CloseCause,
    bowline_rpc::proto::Rejected,
    bowline_rpc::proto::Violation,
}

#[cfg(all(unix, feature = "ancillary"))]
from! {
    bowline_transport::AncillaryError,
}

#[cfg(feature = "tls")]
from! {
    bowline_transport::KeyExportError,
}

from_carrying! {
    T: fmt::Debug;
    bowline_channel::SendAllError<T>,
    bowline_channel::SendError<T>,
    bowline_channel::TrySendError<T>,
    bowline_concurrency::NotWaiting<T>,
    bowline_concurrency::sync::QueueSendError<T>,
    bowline_concurrency::sync::QueueTrySendError<T>,
    bowline_rpc::CallError<T>,
    bowline_rpc::SendItemError<T>,
    bowline_rpc::TryRecvItemError<T>,
    bowline_rpc::TrySendItemError<T>,
}

from_carrying! {
    E: fmt::Display;
    bowline_concurrency::ChildError<E>,
    bowline_concurrency::GroupError<E>,
    bowline_concurrency::PoolError<E>,
    bowline_concurrency::PortalStartError<E>,
    bowline_concurrency::RetryError<E>,
    bowline_concurrency::StartError<E>,
}

#[cfg(feature = "sim")]
from! {
    bowline_sim::Difference,
    bowline_sim::Failure,
    bowline_sim::ParseChoicesError,
    bowline_sim::SeedsFailure,
    bowline_sim::SetupError,
    bowline_sim::checker::Violation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_form_names_every_cause() {
        let reset = std::io::Error::other("cable");
        let error = bowline_transport::Error::from_io(bowline_transport::Operation::Recv, reset);
        let shown = format!("{:?}", Error::from(error));
        assert_eq!(
            shown,
            "recv: the connection is broken: the stream failed\n  because: cable"
        );
    }

    #[test]
    fn the_debug_form_names_no_cause_twice() {
        use bowline_rpc::{CallError, Certainty, Code};

        let cause = std::io::Error::other("cable");
        let error: CallError =
            CallError::new(Code::ConnectionLost, Certainty::NeverSent).with_cause(cause);
        let first = error.to_string();
        let error = Error::from(bowline_rpc::Error::from(error));
        assert_eq!(error.to_string(), format!("a call failed: {first}"));
        assert_eq!(
            format!("{error:?}"),
            format!("a call failed: {first}\n  because: cable")
        );
    }
}
