//! Things that belong to hosts, in slots.
//!
//! Invariants
//! 1. What a host has is found without a look at what others have: the things of each host are a list,
//!    linked through their slots.
//! 2. The list's order shows nowhere: what is given out is sorted by slot.

use slab::Slab;
use std::ops::{Index, IndexMut};

/// Belongs to one host for its life.
pub(crate) trait OfHost {
    fn host(&self) -> u32;
}

/// Ends a list.
const NONE: u32 = u32::MAX;

struct Place<T> {
    thing: T,
    before: u32,
    after: u32,
}

pub(crate) struct ByHost<T> {
    places: Slab<Place<T>>,
    /// Of each host, as far as one had something.
    first: Vec<u32>,
}

impl<T: OfHost> ByHost<T> {
    pub(crate) fn new() -> ByHost<T> {
        ByHost {
            places: Slab::new(),
            first: Vec::new(),
        }
    }

    /// Where the next thing will be.
    pub(crate) fn vacant_slot(&self) -> usize {
        self.places.vacant_key()
    }

    pub(crate) fn insert(&mut self, thing: T) -> usize {
        let host = thing.host() as usize;
        if self.first.len() <= host {
            self.first.resize(host + 1, NONE);
        }
        let after = self.first[host];
        let slot = self.places.insert(Place {
            thing,
            before: NONE,
            after,
        });
        let link = u32::try_from(slot).expect("fewer than 2^32 of a kind");
        if let Some(place) = self.places.get_mut(after as usize) {
            place.before = link;
        }
        self.first[host] = link;
        slot
    }

    /// # Panics
    /// If there is nothing.
    pub(crate) fn remove(&mut self, slot: usize) -> T {
        let Place {
            thing,
            before,
            after,
        } = self.places.remove(slot);
        if let Some(place) = self.places.get_mut(after as usize) {
            place.before = before;
        }
        match self.places.get_mut(before as usize) {
            Some(place) => place.after = after,
            None => self.first[thing.host() as usize] = after,
        }
        thing
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        self.places.get(slot).map(|place| &place.thing)
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.places.get_mut(slot).map(|place| &mut place.thing)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Everything of all hosts, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        looked(self.places.len());
        self.places.iter().map(|(_, place)| &place.thing)
    }

    /// As [`iter`](Self::iter), to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        looked(self.places.len());
        self.places.iter_mut().map(|(_, place)| &mut place.thing)
    }

    /// Where the things of `host` are, in order.
    pub(crate) fn slots_of(&self, host: u32) -> Vec<usize> {
        let first = self.first.get(host as usize).copied();
        let mut next = first.unwrap_or(NONE) as usize;
        let mut slots = Vec::new();
        while let Some(place) = self.places.get(next) {
            slots.push(next);
            next = place.after as usize;
        }
        looked(slots.len());
        slots.sort_unstable();
        slots
    }

    /// The things of `host`, by slot.
    pub(crate) fn of_host(&self, host: u32) -> impl Iterator<Item = &T> {
        let slots = self.slots_of(host).into_iter();
        slots.map(|slot| &self.places[slot].thing)
    }
}

impl<T: OfHost> Index<usize> for ByHost<T> {
    type Output = T;

    fn index(&self, slot: usize) -> &T {
        &self.places[slot].thing
    }
}

impl<T: OfHost> IndexMut<usize> for ByHost<T> {
    fn index_mut(&mut self, slot: usize) -> &mut T {
        &mut self.places[slot].thing
    }
}

/// So many things were looked at to find those that were asked for.
#[cfg(not(test))]
fn looked(_: usize) {}

