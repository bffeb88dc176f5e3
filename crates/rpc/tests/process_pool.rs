//! Executors of child processes: a program of its own, as it is its own worker.

#![cfg_attr(not(unix), allow(unused))]

#[cfg(unix)]
#[path = "process_pool/cases.rs"]
mod cases;

#[cfg(unix)]
fn main() {
    bowline_rpc::worker_entry(&[("pool", cases::registry), ("other", cases::other_registry)]);
    cases::run();
}

#[cfg(not(unix))]
fn main() {}
