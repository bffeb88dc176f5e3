//! Random scripts of socket operations, run on the kernel's loopback and in worlds: every outcome
//! that the kernel shows some world shows, and what worlds show the kernel shows or the reality
//! table allows.
//!
//! The same compiled runner does both, over the types of `bowline-backend`. Steps of a script take
//! turns, each beginning when all that the one before sent has arrived ([`quiet`](self) says how
//! that is known), so what a script does is determined but for the steps that are two operations at
//! once, and there is nothing to be flaky.

mod check;
mod ends;
mod generate;
mod liberties;
mod names;
mod outcome;
mod quiet;
mod run;
mod script;
mod shrink;

pub use check::{Divergence, SeedsError, Tally, check, check_seeds};
pub use generate::generate;
pub use outcome::Outcome;
pub use script::{Beside, Op, Place, Script, Slot, Step, With};
