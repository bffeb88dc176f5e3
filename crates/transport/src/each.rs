//! Why serving message by message cannot go on.

use crate::error::Error;

/// The error of a handler that is a closure for each message, of a connection or of a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EachError<E> {
    #[error("{0}")]
    Recv(Error),
    #[error("{0}")]
    Handler(E),
}
