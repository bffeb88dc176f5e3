//! What the benchmarks of Bowline share: counting allocations, taking the time, medians.

pub mod allocations;
pub mod rounds;
