//! How far the sending side of a secure stream has come, and the failure that it ends with.

use std::io;
use std::sync::Arc;

use crate::error::Error;

/// How far the sending side has come; only ever downwards.
#[derive(Clone)]
pub(super) enum Phase {
    Open,
    /// Nothing more is taken; the side below ends once all is written.
    Ending,
    Ended,
    Failed(Arc<io::Error>),
    /// The writing half is gone.
    Released,
}

impl Phase {
    /// Only downwards.
    pub(super) fn becomes(&mut self, next: Phase) {
        if matches!(self, Phase::Open | Phase::Ending) {
            *self = next;
        }
    }
}

/// The same failure for whoever asks next.
pub(super) fn again(error: &Arc<io::Error>) -> io::Error {
    match (error.raw_os_error(), Error::inside(error)) {
        (Some(code), _) => io::Error::from_raw_os_error(code),
        (None, Some(inside)) => io::Error::new(error.kind(), inside.clone()),
        (None, None) => io::Error::new(error.kind(), error.clone()),
    }
}
