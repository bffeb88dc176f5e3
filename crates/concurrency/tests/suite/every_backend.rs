//! One test per backend, on one thread and on several, from one case.

use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads};
use bowline_concurrency::Root;
use std::num::NonZeroUsize;

/// Runs a case on a fresh root for each thread count that the backend has.
pub(crate) fn run(backend: Backend, case: fn(Root)) {
    case(root(backend, Threads::One));
    if backend.capabilities().multi_thread {
        let four = NonZeroUsize::new(4).expect("four is not zero");
        case(root(backend, Threads::Fixed(four)));
    }
}

pub(crate) fn root(backend: Backend, threads: Threads) -> Root {
    let options = RunOptions::default().threads(threads);
    Root::new().backend(backend).options(options)
}

/// `every_backend!(case, ...)`: `tokio::case`, `smol::case`, `async_std::case`, `sim::case`. What
/// stands behind `real:` blocks threads, of which a simulated world has one.
macro_rules! every_backend {
    (real: $($real:ident),* $(,)?) => {
        every_backend!(; real: $($real),*);
    };
    ($($case:ident),* $(,)?; real: $($real:ident),* $(,)?) => {
        every_backend!(@one tokio Tokio $($case)* $($real)*);
        every_backend!(@one smol Smol $($case)* $($real)*);
        every_backend!(@one async_std AsyncStd $($case)* $($real)*);
        every_backend!(@one sim Sim $($case)*);
    };
    ($($case:ident),* $(,)?) => {
        every_backend!(@one tokio Tokio $($case)*);
        every_backend!(@one smol Smol $($case)*);
        every_backend!(@one async_std AsyncStd $($case)*);
        every_backend!(@one sim Sim $($case)*);
    };
    (@one $module:ident $backend:ident $($case:ident)*) => {
        mod $module {
            $(#[test]
            fn $case() {
                crate::every_backend::run(bowline_backend::Backend::$backend, super::$case);
            })*
        }
    };
}
pub(crate) use every_backend;
