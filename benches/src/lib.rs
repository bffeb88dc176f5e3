//! What the benchmarks of Bowline share: counting allocations, taking the time, medians, and
//! servers in processes of their own.

pub mod allocations;
pub mod certificates;
pub mod cpus;
pub mod rounds;
pub mod server_process;
