//! Remote procedure calls: a registry of methods, executors that run them, brokers that carry
//! the calls.
//!
//! A [`Registry`] maps names to methods, an [`executor`] runs their handlers, a broker carries
//! calls between callers and executors. The same program runs inside one process
//! ([`MemoryBroker`]) or over TCP ([`TcpBroker`]) by changing one line. Every call has exactly one
//! outcome, and an outcome that is an error says how far the call got: [`Certainty`].
//!
//! Not for public HTTP interfaces, and not for exactly-once processing.
//!
//! # How it ends
//! `run(body)` of a broker owns every task of it and ends them before it returns; `start(&group)`
//! puts them into a group of the caller. There is no other way to start one.
//!
//! # Example
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bowline_backend::Backend;
//! use bowline_rpc::{Caller, Error, MemoryBroker, Registry, executor::AsyncExecutor};
//!
//! let registry = Registry::new("example");
//! registry.register_blocking("mul", |(a, b, c): (i64, i64, i64)| a * b * c)?;
//!
//! let product = Backend::Tokio.block_on(async {
//!     MemoryBroker::new(AsyncExecutor::new(registry, 4))
//!         .run(async |broker| -> Result<i64, Error> {
//!             Ok(broker.call_named::<i64>("mul", (1, 2, 3)).await?)
//!         })
//!         .await
//! })?;
//! assert_eq!(product, 6);
//! # Ok(())
//! # }
//! ```

mod access;
mod ambient;
mod broadcast;
mod broker;
mod brokers;
mod call;
mod caller;
mod codec;
mod connection;
mod context;
mod dedupe;
mod dyn_broker;
mod error;
pub mod executor;
mod failure;
mod lifetime;
mod limits;
mod local_answer;
mod memory_broker;
mod meter;
mod method;
mod method_table;
mod name;
mod named;
mod offers;
pub mod proto;
mod registry;
mod retry;
mod schema;
mod secret;
mod small_bodies;
mod span;
mod stream;
pub mod sys;
mod tcp_broker;
pub mod test;
mod trace;

pub use access::Right;
pub use broadcast::{Addressed, Broadcast, ToAll};
pub use broker::{
    Broker, CallOptions, CallType, CloseCause, DrainReport, OutCall, Reply, UnknownMethod,
};
pub use brokers::current_broker;
pub use call::{BadArguments, BlockingHandler, Call, Handler, Method, NamedArguments, NoError};
pub use caller::{
    CallBuilder, CallStream, Caller, Named, Notify, NotifyNamed, Opened, Request, Typed,
};
pub use codec::{Codec, PayloadCodec, PayloadError, PrivateCodec};
pub use context::{Context, Peer};
pub use dyn_broker::DynBroker;
pub use error::{CallError, Certainty, Code, ErrorBody};
#[cfg(unix)]
pub use executor::process_pool_executor::worker_entry;
pub use failure::{Error, ErrorKind};
pub use limits::{BadLimit, Limits, LimitsReport};
pub use memory_broker::{MemoryBroker, MemoryBrokerStart};
pub use method::{MethodDef, MethodInfo, MethodSpec};
pub use method_table::{MethodOffer, MethodTable};
pub use name::{DeclaredName, MethodName};
pub use named::NamedValues;
#[doc(hidden)]
pub use named::Pairs;
pub use registry::{MethodRef, Registry, RegistryError};
pub use retry::Retry;
pub use secret::Secret;
pub use stream::{
    Incoming, IntoOutgoing, ItemError, ItemReceiver, ItemSender, Lossy, NoItem, Outgoing, Overflow,
    OverflowExt, RawReceiver, RawSendError, RawSender, RawStream, SendItemError, StreamCall,
    StreamHandler, Streaming, StreamingCall, TryRecvItemError, TrySendItemError,
};
#[cfg(unix)]
pub use tcp_broker::UnixBroker;
pub use tcp_broker::{
    AcceptErrors, Balance, BrokerStatistics, Dial, Endpoint, Reach, Strangers, TcpBroker,
    TcpBrokerBuilder,
};
#[cfg(feature = "tls")]
pub use tcp_broker::{TlsBroker, TlsConfig};
pub use trace::{BadTraceparent, with_traceparent};

/// What expansions of the macros name.
#[doc(hidden)]
pub mod __private {
    pub use crate::caller::Awaited;
    pub use serde;

    /// A name without what says that it is no keyword.
    pub fn plain(name: &'static str) -> &'static str {
        name.strip_prefix("r#").unwrap_or(name)
    }

    /// Checks that arguments of this type can travel.
    pub fn travels<T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static>() {}
}
