/// Somebody else has it now: a lock, a permit, a resource.
///
/// Trying again later can succeed; waiting instead of trying never gives this.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("busy: {action}")]
pub struct Busy {
    action: &'static str,
}

impl Busy {
    pub(super) const fn new(action: &'static str) -> Busy {
        Busy { action }
    }

    /// What was refused; for a [`ResourceGuard`](super::ResourceGuard), what the other one does.
    pub const fn action(&self) -> &'static str {
        self.action
    }
}
