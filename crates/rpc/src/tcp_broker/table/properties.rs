//! What holds of the table after any sequence of what can happen to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::health::Health;
use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Connect {
        peer: u8,
    },
    Discover(usize),
    Offer {
        at: usize,
        name: usize,
    },
    Withdraw {
        at: usize,
        name: usize,
    },
    Lose {
        at: usize,
        calls: u32,
        answered: bool,
    },
    Disconnect(usize),
    Pick {
        name: usize,
        hash: Option<u64>,
        not: Vec<usize>,
        firm: bool,
        lasts: bool,
    },
    Refuse {
        at: usize,
        after: Option<u64>,
    },
    PickAll(usize),
    Settle {
        at: usize,
        answer: Answer,
    },
    Wait {
        name: usize,
        bytes: usize,
    },
    Leave(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..8_usize;
    let name = 0..NAMES.len();
    prop_oneof![
        (0..4_u8).prop_map(|peer| Step::Connect { peer }),
        at.clone().prop_map(Step::Discover),
        (at.clone(), name.clone()).prop_map(|(at, name)| Step::Offer { at, name }),
        (at.clone(), name.clone()).prop_map(|(at, name)| Step::Withdraw { at, name }),
        (at.clone(), 0..8_u32, any::<bool>()).prop_map(|(at, calls, answered)| Step::Lose {
            at,
            calls,
            answered
        }),
        at.clone().prop_map(Step::Disconnect),
        pick(),
        (at.clone(), proptest::option::of(0..40_000_u64))
            .prop_map(|(at, after)| Step::Refuse { at, after }),
        name.clone().prop_map(Step::PickAll),
        (at.clone(), answer()).prop_map(|(at, answer)| Step::Settle { at, answer }),
        (name, 0..600_usize).prop_map(|(name, bytes)| Step::Wait { name, bytes }),
        at.prop_map(Step::Leave),
        (0..40_000_u64).prop_map(Step::Pass),
    ]
}

fn pick() -> impl Strategy<Value = Step> {
    let not = proptest::collection::vec(0..8_usize, 0..3);
    let hash = proptest::option::of(0..9_u64);
    let wish = (0..NAMES.len(), hash, not, any::<bool>(), any::<bool>());
    wish.prop_map(|(name, hash, not, firm, lasts)| Step::Pick {
        name,
        hash,
        not,
        firm,
        lasts,
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Ran),
        Just(Answer::Full),
        Just(Answer::Refused),
        Just(Answer::NeverAsked),
        Just(Answer::GivenUp),
        Just(Answer::Missing)
    ]
}

/// What the table should know, kept plainly.
#[derive(Default)]
struct Model {
    /// Of each connection: whether its snapshot is complete, and its methods by id.
    up: BTreeMap<u64, (bool, BTreeMap<u32, usize>)>,
    waits: Vec<(usize, usize, WaitId)>,
    watches: Vec<Watch>,
    connections: u64,
    methods: u32,
}

impl Model {
    fn nth(&self, at: usize) -> Option<u64> {
        self.up.keys().nth(at % self.up.len().max(1)).copied()
    }

    fn offering(&self, name: usize) -> BTreeSet<ConnectionId> {
        let offers = |(ready, methods): &(bool, BTreeMap<u32, usize>)| {
            *ready && methods.values().any(|of| *of == name)
        };
        let up = self.up.iter().filter(|(_, known)| offers(known));
        up.map(|(id, _)| ConnectionId(*id)).collect()
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.waiting_calls, limits.waiting_bytes) = (5, 1000);
    limits
}

pub(super) fn table(balance: Balance, seed: u64) -> Table<u64> {
    Table::new(balance, BTreeMap::new(), &limits(), seed)
}

/// Calls of equal hash.
pub(super) fn hashed(hash: u64) -> Wish<'static> {
    Wish {
        hash: Some(hash),
        ..Wish::default()
    }
}

pub(super) fn name(at: usize) -> Arc<str> {
    NAMES[at].into()
}

pub(super) fn connect(table: &mut Table<u64>, id: u64, peer: u8) {
    let identity = match peer % 2 {
        0 => Identity::Endpoint(format!("host{peer}").into()),
        _ => Identity::Instance([peer; 16]),
    };
    table.connect(
        ConnectionId(id),
        id,
        identity,
        [peer; 16],
        KnownAs::Proven("".into()),
    );
}

