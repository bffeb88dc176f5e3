//! Structured concurrency, channels, codecs, transports and RPC for network programs that must
//! stay correct, on any runtime.
//!
//! A bowline is the knot that holds under load and always comes undone: every task, socket, call
//! and timer here is bound to a scope, holds while it is needed, and is always released. The same
//! program runs on tokio, smol or async-std, chosen by a feature or at run time, and inside a
//! deterministic simulator that replays any failure from its seed.
//!
//! Each module is one of Bowline's crates, whole: use the crates themselves to depend on less.
//! Nothing here is for public HTTP interfaces, and nothing promises that a call runs exactly once.
//! A program ends when its `main` returns: what is still running is cancelled then and waited for.
//!
//! # Examples
//!
//! ```
//! use bowline::rpc::{Caller, MemoryBroker, Registry, executor::AsyncExecutor};
//!
//! #[bowline::rpc]
//! async fn add(a: i64, b: i64) -> i64 {
//!     a + b
//! }
//!
//! #[bowline::main]
//! async fn main() -> Result<(), bowline::Error> {
//!     let registry = Registry::new("example");
//!     registry.register(add)?;
//!     assert_eq!(add(2, 3).await, 5); // here and now
//!
//!     let broker = MemoryBroker::new(AsyncExecutor::new(registry, 4));
//!     broker
//!         .run(async |broker| -> Result<(), bowline::Error> {
//!             assert_eq!(broker.call(add(2, 3)).await?, 5); // the same call, through a broker
//!             Ok(())
//!         })
//!         .await
//! }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tokio`, `smol` | `tokio` | these runtimes |
//! | `async-std` | | that runtime; discontinued by its authors in favour of smol |
//! | `sim` | | the simulator, as a backend and as the module `sim` |
//! | `ancillary` | | descriptors passed over Unix sockets |
//! | `base64`, `cbor`, `lz4`, `zlib` | | these parts of codecs |
//! | `tls` | | secure streams in `transport`, by rustls |
//! | `webpki-roots`, `native-roots` | | authorities that clients of `tls` may trust: Mozilla's, the system's |
//! | `tracing` | | tasks run in the span in which they were spawned; transports make spans, servers log |
//!
//! All may be on at once. With none a library builds, for it must not choose; a program stops
//! with one sentence that names them.

mod backends;
mod error;
#[cfg(doctest)]
mod guide;
pub mod prelude;
mod testing;

pub use bowline_backend as backend;
pub use bowline_channel as channel;
pub use bowline_codec as codec;
pub use bowline_concurrency as concurrency;
pub use bowline_rpc as rpc;
#[cfg(feature = "sim")]
pub use bowline_sim as sim;
pub use bowline_transport as transport;

pub use bowline_macros::{main, rpc, service, test};
pub use error::Error;

/// For the expansions of the attribute macros alone.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "sim")]
    pub use crate::testing::test_in_sim;
    pub use crate::testing::test_on;
}
