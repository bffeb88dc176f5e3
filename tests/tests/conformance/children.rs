//! Tests that start processes: each in a process of its own, started while no other test runs.
//!
//! Between its fork and its own program a child has every descriptor of its parent, so a listener
//! that another test drops meanwhile goes on listening.

use std::env;
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Read by each test while it runs, written while a child starts.
static STARTING: RwLock<()> = RwLock::new(());

/// No child starts before the guard is dropped.
pub(crate) fn none_starts() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the test `name` in a process where it is alone and tells whether this is that process;
/// elsewhere the test has passed there.
pub(crate) fn is_alone(name: &str) -> bool {
    const ALONE: &str = "BOWLINE_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "yes")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    // Comes back when the child runs its own program.
    let child = command.spawn().unwrap();
    drop(starting);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("1 passed"), "{said}");
    false
}
