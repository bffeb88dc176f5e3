//! Peers that lose calls: how they are left out, and tried again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::properties::{connect, hashed, name, offered, table};
use super::*;

// BR11
#[test]
fn a_peer_that_loses_calls_is_left_out_and_tried_again() {
    let mut table = table(Balance::RoundRobin, 7);
    offered(&mut table, 2);
    let (mut now, mut connection) = (Instant::from_nanos(1), 1);
    // Peer 1 loses every call that it gets, and its connection, and is back at once.
    let mut windows = Vec::new();
    let mut got = 0;
    for _ in 0..200_000 {
        let picked = table
            .pick(Key::Name(&name(0)), Wish::default(), now)
            .unwrap();
        if picked.connection != ConnectionId(2) {
            got += 1;
            let losses = Losses {
                calls: 1,
                answered: false,
            };
            table.lost(picked.connection, losses, now);
            table.disconnect(picked.connection);
            // The end of the call is heard of after that of its connection.
            if let Some(watch) = picked.watch {
                table.settled(watch, Answer::Missing, now);
            }
            connection += 2;
            connect(&mut table, connection, 2);
            table.discovered(ConnectionId(connection));
            table.offer(
                ConnectionId(connection),
                vec![Advertised::new(MethodId(1), name(0))],
            );
            windows.push(now);
        }
        now += Duration::from_millis(1);
    }
    assert!(got < 20, "{got} calls in 200 s");
    let pauses: Vec<_> = windows[4..]
        .windows(2)
        .map(|pair| pair[1].saturating_duration_since(pair[0]).as_millis())
        .collect();
    for (pause, longest) in pauses.iter().zip([1000, 2000, 4000, 8000, 16_000, 30_000]) {
        assert!((longest / 2..=longest + 2).contains(pause), "{pauses:?}");
    }
    // Well again, it is one of two.
    let mut last = None;
    while last.is_none() {
        now += Duration::from_millis(100);
        let picked = table
            .pick(Key::Name(&name(0)), Wish::default(), now)
            .unwrap();
        last = picked.watch;
    }
    table.settled(last.unwrap(), Answer::Ran, now);
    let four: Vec<_> = (0..4)
        .map(|_| {
            table
                .pick(Key::Name(&name(0)), Wish::default(), now)
                .unwrap()
                .handle
        })
        .collect();
    assert_eq!(four.iter().filter(|id| **id == 2).count(), 2, "{four:?}");
}

fn pick(table: &mut Table<u64>, wish: Wish<'_>, now: Instant) -> Picked<u64> {
    let picked = table.pick(Key::Name(&name(0)), wish, now);
    picked.expect("somebody offers it")
}

/// Peer 1 of `table` loses calls until it is left out, and comes back as connection `again`.
fn lost_and_back(table: &mut Table<u64>, again: u64, now: Instant) {
    let losses = Losses {
        calls: 9,
        answered: true,
    };
    table.lost(ConnectionId(1), losses, now);
    table.disconnect(ConnectionId(1));
    connect(table, again, 2);
    table.discovered(ConnectionId(again));
    let methods = vec![Advertised::new(MethodId(1), name(0))];
    table.offer(ConnectionId(again), methods);
}

// BR10, BR11
#[test]
fn a_peer_is_tried_by_a_call_of_its_own_keys() {
    let mut table = table(Balance::Hash, 7);
    offered(&mut table, 3);
    let mut now = Instant::from_nanos(1);
    let pick = |table: &mut Table<u64>, hash, now| {
        let picked = table.pick(Key::Name(&name(0)), hashed(hash), now);
        let picked = picked.expect("somebody offers it");
        (picked.handle, picked.watch)
    };
    let keys = 0..100;
    let owner = |id| if id == 11 { 1 } else { id };
    let owners: Vec<_> = keys
        .clone()
        .map(|key| pick(&mut table, key, now).0)
        .collect();
    assert!((1..=3).all(|id| owners.contains(&id)), "{owners:?}");
    lost_and_back(&mut table, 11, now);
    let all = |table: &mut Table<u64>, now| -> Vec<_> {
        let picked = keys.clone().map(|key| pick(table, key, now));
        picked.collect()
    };
    let moved = |picked: &[(u64, Option<Watch>)], others_only: bool| {
        let mut each = picked.iter().zip(&owners);
        each.any(|((id, _), was)| owner(*id) != *was && (*was != 1 || !others_only))
    };
    let left_out = all(&mut table, now);
    assert!(!moved(&left_out, true) && left_out.iter().all(|(id, _)| *id != 11));
    // It is time to try it: the first call of a key of its own does, and no other.
    now += Duration::from_secs(1);
    let tried = all(&mut table, now);
    assert!(!moved(&tried, true));
    let first = owners.iter().position(|was| *was == 1).unwrap();
    let trials: Vec<_> = (0..100).filter(|key| tried[*key].0 == 11).collect();
    assert_eq!(trials, [first]);
    let watch = tried.into_iter().find_map(|(_, watch)| watch);
    table.settled(watch.expect("it tells"), Answer::Ran, now);
    assert!(
        !moved(&all(&mut table, now), false),
        "it has its keys again"
    );
}

