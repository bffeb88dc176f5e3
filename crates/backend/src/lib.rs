//! The ambient runtime: time, tasks, blocking work, entropy and sockets over tokio, async-std,
//! smol or the deterministic simulator.
//!
//! [`Backend`] is a small value that names a runtime. It is ambient: [`Backend::current`] is the
//! one running on this thread, and everything here that sleeps, spawns or opens a socket uses it,
//! so signatures stay plain and code written once runs on every runtime. Which runtimes exist is
//! chosen by features, all of which may be on at once.
//!
//! This crate is thin on purpose. It knows no cancellation, no join handles, no timeouts and no
//! locks: runtimes differ exactly there, so `bowline-concurrency` builds them once, above it.
//! A program usually enters through `bowline`; use this crate alone to write a library that must
//! not choose a runtime.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "smol")]
//! # {
//! use bowline_backend::{Backend, blocking, time};
//! use std::time::Duration;
//!
//! let sum = Backend::Smol.block_on(async {
//!     let start = time::now();
//!     time::sleep_until(start + Duration::from_millis(5)).await;
//!     assert!(time::now() >= start + Duration::from_millis(5));
//!     blocking::spawn_blocking(|| 2 + 3).await.unwrap()
//! });
//! assert_eq!(sum, 5);
//! # }
//! ```
//!
//! # Features
//!
//! `tokio`, `smol`, `async-std`, `sim`: one backend each; none is on by default. With none, this
//! crate and all above it build, and a program that enters a backend does not. `ancillary` adds
//! descriptors passed over Unix sockets.

#![cfg_attr(
    not(any(feature = "tokio", feature = "smol", feature = "async-std")),
    allow(
        dead_code,
        unused_imports,
        unused_variables,
        unreachable_code,
        clippy::never_loop,
        reason = "without a real backend some types have no values, so what follows is not reached"
    )
)]

#[macro_use]
mod dispatch;
mod backend;
mod capabilities;
mod current;
mod runtime;

pub mod accept_error;
pub mod blocking;
pub mod entropy;
pub mod net;
pub mod signal;
pub mod stream;
pub mod task;
pub mod time;

#[cfg(any(feature = "smol", feature = "async-std"))]
mod async_io_socket;
#[cfg(feature = "async-std")]
mod async_std;
#[cfg(feature = "real")]
mod running;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "smol")]
mod smol;
#[cfg(feature = "real")]
mod socket;
#[cfg(feature = "real")]
mod system;
#[cfg(feature = "tokio")]
mod tokio;

pub use backend::{Backend, NoBackend, UnknownBackend};
pub use capabilities::Capabilities;
pub use current::Attached;
