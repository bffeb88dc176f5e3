//! The peer protocol, version 1, as a machine without I/O.
//!
//! A [`Machine`] is one end of one connection. Bytes and commands go in, bytes and events come
//! out, the time is an argument; nothing here reads, writes, waits, looks at a clock or draws a
//! random number. So the same protocol runs on every runtime, in the simulator, in a property test
//! and in a fuzzer, and a driver is a loop around it.
//!
//! The protocol is symmetric: either side calls, executes or both. The side that dialled opens
//! calls with odd ids, the other with even ones; nothing else differs after the handshake.
//!
//! It carries calls with one message each way, and streams of items either way or both; messages longer
//! than a frame travel in parts, between which others have their turn. What one side sends is bounded
//! by what the other granted, so reading never waits for a handler.

mod adverts;
mod auth;
mod bucket;
mod command;
mod config;
mod event;
mod extension;
mod frame;
mod handshake;
mod id_hash;
mod inbound;
mod incoming;
mod inlet;
mod items;
mod machine;
mod methods;
mod outbound;
mod outgoing;
mod outlet;
mod outlets;
mod pace;
mod rejected;
mod stream_proof;
mod violation;

pub(crate) use auth::MAX_KEY_ID;
pub use command::{CallId, CallKind, CancelReason, Command, Failure, Open, Target};
pub(crate) use config::MAX_PROJECT;
pub use config::{CodecId, Config, Side};
pub use event::{BrokenKind, CloseCause, Event, IncomingCall, KnownAs, PeerHello, StreamEnd};
pub use extension::{Extensions, ExtensionsBuilder};
pub(crate) use frame::HEADER;
pub(crate) use id_hash::IdHash;
pub(crate) use inlet::Starving;
pub use items::Items;
pub(crate) use items::finish;
pub(crate) use machine::Gauges;
pub use machine::{Machine, Stats, charge};
pub use methods::{Advertised, MethodId, MethodOptions};
pub(crate) use outgoing::{LEVELS, slots_at};
pub use rejected::Rejected;
pub use stream_proof::StreamProof;
pub use violation::{Guess, Violation};

/// The error of a call as it comes off the wire.
type ErrorOf = crate::CallError<crate::ErrorBody>;
