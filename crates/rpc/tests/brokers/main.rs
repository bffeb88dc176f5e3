//! What brokers do for their callers, over every kind of stream.

#[path = "../suite/backends.rs"]
mod backends;
#[path = "../suite/goes_on.rs"]
mod goes_on;
#[path = "../suite/held.rs"]
mod held;
#[path = "../suite/on_time.rs"]
mod on_time;
#[path = "../suite/raw_listener.rs"]
mod raw_listener;
#[path = "../suite/raw_peer.rs"]
#[allow(dead_code)] // As much as these tests need.
mod raw_peer;
#[path = "../suite/wire.rs"]
mod wire;

mod busy_peers;
mod calls;
mod codecs;
mod cut_off;
mod drained_gateways;
mod drained_handlers;
mod draining;
mod endings;
mod errors;
mod far_clocks;
mod here;
mod introspection;
mod item_deadlines;
mod keys;
mod memory_broker;
mod methods;
mod notifications;
mod places;
mod refused_starts;
mod retries;
mod rolling;
mod routing;
mod same_start;
mod skew;
mod streams;
mod trials;
