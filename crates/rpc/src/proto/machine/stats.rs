/// What a machine counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Frames of the peer for calls that were over.
    pub late_frames: u64,
    /// Frames of a type not known here, skipped.
    pub unknown_frames: u64,
    /// Calls the peer opened after it was told that we leave.
    pub refused_calls: u64,
    /// Notifications dropped, because what they ask for cannot be done here.
    pub dropped_notifications: u64,
}
