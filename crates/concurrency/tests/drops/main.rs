//! Every future of the crate, dropped at each of its awaits in turn: nothing is lost (I2).
//!
//! Each case waits, is granted what it waits for, and uses it, with an await in between; so it is
//! dropped while it waits, when it was granted and has not run since, and while it holds.

#[path = "../suite/alive.rs"]
mod alive;

mod branches;
mod portals;
mod primitives;
mod regions;
mod tasks;
