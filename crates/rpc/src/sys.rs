//! What a broker tells of itself: methods that every broker with an executor answers, by name and to
//! whoever may know.
//!
//! | method | answers |
//! |---|---|
//! | `sys.reflect` | [`Reflection`]: the methods, with their options |
//! | `sys.health` | [`HealthStatus`]: whether it takes calls |
//! | `sys.stats` | [`BrokerStats`]: what it counted, of methods and of connections |
//! | `sys.tasks` | [`RunningCall`]s: which handlers have begun to wait, since when, and for what |
//! | `sys.drain` | nothing: it takes no new calls and ends those it has |
//!
//! In the process itself the brokers have methods of these names. Elsewhere they are called as any other
//! method, as the values of this module or by name; MessagePack and JSON carry the names of fields. The
//! registry does not list them, and their calls are not counted and take no place of the executor, so
//! that one which has no place left answers too.
//!
//! # Who may call them
//! Peers that proved who they are, by a secret, may call all of them but `sys.drain`; others may call
//! none. [`allow`](crate::TcpBrokerBuilder::allow) with a pattern that begins with `sys.` changes that for
//! the methods it names: from then on those alone whom such a rule names may call them. So
//! `allow("ops", "sys.drain", Right::Call)` makes the holder of the key `ops` one who may end the broker. Rules
//! for other patterns do not count here, `*` included, and these rules do not count for other methods.
//!
//! Whom such a rule names is told of every method. Who may call them without one is told of the methods that
//! it may call, and of no others; the connections in [`BrokerStats`] are those of all peers.
//!
//! # Examples
//! ```
//! use bowline_backend::Backend;
//! use bowline_rpc::executor::AsyncExecutor;
//! use bowline_rpc::{Caller, Error, Registry, Secret, TcpBroker, sys};
//!
//! let registry = Registry::new("example");
//! registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
//! let secret = Secret::generate();
//! let server = TcpBroker::builder(AsyncExecutor::new(registry, 4))
//!     .secret(secret.clone())
//!     .listen("127.0.0.1:0");
//! Backend::Tokio.block_on(server.run(async |server| -> Result<(), Error> {
//!     let client = TcpBroker::caller().project("example").secret(secret);
//!     client.connect(server.local_addrs()[0]).run(async |client| -> Result<(), Error> {
//!         client.call_named::<i64>("add", (2, 3)).await?;
//!         let stats = client.call(sys::Stats).await?;
//!         assert_eq!((&*stats.methods[0].method, stats.methods[0].calls), ("add", 1));
//!         let health: String = client.call_named("sys.health", ()).await?;
//!         assert_eq!(health, "Serving");
//!         assert_eq!(server.health(), sys::HealthStatus::Serving);
//!         Ok(())
//!     }).await
//! }))?;
//! # Ok::<(), Error>(())
//! ```

mod answers;
mod calls;
mod replies;

pub use calls::{Drain, Health, OfBrokers, Reflect, Stats, Tasks};
pub use replies::{
    BrokerStats, ConnectionStats, ExecutorStats, Failures, HealthStatus, Latencies,
    MethodReflection, MethodStats, Reflection, RunningCall, RunningTask,
};

pub(crate) use answers::{Inspected, Reserved, micros, reflection, tasks};
