//! Waiting for the first of several operations.

mod arm;
mod arms;
mod dynamic;
mod macros;
mod order;
mod race;

pub use dynamic::{ReadyFuture, Select, Selected};

/// What the macros expand to; not for use by hand.
#[doc(hidden)]
pub mod expansion {
    pub use super::arm::{FutureArm, IntoFutureArm, RecvArm, SendArm};
    pub use super::arms::{Chain, Nil};
    pub use super::race::{Once, Pick, Race, block_on, nobody};
}
