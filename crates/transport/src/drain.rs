//! What became of those whom a server found when it ended.

use bowline_concurrency::CancelHandle;

/// What became of those whom a drain found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// They came to their end within the timeout.
    pub finished: usize,
    /// They were cancelled, and ended within the grace.
    pub cancelled: usize,
    /// They were cancelled and had to be dropped.
    pub aborted: usize,
    /// They were in a handshake, or had not begun, and were dropped at once.
    pub handshaking: usize,
}

impl DrainReport {
    /// One more, who was at work when it ended: whether its scope was cancelled, and whether its body
    /// then came to its end.
    pub(crate) fn count(&mut self, cut: Cut) {
        *match cut {
            Cut::Never => &mut self.finished,
            Cut::Returned => &mut self.cancelled,
            Cut::Dropped => &mut self.aborted,
        } += 1;
    }
}

/// Whether somebody who ended was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Never,
    /// It was cancelled, and came to its end.
    Returned,
    /// It was cancelled, and dropped.
    Dropped,
}

impl Cut {
    /// Of one that ran in `scope`.
    pub(crate) fn of(scope: &CancelHandle, returned: Returned) -> Cut {
        match (scope.cancel_called(), returned) {
            (false, _) => Cut::Never,
            (true, Returned::Yes) => Cut::Returned,
            (true, Returned::No) => Cut::Dropped,
        }
    }
}

/// Whether a body came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    Yes,
    No,
}
