//! Client and server each on a CPU of its own: left to the scheduler they share one in some rounds and
//! not in others, which changes every number by a factor of two to three.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this process on one CPU; the answer is the one for its peer, the same if there is only one.
///
/// # Panics
///
/// Where the system does not say where the process may run, or refuses.
pub fn take_one_of_two() -> usize {
    let allowed = sched_getaffinity(None).expect("a process may ask where it runs");
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let ours = cpus.next().expect("it runs somewhere");
    stay_on(ours);
    cpus.next().unwrap_or(ours)
}

/// The CPU this process stays on, or one it may run on.
///
/// # Panics
///
/// Where the system does not say where the process may run.
pub fn own() -> usize {
    let allowed = sched_getaffinity(None).expect("a process may ask where it runs");
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    cpus.next().expect("it runs somewhere")
}

/// Keeps this process on `cpu`.
///
/// # Panics
///
/// Where the process may not run there.
pub fn stay_on(cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).expect("a process may narrow where it runs");
}
