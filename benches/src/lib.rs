//! What the benchmarks of Bowline share: counting allocations and medians.

pub mod allocations;
pub mod rounds;
