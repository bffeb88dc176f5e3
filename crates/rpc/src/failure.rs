//! What can go wrong that is no call's outcome.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use bowline_concurrency::Cause;

use crate::proto::{CloseCause, Guess};
use crate::{BadLimit, CallError, RegistryError};

/// Why a broker did not start, listen or connect; or any failure of this crate, for bodies of
/// [`run`](crate::TcpBrokerBuilder::run) that use `?`.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What kind of failure it is, and so what can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The peer does not speak this protocol; what it speaks, by its first bytes.
    NotOurProtocol(Guess),
    /// The peer belongs to another project.
    WrongProject,
    /// The peer did not prove who it is, or we did not.
    Unauthenticated,
    /// A secret has fewer than 16 bytes.
    WeakSecret,
    /// Unencrypted bytes would go to or come from another machine, and nobody said that they may:
    /// [`allow_insecure_network`](crate::TcpBrokerBuilder::allow_insecure_network).
    InsecureNetwork,
    /// The peer and this side have no common ground, or the address is of a kind unknown here.
    Unsupported,
    /// What was given cannot work, whoever is at the other end: the text says what, and what is wrong
    /// with it.
    InvalidInput,
    /// A registry refused.
    Registry,
    /// A socket could not be opened, a name not resolved, or the connection ended before it was
    /// ready. Trying again may help.
    Transport,
    /// A call failed; the source is its [`CallError`].
    Call,
    /// The surrounding scope was cancelled.
    Cancelled,
    /// A child process is of another build than this program, or has other methods.
    WorkerMismatch,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn transport(what: impl fmt::Display, error: io::Error) -> Self {
        Self::with_source(ErrorKind::Transport, what, error)
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        what: impl fmt::Display,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self {
            source: Some(Arc::new(source)),
            ..Self::new(kind, what.to_string())
        }
    }

    /// Why a connection to `peer` from a broker of `project` did not come about.
    pub(crate) fn connection(peer: impl fmt::Display, project: &str, cause: CloseCause) -> Self {
        let kind = if let Some(guess) = cause.not_our_protocol() {
            ErrorKind::NotOurProtocol(guess)
        } else if cause.is_wrong_project() {
            ErrorKind::WrongProject
        } else {
            match &cause {
                CloseCause::ClosedByPeer {
                    code: crate::Code::Unauthenticated,
                    ..
                }
                | CloseCause::Violation(crate::proto::Violation::Unauthenticated) => {
                    ErrorKind::Unauthenticated
                }
                cause if cause.is_permanent() => ErrorKind::Unsupported,
                _ => ErrorKind::Transport,
            }
        };
        if kind == ErrorKind::WrongProject {
            // The wire says no more than that the projects differ, so the cause has nothing to add.
            let theirs = match project {
                "" => "the peer belongs to a project, and this side to none".into(),
                ours => format!("the peer belongs to another project than {ours:?}"),
            };
            return Self::new(kind, format!("no connection to {peer}: {theirs}"));
        }
        if matches!(
            cause,
            CloseCause::ClosedByPeer {
                code: crate::Code::Unauthenticated,
                ..
            }
        ) {
            // The wire says no more, whatever it was.
            let why = "the peer did not accept this side's proof: it has another secret, or none was given here";
            return Self::new(kind, format!("no connection to {peer}: {why}"));
        }
        Self::with_source(kind, format_args!("no connection to {peer}"), cause)
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "the broker was cancelled")
    }

    /// The broker was cancelled, and why if that is known.
    pub(crate) fn cancelled_by(cause: Option<&Cause>) -> Self {
        Self {
            source: cause.map(|cause| Arc::new(cause.clone()) as Arc<_>),
            ..Self::cancelled()
        }
    }

    /// Whether another attempt to connect would end the same way.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self.kind, ErrorKind::Transport)
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl<E: fmt::Debug + Send + Sync + 'static> From<CallError<E>> for Error {
    fn from(error: CallError<E>) -> Self {
        Self {
            source: Some(Arc::new(error)),
            ..Self::new(ErrorKind::Call, "a call failed")
        }
    }
}

impl From<BadLimit> for Error {
    fn from(error: BadLimit) -> Self {
        Self::with_source(
            ErrorKind::InvalidInput,
            "the limits do not fit each other",
            error,
        )
    }
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        Self {
            source: Some(Arc::new(error)),
            ..Self::new(ErrorKind::Registry, "the registry refused")
        }
    }
}
