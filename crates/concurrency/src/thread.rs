//! Work that blocks, on threads of its own; and the way back from there.

mod call;
mod context;
mod guest;
mod run;

pub(crate) use context::place;
pub use context::{ThreadContext, ThreadError};
pub use run::{RunInThread, run_in_thread};
