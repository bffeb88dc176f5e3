//! What executors do with the jobs that brokers give them.

#[path = "../suite/backends.rs"]
#[allow(dead_code)] // As much as these tests need.
mod backends;
#[path = "../suite/goes_on.rs"]
mod goes_on;
#[path = "../suite/held.rs"]
mod held;
#[path = "../suite/made.rs"]
mod made;

mod attachments;
mod budgets;
mod bursts;
mod method_limits;
mod nested_calls;
mod panicking_values;
mod rules;
mod shutdown;
mod thread_pool;
