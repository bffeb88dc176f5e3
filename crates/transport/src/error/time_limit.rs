//! Which limit of time it was that passed.

use std::time::Duration;

/// What did not come about, and within which time it should have: the source of an error.
#[derive(Debug, thiserror::Error)]
#[error("{what} within {limit:?}")]
pub(crate) struct TimeLimit {
    what: &'static str,
    limit: Duration,
}

impl TimeLimit {
    pub(crate) fn new(what: &'static str, limit: Duration) -> Self {
        TimeLimit { what, limit }
    }
}
