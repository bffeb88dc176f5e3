//! A deterministic world for network programs: virtual clock, seeded scheduler, simulated hosts
//! and network.
//!
//! A world runs in one thread. Every choice it makes (which task runs next, how long a packet
//! travels, how much a read returns) is drawn from the seed, and time jumps to the next event: an
//! hour passes in no time, and equal seeds give equal runs, byte for byte. Programs normally reach
//! it through a runtime adapter, so that the code which runs on a real runtime runs here
//! unchanged; [`host`] and [`net`] are what such an adapter builds on.
//!
//! Not seen by it: preemption inside a poll, the memory model, files, and whatever a program does
//! without going through the adapter. Links lose, hold and forget what they are told to ([`Link`],
//! [`World::partition`]); congestion control is not modelled beyond that loss is delay.
//!
//! A run ends when all clients are done, or with a [`Failure`] that prints the line to run it
//! again.
//!
//! ```
//! use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
//! use bowline_sim::{Sim, host};
//! use std::future::poll_fn;
//!
//! let report = Sim::builder()
//!     .seed(7)
//!     .host("server", || async {
//!         let listener = TcpListener::bind(([0, 0, 0, 0], 80).into(), TcpListenOptions::default())?;
//!         let (stream, _) = poll_fn(|cx| listener.poll_accept(cx)).await?;
//!         poll_fn(|cx| stream.poll_write(cx, b"hello")).await?;
//!         Ok::<(), std::io::Error>(())
//!     })
//!     .client("client", || async {
//!         let ip = host::resolve("server", host::Family::V4).await?[0];
//!         let stream = TcpStream::connect((ip, 80).into(), TcpOptions::default()).await?;
//!         let mut buffer = [0; 16];
//!         let count = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await?;
//!         assert!(b"hello".starts_with(&buffer[..count]));
//!         Ok::<(), std::io::Error>(())
//!     })
//!     .run()?;
//! assert!(report.virtual_time.as_secs() < 5);
//! # Ok::<(), bowline_sim::Failure>(())
//! ```
#![forbid(unsafe_code)]

mod sim;

mod builder;
mod choices;
mod compare;
mod drops;
mod failure;
mod replay;
mod report;
mod seeds;
mod world;

pub mod checker;
pub mod export;
pub mod host;
pub mod net;

#[doc(hidden)]
pub mod check;

mod by_host;
mod current;
mod driver;
mod ending;
mod errno;
mod event;
mod faults;
mod jobs;
mod leaks;
mod limits;
mod link;
mod machine;
mod memory;
mod names;
mod network;
mod observers;
mod oracle;
mod pause;
mod payload;
mod ports;
mod power;
mod script;
mod setup;
mod signals;
mod state;
mod stats;
mod strategy;
mod table;
mod task;
mod tcp;
mod timers;
mod trace;
mod udp;
mod unix;
mod watchdog;
mod wire;
mod xxhash;

pub use builder::{Builder, HostOutcome};
pub use choices::{Choice, Choices, ParseChoicesError};
pub use compare::Difference;
pub use drops::{explore_drops, explore_drops_under};
pub use failure::{Failure, FailureKind, HostCrash, WaitLine};
pub use faults::{FaultKind, Faults};
pub use limits::HostLimits;
pub use link::{Latency, Link};
pub use names::{Answer, Names};
pub use report::Report;
pub use script::Crash;
pub use seeds::{Seeds, SeedsFailure, SeedsReport};
pub use setup::SetupError;
pub use sim::{Sim, block_on};
pub use stats::HostStats;
pub use strategy::Strategy;
pub use trace::{EventKind, Keep, TraceEvent, TraceLine};
pub use world::{Step, World};
