use crate::cause::Cause;
use crate::panic::Panic;

/// Why a call through a portal gave no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortalError {
    /// The portal takes no calls any more. The closure was not called.
    #[error("the portal is closed")]
    Closed,
    /// The thread runs tasks of the portal's own root, or is that of a simulated world: it would
    /// wait for itself. The closure was not called.
    #[error("this thread runs the tasks of the portal and would wait for itself for ever")]
    WouldDeadlock,
    /// The call was cancelled, or everything behind the portal was.
    #[error("the call was cancelled: {0}")]
    Cancelled(Cause),
    /// It panicked. The portal goes on.
    #[error("the call {0}")]
    Panicked(Panic),
}

/// Why a task behind a portal did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortalStartError<E> {
    /// It returned this error first.
    #[error("the task failed before it had started: {0}")]
    Failed(E),
    /// It returned without having said that it had started.
    #[error("the task ended before it had started")]
    ExitedEarly,
    /// The portal did not take it, or it panicked or was cancelled first.
    #[error(transparent)]
    Portal(PortalError),
}
