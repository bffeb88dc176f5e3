//! What the conformance suites and the cross-crate scenarios of Bowline share.

#[cfg(unix)]
pub mod files;
pub mod latch;
pub mod scenarios;
pub mod temp_dir;