// BR12
#[test]
fn a_peer_that_is_to_be_tried_keeps_no_other_from_a_broadcast() {
    let mut table = table(Balance::RoundRobin, 7);
    offered(&mut table, 3);
    let mut now = Instant::from_nanos(1);
    lost_and_back(&mut table, 11, now);
    let all = |table: &mut Table<u64>, now| {
        let picked = table.pick_all(Key::Name(&name(0)), now).into_iter();
        picked.map(|one| (one.handle, one.watch)).unzip()
    };
    let (left_out, _): (Vec<_>, Vec<_>) = all(&mut table, now);
    assert_eq!(left_out, [2, 3]);
    now += Duration::from_secs(1);
    let (all_of_them, watches): (Vec<_>, Vec<_>) = all(&mut table, now);
    assert_eq!(all_of_them, [2, 3, 11]);
    // Until that call has told how the peer is, it gets no other.
    let (others, _) = all(&mut table, now);
    assert_eq!(others, [2, 3]);
    let watch = watches.into_iter().flatten().next();
    table.settled(watch.expect("it tells"), Answer::Ran, now);
    let (well_again, _) = all(&mut table, now);
    assert_eq!(well_again, [2, 3, 11]);
}

// BR11
#[test]
fn a_peer_that_leaves_its_trial_without_an_answer_is_left_out_for_longer() {
    for (answer, most) in [(Answer::Missing, 7), (Answer::NeverAsked, 400)] {
        let mut table = table(Balance::RoundRobin, 7);
        offered(&mut table, 3);
        let mut now = Instant::from_nanos(1);
        lost_and_back(&mut table, 11, now);
        let mut tried = 0;
        // A caller that makes one call after the other, and waits for a second each time.
        for _ in 0..100 {
            let picked = table
                .pick(Key::Name(&name(0)), Wish::default(), now)
                .unwrap();
            if picked.handle == 11 {
                tried += 1;
                now += Duration::from_secs(1);
                table.settled(picked.watch.expect("it tells"), answer, now);
            } else {
                now += Duration::from_millis(500);
            }
        }
        // One that it never heard of is no reason to wait: the next one tells.
        let least = if answer == Answer::Missing { 4 } else { 90 };
        assert!((least..=most).contains(&tried), "{tried} calls, {answer:?}");
    }
}

// BR11
#[test]
fn no_more_than_half_of_the_peers_are_left_out() {
    let mut table = table(Balance::RoundRobin, 7);
    offered(&mut table, 5);
    let now = Instant::from_nanos(1);
    for id in 1..=4 {
        let losses = Losses {
            calls: 9,
            answered: true,
        };
        table.lost(ConnectionId(id), losses, now);
        table.disconnect(ConnectionId(id));
        connect(&mut table, 10 + id, 2 * id as u8);
        table.discovered(ConnectionId(10 + id));
        let methods = vec![Advertised::new(MethodId(1), name(0))];
        table.offer(ConnectionId(10 + id), methods);
    }
    let picked: BTreeSet<_> = (0..50)
        .map(|_| {
            table
                .pick(Key::Name(&name(0)), Wish::default(), now)
                .unwrap()
                .handle
        })
        .collect();
    assert_eq!(picked.len(), 3, "{picked:?}");
}

// BR11
#[test]
fn any_answer_of_a_peer_ends_its_trial() {
    let mut table = table(Balance::RoundRobin, 7);
    offered(&mut table, 2);
    let mut now = Instant::from_nanos(1);
    lost_and_back(&mut table, 11, now);
    now += Duration::from_secs(1);
    let trial = pick(&mut table, Wish::default(), now);
    assert_eq!(trial.handle, 11);
    let four = |table: &mut Table<u64>| -> Vec<_> {
        let each = (0..4).map(|_| pick(table, Wish::default(), now).handle);
        each.collect()
    };
    assert_eq!(four(&mut table), [2; 4]);
    // Not that of another.
    table.answered(ConnectionId(2));
    assert_eq!(four(&mut table), [2; 4]);
    table.answered(ConnectionId(11));
    let after = four(&mut table);
    assert_eq!(after.iter().filter(|id| **id == 11).count(), 2, "{after:?}");
    // How the call that was to tell ends, says nothing any more.
    table.settled(trial.watch.expect("it tells"), Answer::Missing, now);
    assert!(four(&mut table).contains(&11));
}

