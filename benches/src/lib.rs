//! What the benchmarks of Bowline share: counting allocations, taking the time, medians, servers in
//! processes of their own, and descriptors for their connections.

pub mod allocations;
pub mod certificates;
pub mod cpus;
pub mod descriptors;
pub mod rounds;
pub mod server_process;
