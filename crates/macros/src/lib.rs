//! Attribute macros of Bowline: `main`, `test`, `rpc` and `service`.
//!
//! Use them through the `bowline` facade, whose paths their expansions name: `#[bowline::main]`
//! makes a program of an async function, `#[bowline::test]` makes one test per backend of the
//! build, `#[bowline::rpc]` makes a function whose call is a value. The option `crate = path`
//! names the facade where it is re-exported under another path.
//!
//! This crate knows neither runtimes nor features. Which backends exist is asked of the facade,
//! through declarative macros that expand differently with its features; so a program that turns
//! on none stops with one sentence that names them all.
//!
//! The examples run where the facade re-exports the macros; in short:
//!
//! ```text
//! #[bowline::main]
//! async fn main() -> Result<(), bowline::Error> { .. }
//!
//! #[bowline::test(seeds = 200)]
//! async fn holds_on_every_backend() { .. }
//! ```

use proc_macro::TokenStream;

mod entry;
mod options;
mod rpc;
mod service;
mod tests;

/// Makes the program's `main` of an async function: `Root::new().block_on(..)` on
/// `Backend::default()`.
///
/// The function takes no arguments and may return anything `main` may. When it returns, every
/// task it left behind has been cancelled and has ended.
///
/// | option | meaning |
/// |---|---|
/// | `backend = "smol"` | this backend instead of the default one; a build without it is refused |
/// | `workers(pool = build_registry)` | `rpc::worker_entry` is the first statement: in a child process of the pool it serves the registry which the function builds |
/// | `crate = path` | where the facade is, if not at `::bowline` |
#[proc_macro_attribute]
pub fn main(attribute: TokenStream, item: TokenStream) -> TokenStream {
    entry::expand(attribute.into(), item.into()).into()
}

/// Makes one test per backend of the build of an async function, each in a root of its own.
///
/// `async fn name()` becomes the tests `name::tokio`, `name::smol`, `name::async_std` and
/// `name::sim`, as far as the facade's features turn them on. The function may return anything a
/// test may; `#[should_panic]`, `#[ignore]` and `#[cfg]` apply to every one of the tests.
///
/// | option | meaning |
/// |---|---|
/// | `tokio`, `smol`, `async_std`, `sim` | only these backends |
/// | `seed = 7` | the one seed of the simulated world (default 0) |
/// | `seeds = 200` | a world for each of the seeds 0 to 199; a `sometimes!` that was true in none fails it |
/// | `crate = path` | where the facade is, if not at `::bowline` |
///
/// A failure in the simulator prints the line that runs its seed alone: `BOWLINE_SIM_SEED=.. cargo test ..`.
#[proc_macro_attribute]
pub fn test(attribute: TokenStream, item: TokenStream) -> TokenStream {
    tests::expand(attribute.into(), item.into()).into()
}

/// Makes a function whose call is a value: awaited it runs here, given to a broker it runs
/// wherever the broker finds an executor.
///
/// The arguments, at most twelve, and the reply are owned values that serde can carry. An `async fn` is
/// polled; a function without `async` holds its thread, and runs where blocking work does. The first
/// parameter may be the `Context` of the call, and the last one `Incoming<T>`, the items of its caller;
/// neither is an argument. What returns `impl Stream` or `Outgoing` sends items. `#[rpc(default)]` above a
/// parameter lets calls by name leave it out.
///
/// | option | meaning |
/// |---|---|
/// | `name = "shop.order"` | what the method is called, 1 to 200 bytes; without it the registry's project comes first, then the module, then the function |
/// | `idempotent` | twice is as good as once: a call that may have run is made again where it failed in a way that passes |
/// | `timeout = "5s"` | no call lasts longer, whatever its caller allows; the units are `ms`, `s`, `m`, `h` |
/// | `concurrency = 2` | so many run at once in one executor |
/// | `no_cancel` | runs to its end though its caller is gone |
/// | `blocking` | says what the missing `async` says already |
/// | `strict_schema` | a typed call with other types as written is refused with `WrongSchema` |
/// | `max_args = 1024`, `max_reply = 1024` | the longest encoded arguments and reply, in bytes; longer ones are `TooLarge` |
/// | `crate = path` | where the facade is, if not at `::bowline` |
///
/// ```text
/// #[bowline::rpc(idempotent, timeout = "5s")]
/// async fn order(context: Context, item: String, #[rpc(default)] count: u32) -> Result<u64, OrderError> { .. }
///
/// registry.register(order)?;
/// let number = broker.call(order("beans".into(), 2)).await?;
/// ```
///
/// The page "Methods and services" of the guide has whole programs.
#[proc_macro_attribute]
pub fn rpc(attribute: TokenStream, item: TokenStream) -> TokenStream {
    rpc::expand(attribute.into(), item.into()).into()
}

/// Makes a service of a trait: a client with the trait's methods, and what registers one who
/// implements it.
///
/// For `trait Math` these are `MathClient`, each of whose methods makes a call through its broker,
/// and `math_service(..)`, whose methods a registry takes by `register_all`. The methods are `async`,
/// take `&self`, and otherwise what [`macro@rpc`] takes, with the same options in `#[rpc(..)]` above
/// them. What implements the trait is `Send`, `Sync` and `'static`, and writes `async fn`. No method is called
/// `new`, `clone`, `into` or `try_into`, which the client has for itself: with `#[rpc(name = "new")]` above it
/// a method of another name is `new` for peers.
///
/// | option | meaning |
/// |---|---|
/// | `name = "math"` | the methods are called `math.add` and so on; without it the registry's project comes first, and then the trait in small letters |
/// | `crate = path` | where the facade is, if not at `::bowline` |
///
/// ```text
/// #[bowline::service(name = "math")]
/// pub trait Math {
///     #[rpc(idempotent)]
///     async fn add(&self, a: i64, b: i64) -> i64;
/// }
///
/// impl Math for Here {
///     async fn add(&self, a: i64, b: i64) -> i64 { a + b }
/// }
///
/// registry.register_all(math_service(Here))?;
/// let sum = MathClient::new(broker).add(2, 3).await?;
/// ```
///
/// The page "Methods and services" of the guide has whole programs.
#[proc_macro_attribute]
pub fn service(attribute: TokenStream, item: TokenStream) -> TokenStream {
    service::expand(attribute.into(), item.into()).into()
}
