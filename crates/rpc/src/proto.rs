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
//! This version carries unary calls whose bodies fit one frame and the window of a call, between
//! peers without a shared secret. It answers what it does not carry (streams, bodies of several
//! frames) with an error for that call and keeps the connection.

mod bucket;
mod command;
mod config;
mod event;
mod extension;
mod frame;
mod handshake;
mod inbound;
mod incoming;
mod machine;
mod methods;
mod outbound;
mod outgoing;
mod violation;

pub use command::{CallId, CancelReason, Command, Failure, Open, Rejected, Target};
pub(crate) use config::MAX_PROJECT;
pub use config::{CodecId, Config, Side};
pub use event::{BrokenKind, CloseCause, Event, IncomingCall, PeerHello, StreamEnd};
pub use extension::{Extensions, ExtensionsBuilder};
pub use machine::{Machine, Stats};
pub use methods::{Advertised, MethodId, MethodOptions};
pub use violation::{Guess, Violation};

/// The error of a call as it comes off the wire.
type ErrorOf = crate::CallError<crate::ErrorBody>;