// BR11
#[test]
fn a_call_that_lasts_tries_nobody_whom_another_may_try_before() {
    let lasts = Wish {
        lasts: true,
        ..Wish::default()
    };
    for by_another in [true, false] {
        let mut table = table(Balance::RoundRobin, 7);
        offered(&mut table, 2);
        let mut now = Instant::from_nanos(1);
        lost_and_back(&mut table, 11, now);
        now += Duration::from_secs(1);
        assert_eq!(pick(&mut table, lasts, now).handle, 2);
        if by_another {
            assert_eq!(pick(&mut table, Wish::default(), now).handle, 11);
        } else {
            // Nobody else makes calls.
            now += Duration::from_secs(1);
            assert_eq!(pick(&mut table, lasts, now).handle, 11);
        }
    }
}

// BR11
#[test]
fn a_trial_that_comes_to_nothing_is_made_again_after_twice_the_time() {
    let mut table = table(Balance::RoundRobin, 7);
    offered(&mut table, 2);
    let mut now = Instant::from_nanos(1);
    lost_and_back(&mut table, 11, now);
    // Each of its calls hangs for ever.
    let (mut tried, mut held) = (Vec::new(), Vec::new());
    for second in 1..200 {
        now += Duration::from_secs(1);
        let picked = pick(&mut table, Wish::default(), now);
        if picked.handle == 11 {
            tried.push(second);
            held.extend(picked.watch);
        }
    }
    assert_eq!(tried, [1, 3, 7, 15, 31, 61, 91, 121, 151, 181]);
    // The last one tells.
    table.settled(held.remove(0), Answer::Ran, now);
    assert_eq!(pick(&mut table, Wish::default(), now).handle, 11);
}

/// The peer at `identity` loses `calls` with its only connection, which is `at`.
fn dies(table: &mut Table<u64>, at: u64, identity: Identity, calls: u32) {
    let now = Instant::from_nanos(1);
    table.connect(
        ConnectionId(at),
        at,
        identity,
        at.to_be_bytes().repeat(2).try_into().unwrap(),
        KnownAs::Proven("".into()),
    );
    let losses = Losses {
        calls,
        answered: true,
    };
    table.lost(ConnectionId(at), losses, now);
    table.disconnect(ConnectionId(at));
}

/// Whether the peer at `identity` is left out when it comes back.
fn is_left_out(table: &mut Table<u64>, at: u64, identity: Identity) -> bool {
    table.connect(
        ConnectionId(at),
        at,
        identity,
        [255; 16],
        KnownAs::Proven("".into()),
    );
    let peer = table.connections[&ConnectionId(at)].peer;
    let left_out = table.peers.health(peer) != health::Health::Well;
    table.disconnect(ConnectionId(at));
    left_out
}

// BR11
#[test]
fn the_last_of_many_that_died_are_known_and_endpoints_apart() {
    let mut table = table(Balance::RoundRobin, 7);
    let endpoint = || Identity::Endpoint("shop:1".into());
    let instance = |n: u64| Identity::Instance(n.to_be_bytes().repeat(2).try_into().unwrap());
    dies(&mut table, 1, endpoint(), 5);
    let many = 3 * health::REMEMBERED as u64;
    for n in 2..many {
        // Most with one call, as workers do that end, over months.
        let calls = if n % 100 == 0 { 5 } else { 1 };
        dies(&mut table, n, instance(n), calls);
        if calls == 5 {
            assert!(is_left_out(&mut table, 10 * many + n, instance(n)), "{n}");
        }
    }
    assert_eq!(table.peers.len(), health::REMEMBERED + 1);
    let last = (many - 1) / 100 * 100;
    assert!(is_left_out(&mut table, 20 * many, instance(last)));
    assert!(
        !is_left_out(&mut table, 20 * many + 1, instance(100)),
        "long ago"
    );
    assert!(is_left_out(&mut table, 20 * many + 2, endpoint()));
}

// BR11
#[test]
fn who_is_gone_makes_no_call_look_at_all_peers() {
    let mut table = table(Balance::RoundRobin, 7);
    offered(&mut table, 3);
    let now = Instant::from_nanos(1);
    let losses = Losses {
        calls: 100,
        answered: false,
    };
    table.lost(ConnectionId(1), losses, now);
    assert!(table.wants_time(), "it is left out");
    table.disconnect(ConnectionId(1));
    assert!(!table.wants_time());
    connect(&mut table, 4, 2);
    assert!(table.wants_time(), "it is still left out");
    table.disconnect(ConnectionId(4));
    assert!(!table.wants_time());
}
