//! Worlds under one kind of fault.

use super::cut::{MS, Notes, SECOND, seconds, until};
use bowline_sim::{Builder, FaultKind, Faults, Sim, host};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const HEAL: u64 = 40;

pub(crate) fn under(kind: FaultKind, world: Builder) -> Builder {
    world.faults(Faults::of([kind])).heal_at(seconds(HEAL))
}

/// What a client notes that works until the heal, under ten seeds; and without faults.
pub(crate) fn noted<F: Future<Output = ()> + 'static>(
    kind: FaultKind,
    client: impl Fn(Notes) -> F + Clone + Send + Sync + 'static,
) -> (Vec<Vec<u64>>, Vec<u64>) {
    let run = |seed, faults: bool| {
        let notes = Notes::default();
        let (noted, client) = (notes.clone(), client.clone());
        let world = Sim::builder().seed(seed);
        let world = world.client("client", move || client(noted.clone()));
        let world = match faults {
            true => under(kind, world),
            false => world,
        };
        world.run().expect("it is done");
        notes.take()
    };
    ((0..10).map(|seed| run(seed, true)).collect(), run(0, false))
}

pub(crate) fn longest(notes: &[u64]) -> u64 {
    notes.iter().copied().max().unwrap_or(0)
}

/// Runs jobs at once, and notes how long all of them took.
pub(crate) async fn jobs(count: usize, notes: &Notes) {
    let before = host::now();
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..count {
        let done = Arc::clone(&done);
        host::spawn_blocking(Box::new(move || {
            done.fetch_add(1, Ordering::Relaxed);
        }));
    }
    // Where they come faster than they end, only the heal is the end of them.
    while done.load(Ordering::Relaxed) < count && host::now() < HEAL * SECOND {
        until(host::now() + MS).await;
    }
    notes.add(host::now() - before);
}
