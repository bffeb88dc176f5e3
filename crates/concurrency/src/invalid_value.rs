use std::ops::RangeInclusive;

/// A count outside of what is allowed; nothing was begun or changed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{what} is {given}, allowed is {least} to {most}")]
pub struct InvalidValue {
    what: &'static str,
    given: u64,
    least: u64,
    most: u64,
}

impl InvalidValue {
    pub(crate) const fn new(what: &'static str, given: usize, least: usize, most: usize) -> Self {
        InvalidValue {
            what,
            given: given as u64,
            least: least as u64,
            most: most as u64,
        }
    }

    /// What the value is for.
    pub const fn what(&self) -> &'static str {
        self.what
    }

    /// The value that was given.
    pub const fn given(&self) -> u64 {
        self.given
    }

    /// The values that are allowed.
    pub const fn allowed(&self) -> RangeInclusive<u64> {
        self.least..=self.most
    }
}
