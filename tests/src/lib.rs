//! What the conformance suites and the cross-crate scenarios of Bowline share.

#[cfg(target_os = "linux")]
pub mod differential;
#[cfg(unix)]
pub mod files;
pub mod latch;
pub mod messages;
pub mod reality;
pub mod scenarios;
#[cfg(target_os = "linux")]
pub mod system_calls;
pub mod temp_dir;
