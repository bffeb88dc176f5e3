//! Channels under a runtime: dropped and cancelled operations, contention, and programs ported from
//! elsewhere.

mod contention;
mod drops;
mod go_suite;
mod programs;

use std::future::Future;

/// Runs a program on one thread.
fn run<R>(program: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(program)
}

/// Starts a task that the program does not wait for.
fn go(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}
