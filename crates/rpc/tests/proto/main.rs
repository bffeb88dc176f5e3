//! The machine of the peer protocol: alone, in pairs, and against bytes written by hand.

mod auth;
mod budget;
mod calls;
mod dice;
mod discovery;
mod fuzz;
mod golden;
mod handshake;
mod hops;
mod hostile;
mod laws;
mod limits;
mod lost;
mod messages;
mod notifications;
mod pair;
mod properties;
mod streams;
mod violations;
mod withheld;
