//! Executors of child processes: a program of its own, as it is its own worker.

#![cfg_attr(not(unix), allow(unused))]

#[cfg(unix)]
#[path = "process_pool/apart.rs"]
mod apart;
#[cfg(unix)]
#[path = "process_pool/asking.rs"]
mod asking;
#[cfg(unix)]
#[path = "process_pool/cases.rs"]
mod cases;
#[cfg(unix)]
#[path = "process_pool/deaths.rs"]
mod deaths;
#[cfg(unix)]
#[path = "process_pool/ends.rs"]
mod ends;
#[cfg(unix)]
#[path = "process_pool/methods.rs"]
mod methods;
#[cfg(unix)]
#[path = "process_pool/nested.rs"]
mod nested;
#[cfg(unix)]
#[path = "process_pool/passed_on.rs"]
mod passed_on;
#[cfg(unix)]
#[path = "process_pool/rules.rs"]
mod rules;
#[cfg(unix)]
#[path = "process_pool/starts.rs"]
mod starts;

#[cfg(unix)]
fn main() {
    starts::forget_the_entry();
    bowline_rpc::worker_entry(&[
        ("pool", methods::registry),
        ("other", methods::other_registry),
    ]);
    ends::be_killed();
    cases::run();
}

#[cfg(not(unix))]
fn main() {}
