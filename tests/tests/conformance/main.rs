//! One suite, every backend: what `bowline-backend` promises, run on tokio and smol with one
//! thread and several, on async-std and in the simulator.

#[cfg(unix)]
mod anywhere;
mod blocking;
mod children;
mod context;
#[cfg(target_os = "linux")]
mod credentials;
mod datagrams;
#[cfg(unix)]
mod descriptors_in_datagrams;
#[cfg(unix)]
mod descriptors_passed;
mod kinds;
mod listeners;
mod names;
mod own_address;
#[cfg(unix)]
mod raw_sockets;
mod reality;
#[cfg(unix)]
mod reality_cases;
mod reality_hosts;
mod shutdown;
mod signals;
mod stream_drops;
mod stream_errors;
mod stream_options;
mod stream_wakes;
mod streams;
mod tasks;
mod time;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod unix_connects;
#[cfg(unix)]
mod unix_datagrams;
#[cfg(unix)]
mod unix_paths;

/// Makes each case, a `fn(Backend, RunOptions)`, one test per backend and thread count. What a
/// group leaves out is waived by `Capabilities`: `real` by `virtual_time`, `dropping` by
/// `drops_tasks_on_exit`, `real_dropping` by both.
macro_rules! conformance {
    (all: [$($all:ident),* $(,)?] real: [$($real:ident),* $(,)?]
     dropping: [$($dropping:ident),* $(,)?] real_dropping: [$($both:ident),* $(,)?]) => {
        conformance!(@on tokio_one Tokio One [$($all)* $($real)* $($dropping)* $($both)*]);
        conformance!(@on tokio_many Tokio Auto [$($all)* $($real)* $($dropping)* $($both)*]);
        conformance!(@on smol_one Smol One [$($all)* $($real)* $($dropping)* $($both)*]);
        conformance!(@on smol_many Smol Auto [$($all)* $($real)* $($dropping)* $($both)*]);
        conformance!(@on async_std AsyncStd Auto [$($all)* $($real)*]);
        conformance!(@on sim Sim One [$($all)* $($dropping)*]);
    };
    (@on $module:ident $backend:ident $threads:ident [$($case:ident)*]) => {
        mod $module {
            $(#[test]
            fn $case() {
                let _none = crate::children::none_starts();
                let options = bowline_backend::task::RunOptions::default()
                    .threads(bowline_backend::task::Threads::$threads);
                super::$case(bowline_backend::Backend::$backend, options);
            })*
        }
    };
}
pub(crate) use conformance;

/// The text of a panic.
fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().expect("a panic with a text")).to_owned(),
    }
}
