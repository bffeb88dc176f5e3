use crate::ambient;
use crate::node::NodeRef;
use crate::task_id::TaskId;
use bowline_backend::Backend;
use bowline_backend::time::Instant;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Who cancelled a scope, why, where and when.
///
/// Recorded when the cancel happened, never guessed from the clock afterwards. The first cause
/// of a scope stays. Cloning it is one atomic increment.
#[derive(Clone)]
pub struct Cause {
    record: Arc<Record>,
}

struct Record {
    kind: CauseKind,
    reason: Cow<'static, str>,
    at: &'static Location<'static>,
    by: TaskId,
    when: Instant,
}

/// What led to a cancel.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CauseKind {
    /// Somebody called `cancel`.
    Explicit,
    /// A deadline passed.
    Deadline,
    /// Another child of the same group failed; [`Cause::by`] names it.
    SiblingFailed,
    /// The body of the group failed.
    HostFailed,
    /// A policy had enough results.
    Satisfied,
    /// Foreign code dropped the owner.
    Dropped,
    /// The program is shutting down.
    Shutdown,
}

impl Cause {
    pub(crate) fn new(
        kind: CauseKind,
        reason: Cow<'static, str>,
        at: &'static Location<'static>,
        by: TaskId,
        when: Instant,
    ) -> Cause {
        Cause {
            record: Arc::new(Record {
                kind,
                reason,
                at,
                by,
                when,
            }),
        }
    }

    /// A cause made now by the code that runs now.
    pub(crate) fn here(
        kind: CauseKind,
        reason: Cow<'static, str>,
        at: &'static Location<'static>,
        node: &NodeRef,
    ) -> Cause {
        Cause::new(kind, reason, at, ambient::task_id(), clock_of(node))
    }

    pub(crate) fn deadline(node: &NodeRef, now: Instant) -> Cause {
        let reason = Cow::Borrowed("");
        let by = ambient::task_id();
        Cause::new(CauseKind::Deadline, reason, node.location, by, now)
    }

    /// Whether both tell of the same cancel.
    pub(crate) fn is(&self, other: &Cause) -> bool {
        Arc::ptr_eq(&self.record, &other.record)
    }

    /// What led to the cancel.
    pub fn kind(&self) -> CauseKind {
        self.record.kind
    }

    /// The words given to `cancel`, or the name of the child that failed; may be empty.
    pub fn reason(&self) -> &str {
        &self.record.reason
    }

    /// The line that cancelled, or that opened what was cancelled where no line did.
    pub fn at(&self) -> &'static Location<'static> {
        self.record.at
    }

    /// The task that cancelled, or, for [`CauseKind::SiblingFailed`], that failed.
    pub fn by(&self) -> TaskId {
        self.record.by
    }

    /// When the cancel happened, by the clock of the backend the scope runs on.
    pub fn when(&self) -> Instant {
        self.record.when
    }
}

/// The time for a cancel of `node`, which may be called where its backend does not run.
pub(crate) fn clock_of(node: &NodeRef) -> Instant {
    node.backend()
        .or_else(ambient::backend_if_any)
        .and_then(Backend::try_now)
        .unwrap_or(Instant::from_nanos(0))
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = &*self.record;
        let what = match record.kind {
            CauseKind::Explicit => "cancelled",
            CauseKind::Deadline => "deadline passed",
            CauseKind::SiblingFailed => "a sibling failed",
            CauseKind::HostFailed => "the group's body failed",
            CauseKind::Satisfied => "enough results",
            CauseKind::Dropped => "dropped",
            CauseKind::Shutdown => "shutdown",
        };
        f.write_str(what)?;
        if !record.reason.is_empty() {
            write!(f, " \"{}\"", record.reason)?;
        }
        if !record.by.is_outside() {
            write!(f, " by {}", record.by)?;
        }
        write!(f, " at {}", record.at)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cause")
            .field("kind", &self.record.kind)
            .field("reason", &self.record.reason)
            .field("at", &format_args!("{}", self.record.at))
            .field("by", &self.record.by)
            .field("when", &self.record.when)
            .finish()
    }
}

impl std::error::Error for Cause {}
