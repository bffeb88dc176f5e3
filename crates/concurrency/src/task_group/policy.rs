/// What the end of one child means for the others and for the group.
///
/// A body that fails cancels the children, unless the policy is `CollectAll`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// The first error cancels the rest, and the group fails with all errors there are then.
    #[default]
    FailFast,
    /// An error cancels nothing; the group fails with all errors once all have ended.
    CollectAll,
    /// An error neither cancels nor fails the group. It shows in the child's handle and is
    /// counted in [`GroupStatistics`](crate::GroupStatistics).
    Isolate,
    /// So many children that return well are enough: the last of them cancels the other
    /// children, not the body, and the group ends well with what the body returns. Zero are
    /// enough once the body has ended.
    ///
    /// The group fails as soon as the body has ended and so many children have failed that the
    /// rest is too few; the rest is cancelled then. Children that could still be spawned by
    /// others are not counted on. If too few were spawned to begin with,
    /// [`GroupError::invalid`](crate::GroupError::invalid) says so.
    Quorum(usize),
}

/// What a group does with a panic of a child.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// Under every [`Policy`] it cancels the body and the siblings; when they have ended the
    /// first panic goes on in the body's task.
    #[default]
    Resume,
    /// It becomes a [`ChildError`](crate::ChildError) and means what the [`Policy`] says of an
    /// error.
    Collect,
}