fn apply(table: &mut Table<u64>, model: &mut Model, now: &mut Instant, step: Step) {
    match step {
        Step::Connect { peer } => {
            model.connections += 1;
            model.up.insert(model.connections, Default::default());
            connect(table, model.connections, peer);
        }
        Step::Discover(at) => {
            if let Some(id) = model.nth(at) {
                table.discovered(ConnectionId(id));
                model.up.get_mut(&id).unwrap().0 = true;
            }
        }
        Step::Offer { at, name: of } => {
            if let Some(id) = model.nth(at)
                && !model.up[&id].1.values().any(|known| *known == of)
            {
                model.methods += 1;
                let method = MethodId(model.methods);
                let woken = table.offer(ConnectionId(id), vec![Advertised::new(method, name(of))]);
                let (ready, methods) = model.up.get_mut(&id).unwrap();
                methods.insert(method.0, of);
                let waiting = model.waits.iter().filter(|(at, ..)| *ready && *at == of);
                assert_eq!(woken, waiting.map(|(.., id)| *id).collect::<Vec<_>>());
            }
        }
        Step::Withdraw { at, name: of } => {
            if let Some(id) = model.nth(at) {
                let methods = &mut model.up.get_mut(&id).unwrap().1;
                let found = methods.iter().find(|(_, known)| **known == of);
                if let Some(method) = found.map(|(method, _)| *method) {
                    methods.remove(&method);
                    table.withdraw(ConnectionId(id), &[MethodId(method)]);
                }
            }
        }
        Step::Lose {
            at,
            calls,
            answered,
        } => {
            if let Some(id) = model.nth(at) {
                table.lost(ConnectionId(id), Losses { calls, answered }, *now);
                table.disconnect(ConnectionId(id));
                model.up.remove(&id);
            }
        }
        Step::Disconnect(at) => {
            if let Some(id) = model.nth(at) {
                table.disconnect(ConnectionId(id));
                model.up.remove(&id);
            }
        }
        Step::Refuse { at, after } => {
            if let Some(id) = model.nth(at) {
                let after = after.map(Duration::from_millis);
                table.refused(ConnectionId(id), after, *now);
            }
        }
        Step::Pick {
            name: of,
            hash,
            not,
            firm,
            lasts,
        } => {
            let offering = model.offering(of);
            let not = not.iter().filter_map(|at| model.nth(*at));
            let not: Vec<_> = not.map(ConnectionId).collect();
            let wish = Wish {
                hash,
                not: &not,
                firm,
                lasts,
            };
            let others = table.has_others(Key::Name(&name(of)), &not, *now);
            let all_well = !table.peers.any_sick();
            let picked = table.pick(Key::Name(&name(of)), wish, *now);
            match picked {
                None => assert!(offering.is_empty(), "somebody offers {of}"),
                Some(picked) => {
                    assert!(offering.contains(&picked.connection));
                    assert_eq!(picked.handle, picked.connection.0);
                    if others && all_well && !firm {
                        assert!(!not.contains(&picked.connection), "there are others");
                    }
                    model.watches.extend(picked.watch);
                }
            }
        }
        Step::PickAll(of) => {
            let offering = model.offering(of);
            let up = table.connections.iter();
            let instances: BTreeMap<_, _> = up.map(|(at, known)| (*at, known.instance)).collect();
            let instance = |at: &ConnectionId| instances[at];
            let all: BTreeSet<_> = offering.iter().map(instance).collect();
            let fit =
                offering
                    .iter()
                    .filter(|at| match table.peers.health(table.connections[at].peer) {
                        Health::Well => true,
                        health => health.is_due(false, *now),
                    });
            let fit: BTreeSet<_> = fit.map(instance).collect();
            let picked = table.pick_all(Key::Name(&name(of)), *now);
            let got: Vec<_> = picked.iter().map(|one| instance(&one.connection)).collect();
            let got_once: BTreeSet<_> = got.iter().copied().collect();
            assert_eq!(got.len(), got_once.len(), "a peer has it twice");
            assert!(got_once.is_subset(&all) && got_once.is_superset(&fit));
            assert_eq!(got.is_empty(), all.is_empty());
            model
                .watches
                .extend(picked.into_iter().filter_map(|one| one.watch));
        }
        Step::Settle { at, answer } => {
            if !model.watches.is_empty() {
                let watch = model.watches.swap_remove(at % model.watches.len());
                table.settled(watch, answer, *now);
            }
        }
        Step::Wait { name: of, bytes } => {
            let held: usize = model.waits.iter().map(|(_, bytes, _)| bytes).sum();
            let fits = model.waits.len() < 5 && held + bytes <= 1000;
            let waits = table.wait(&name(of), bytes);
            assert_eq!(waits.is_ok(), fits);
            model.waits.extend(waits.ok().map(|id| (of, bytes, id)));
        }
        Step::Leave(at) => {
            if !model.waits.is_empty() {
                let (of, _, id) = model.waits.remove(at % model.waits.len());
                table.leave(&name(of), id);
            }
        }
        Step::Pass(millis) => *now += Duration::from_millis(millis),
    }
}

