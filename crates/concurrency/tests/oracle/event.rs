//! What a run shows.

use super::program::{Id, Ms};
use std::collections::BTreeSet;
use std::fmt;

/// What happened when; events of one moment are in no order.
pub(crate) type Log = Vec<(Ms, Event)>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A body was polled for the first time.
    Begins(Id),
    /// A body that had begun was dropped before its end.
    Dropped(Id),
    Says(Id, bool, Due),
    Notices(Id, Cause),
    /// A scope returned that its body has ended.
    Done(Id),
    /// A scope returned that it was cancelled.
    Cancelled(Id, Cause),
    GroupDone(Id),
    GroupFailed(Id, Option<Id>, BTreeSet<Id>, Option<Cause>),
    /// A finaliser began, and ended; over the bound it is dropped.
    Cleans(Id, Cause),
    Cleaned(Id),
    CrewDone(Id),
    CrewFailed(Id, Option<Id>, BTreeSet<Id>, Option<Cause>),
    /// A call was, or was not, the first to cancel.
    Acts(Id, bool),
    Refused(Id),
    /// The main body has ended.
    Returns,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Never,
    At(Ms),
    Cancelled,
}

/// Kind, reason and time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cause(pub(crate) String, pub(crate) String, pub(crate) Ms);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) log: Log,
    pub(crate) shields_dropped: usize,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} shields dropped", self.shields_dropped)?;
        for (at, event) in &self.log {
            writeln!(f, "{at:>8} ms {event:?}")?;
        }
        Ok(())
    }
}
