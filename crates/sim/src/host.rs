//! What code does on the simulated host in whose name it runs.
//!
//! These are the acts a runtime adapter needs. All of them panic where no world turns.

mod all_blocked;
mod files;
mod resolve;
mod signal;
mod sleep;

pub(crate) use all_blocked::Idlers;
pub use all_blocked::{AllBlocked, all_blocked};
pub use files::{File, create_file, file, remove_file};
pub use resolve::{Family, Resolve, Reverse, resolve, reverse};
pub use signal::{Signal, Signals, raise, signals};
pub use sleep::{Sleep, YieldNow, yield_now};

use crate::current;
use crate::oracle;
use crate::task::Body;
use crate::trace::EventKind;
use crate::xxhash::xxh64;
use std::any::{Any, TypeId};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// The host's monotonic clock in nanoseconds.
pub fn now() -> u64 {
    current::with("now", |state| state.clock())
}

/// The host's wall clock, since 1970. A world begins with the year 2020; a script may
/// [set](crate::World::set_wall_clock) it.
pub fn wall_clock() -> Duration {
    current::with("wall_clock", |state| {
        let now = state.clock();
        state.machine().wall_clock.shows(now)
    })
}

/// Starts a task on this host. It is never polled inside this call.
///
/// On a host that is ending, or in a destructor of one, the future is dropped unpolled.
#[track_caller]
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    spawn_at(future, Location::caller());
}

/// The same for a task that comes from `location`, by which reports name it.
pub fn spawn_at(
    future: impl Future<Output = ()> + Send + 'static,
    location: &'static Location<'static>,
) {
    let refused: Option<Body> = current::with("spawn", |state| {
        state.spawn_here(Box::pin(future), location)
    });
    // Dropped here, with the world's state free: its destructor may act on the world.
    drop(refused);
}

/// Runs `job` on the world's thread after a drawn time of at most 10 ms.
///
/// Nothing interrupts it. It must not park the thread to wait for something the world does. As
/// many jobs of a host overlap as it has blocking threads (512, if its
/// [limits](crate::HostLimits) say nothing else); more wait their turn. On a host that is ending the job is
/// dropped without running.
#[track_caller]
pub fn spawn_blocking(job: Box<dyn FnOnce() + Send>) {
    let location = Location::caller();
    let refused = current::with("spawn_blocking", |state| state.submit_job(job, location));
    drop(refused);
}

/// The value of type `T` of this host's present life, made by `init` at first use.
pub fn slot<T: Any + Send + Sync>(init: fn() -> T) -> Arc<T> {
    let kind = TypeId::of::<T>();
    let find = || {
        current::with("slot", |state| {
            let slots = &state.machine().slots;
            let found = slots.iter().find(|(id, _)| *id == kind)?;
            Arc::clone(&found.1).downcast::<T>().ok()
        })
    };
    if let Some(found) = find() {
        return found;
    }
    let made = Arc::new(init());
    // `init` may have asked for the same slot.
    if let Some(found) = find() {
        return found;
    }
    let kept = Arc::clone(&made);
    current::with("slot", |state| state.machine().slots.push((kind, kept)));
    made
}

/// Fills `buffer` from the host's entropy: the oracle's, so equal seeds give equal bytes.
pub fn fill(buffer: &mut [u8]) {
    current::with("fill", |state| {
        for chunk in buffer.chunks_mut(4) {
            let drawn = state.choose(oracle::ENTROPY, 1 << 32) as u32;
            chunk.copy_from_slice(&drawn.to_le_bytes()[..chunk.len()]);
        }
        let hash = xxh64(buffer, 0);
        state.record(EventKind::Entropy, "", buffer.len() as u64, hash);
    });
}

/// A number from the host's entropy.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