#[cfg(test)]
use tests::looked;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{self, Signal, Sleep};
    use crate::net::{
        TcpListenOptions, TcpListener, UdpOptions, UdpSocket, UnixAddress, UnixListenOptions,
        UnixListener,
    };
    use crate::{Builder, Crash, Sim};
    use std::cell::Cell;
    use std::io;
    use std::time::Duration;

    thread_local! {
        static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn looked(at: usize) {
        LOOKS.set(LOOKS.get() + at);
    }

    impl OfHost for (u32, &str) {
        fn host(&self) -> u32 {
            self.0
        }
    }

    #[test]
    fn what_a_host_has_is_found_whatever_else_comes_and_goes() {
        let mut things = ByHost::new();
        let slots = [(7, "a"), (2, "b"), (7, "c"), (7, "d"), (2, "e")].map(|t| things.insert(t));
        assert_eq!(slots, [0, 1, 2, 3, 4]);
        assert_eq!(things.slots_of(7), [0, 2, 3]);
        // From the middle, the front and the end of a list, and into the gaps.
        assert_eq!(things.remove(2), (7, "c"));
        assert_eq!(things.slots_of(7), [0, 3]);
        assert_eq!(things.remove(3), (7, "d"));
        assert_eq!(things.vacant_slot(), 3);
        assert_eq!(things.insert((2, "f")), 3);
        assert_eq!(things.remove(0), (7, "a"));
        assert_eq!(things.slots_of(7), [0; 0]);
        assert_eq!(things.slots_of(2), [1, 3, 4]);
        assert_eq!(things.slots_of(100), [0; 0]);
        things.insert((7, "g"));
        let all: Vec<_> = things.iter().map(|thing| thing.1).collect();
        assert_eq!(all, ["g", "b", "f", "e"]);
        assert_eq!(things.of_host(7).collect::<Vec<_>>(), [&(7, "g")]);
        assert_eq!(things.len(), 4);
    }

    /// Has some of each kind of thing, for ever.
    async fn owner() -> io::Result<()> {
        let nobody = ([0, 0, 0, 0], 80).into();
        let _listener = TcpListener::bind(nobody, TcpListenOptions::default())?;
        let _socket = UdpSocket::bind(nobody, UdpOptions::default())?;
        let path = UnixAddress::Abstract(b"here".to_vec());
        let _unix = UnixListener::bind(&path, UnixListenOptions::default())?;
        let _signals = host::signals(Signal::Hangup);
        for _ in 0..3 {
            host::spawn(Sleep::new(host::now() + 3_600_000_000_000));
        }
        for _ in 0..600 {
            host::spawn_blocking(Box::new(|| {}));
        }
        Sleep::new(Sleep::NEVER).await;
        Ok(())
    }

    fn owners(count: usize) -> Builder {
        let hosts = (0..count).map(|index| format!("host-{index}"));
        hosts.fold(Sim::builder(), |world, host| world.host(&host, owner))
    }

    fn looks_of(act: impl FnOnce()) -> usize {
        let before = LOOKS.get();
        act();
        LOOKS.get() - before
    }

    #[test]
    fn the_end_of_a_host_looks_at_what_it_has_and_at_nothing_else() {
        let crashes = |hosts| {
            let mut world = owners(hosts).build();
            world
                .run_for(Duration::from_micros(100))
                .expect("all begin");
            looks_of(|| {
                for crash in [Crash::Kill, Crash::PowerLoss] {
                    world.crash("host-0", crash);
                    world.restart("host-0");
                }
                world.set_clock_drift("host-0", 100);
                world.stall_blocking("host-0", Duration::from_secs(1));
                world.signal("host-0", Signal::Hangup);
                world.run_for(Duration::ZERO).expect("it goes on");
            })
        };
        let alone = crashes(1);
        assert!(alone > 500, "{alone}");
        // A job or two may have ended before.
        let among_others = crashes(50);
        assert!(among_others.abs_diff(alone) < 50, "{among_others} {alone}");
    }

    #[test]
    fn the_end_of_a_world_looks_at_everything_about_once() {
        let ends = |hosts| {
            let mut world = owners(hosts).build();
            world.run_for(Duration::from_secs(60)).expect("all begin");
            looks_of(|| drop(world))
        };
        let few = ends(10);
        assert!(few >= 40, "{few}");
        assert_eq!(ends(100), 10 * few);
    }
}