proptest! {
    #[test]
    fn the_table_is_what_happened_to_it(
        steps in proptest::collection::vec(step(), 0..200),
        balance in prop_oneof![Just(Balance::RoundRobin), Just(Balance::PowerOfTwo), Just(Balance::Hash)],
        seed in any::<u64>(),
    ) {
        let (mut table, mut model) = (table(balance, seed), Model::default());
        let mut now = Instant::from_nanos(1);
        for step in steps {
            apply(&mut table, &mut model, &mut now, step);
            let held = model.waits.iter().map(|(_, bytes, _)| bytes).sum();
            prop_assert_eq!(table.waiting(), (model.waits.len(), held));
            prop_assert_eq!(table.connections(), model.up.len());
        }
        for (of, _, id) in std::mem::take(&mut model.waits) {
            table.leave(&name(of), id);
        }
        let used = (0..NAMES.len()).filter(|of| !model.offering(*of).is_empty());
        prop_assert_eq!(table.routes.len(), used.count());
        for id in model.up.keys() {
            table.disconnect(ConnectionId(*id));
        }
        prop_assert!(table.routes.is_empty() && table.by_name.is_empty());
        prop_assert!(table.rests.is_empty());
        // Only those that lost calls are remembered.
        prop_assert!(table.peers.len() <= 4);
    }

    #[test]
    fn whatever_the_order_turns_are_fair(peers in 1..9_u64, first in 0..20_usize, rounds in 1..5_usize) {
        let mut table = table(Balance::RoundRobin, 0);
        offered(&mut table, peers);
        let mut pick = || table.pick(Key::Name(&name(0)), Wish::default(), Instant::NEVER).unwrap().handle;
        for _ in 0..first {
            pick();
        }
        let mut counts = BTreeMap::new();
        for _ in 0..rounds * peers as usize {
            *counts.entry(pick()).or_insert(0) += 1;
        }
        prop_assert_eq!(counts.len(), peers as usize);
        prop_assert!(counts.values().all(|count| *count == rounds));
    }

    #[test]
    fn a_peer_reached_twice_has_one_turn(
        ways in proptest::collection::vec(0..4_u8, 1..12),
        gone in proptest::collection::vec(0..12_usize, 0..12),
    ) {
        let mut table = table(Balance::RoundRobin, 0);
        let mut up: BTreeMap<u64, u8> = BTreeMap::new();
        for (id, peer) in (1..).zip(&ways) {
            // The other way round it has another identity.
            let identity = match id % 2 {
                0 => Identity::Endpoint(format!("host{id}").into()),
                _ => Identity::Instance([*peer; 16]),
            };
            table.connect(ConnectionId(id), id, identity, [*peer; 16], KnownAs::Proven("".into()));
            table.discovered(ConnectionId(id));
            table.offer(ConnectionId(id), vec![Advertised::new(MethodId(1), name(0))]);
            up.insert(id, *peer);
        }
        for at in gone {
            if up.len() > 1 {
                let id = *up.keys().nth(at % up.len()).unwrap();
                up.remove(&id);
                table.disconnect(ConnectionId(id));
            }
            let peers: BTreeSet<u8> = up.values().copied().collect();
            prop_assert_eq!(table.offers_of(Key::Name(&name(0))), peers.len());
            prop_assert_eq!(table.methods()[&name(0)].peers, peers.len());
            let pick = |_| table.pick(Key::Name(&name(0)), Wish::default(), Instant::NEVER).unwrap().handle;
            let picked: Vec<u8> = (0..peers.len()).map(pick).map(|id| up[&id]).collect();
            let each: BTreeSet<u8> = picked.iter().copied().collect();
            prop_assert_eq!(each, peers, "each once: {:?}", picked);
        }
    }

    // BR10
    #[test]
    fn a_peer_that_goes_moves_only_its_own_keys(peers in 2..9_u64, gone in 0..9_u64, seed in any::<u64>()) {
        let mut table = table(Balance::Hash, seed);
        offered(&mut table, peers);
        let pick = |table: &mut Table<u64>, hash| {
            table.pick(Key::Name(&name(0)), hashed(hash), Instant::NEVER).unwrap().handle
        };
        let before: Vec<_> = (0..200).map(|hash| pick(&mut table, hash)).collect();
        let again: Vec<_> = (0..200).map(|hash| pick(&mut table, hash)).collect();
        prop_assert_eq!(&before, &again);
        let each: BTreeSet<_> = before.iter().collect();
        prop_assert!(each.len() > 1, "one peer has all keys");
        let gone = 1 + gone % peers;
        table.disconnect(ConnectionId(gone));
        for (hash, was) in before.iter().enumerate() {
            let is = pick(&mut table, hash as u64);
            prop_assert!(is != gone && (is == *was || *was == gone));
        }
    }
}

/// Peers 1 to `peers` offer the first method, each on a connection of its number.
pub(super) fn offered(table: &mut Table<u64>, peers: u64) {
    for id in 1..=peers {
        connect(table, id, 2 * id as u8);
        table.discovered(ConnectionId(id));
        table.offer(
            ConnectionId(id),
            vec![Advertised::new(MethodId(1), name(0))],
        );
    }
}
