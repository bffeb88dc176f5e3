//! What the conformance suites and the cross-crate scenarios of Bowline share.

pub mod latch;
pub mod scenarios;
pub mod temp_dir;
