//! What becomes of one connection of a broker, whoever is at its other end.

#[path = "../suite/allocated.rs"]
mod allocated;
#[path = "../suite/backends.rs"]
mod backends;
#[path = "../suite/on_time.rs"]
mod on_time;
#[path = "../suite/raw_peer.rs"]
mod raw_peer;
#[path = "../suite/wire.rs"]
mod wire;

mod admission;
mod authentication;
mod beside_large;
mod certainty;
mod closing;
mod intruders;
mod known_by_stream;
mod large_messages;
mod lost_peers;
mod never_run;
mod offers;
mod relayed;
mod stalled;
mod strangers;
mod untaken;
mod withheld;
