//! How peers are chosen that are slow, full or hang.

use std::time::Duration;

use super::properties::{connect, hashed, name, offered, table};
use super::*;

const MS: Duration = Duration::from_millis(1);

fn pick(table: &mut Table<u64>, wish: Wish<'_>, now: Instant) -> Picked<u64> {
    table
        .pick(Key::Name(&name(0)), wish, now)
        .expect("somebody offers it")
}

fn settle(table: &mut Table<u64>, picked: Picked<u64>, answer: Answer, now: Instant) {
    if let Some(watch) = picked.watch {
        table.settled(watch, answer, now);
    }
}

/// How often each of three peers gets one of `calls` calls in a row, of which the first never answers in less than
/// `waits` and the others need `takes`.
fn after_each_other(calls: usize, waits: Duration, answer: Answer, takes: Duration) -> [usize; 3] {
    let mut table = table(Balance::PowerOfTwo, 3);
    offered(&mut table, 3);
    let mut now = Instant::from_nanos(1);
    let mut each = [0; 3];
    for _ in 0..calls {
        let picked = pick(&mut table, Wish::default(), now);
        let at = picked.handle as usize - 1;
        each[at] += 1;
        let (took, answer) = match at {
            0 => (waits, answer),
            _ => (takes, Answer::Ran),
        };
        now += took;
        settle(&mut table, picked, answer, now);
    }
    each
}

// BR20
#[test]
fn who_does_not_answer_gets_few_calls() {
    // It hangs until its callers give up, is lost, or refuses at once.
    for (waits, answer) in [
        (1000 * MS, Answer::Missing),
        (1000 * MS, Answer::GivenUp),
        (Duration::ZERO, Answer::Full),
    ] {
        let [bad, ..] = after_each_other(1000, waits, answer, 20 * MS);
        assert!((1..=10).contains(&bad), "{bad} of 1000, {answer:?}");
    }
    // That takes no time, and says nothing of how long calls take.
    let each = after_each_other(1000, Duration::ZERO, Answer::Refused, 20 * MS);
    assert!(each.iter().all(|got| *got > 200), "{each:?}");
}

// BR20
#[test]
fn who_was_slow_once_is_asked_again() {
    let mut table = table(Balance::PowerOfTwo, 3);
    offered(&mut table, 2);
    let mut now = Instant::from_nanos(1);
    let mut slow = Vec::new();
    for n in 0..20_000 {
        let picked = pick(&mut table, Wish::default(), now);
        let first = picked.handle == 1 && slow.is_empty();
        if picked.handle == 1 {
            slow.push(n);
        }
        now += if first { 5000 * MS } else { 20 * MS };
        settle(&mut table, picked, Answer::Ran, now);
    }
    // It had one call until that was half forgotten often enough, and has its share from then on.
    assert!(slow[1] > 1000, "{}", slow[1]);
    assert!(slow.len() > 5000, "{}", slow.len());
}

// BR20
#[test]
fn of_a_new_peer_is_expected_what_the_others_do() {
    let mut table = table(Balance::PowerOfTwo, 3);
    offered(&mut table, 3);
    let mut now = Instant::from_nanos(1);
    for _ in 0..100 {
        let picked = pick(&mut table, Wish::default(), now);
        now += 20 * MS;
        settle(&mut table, picked, Answer::Ran, now);
    }
    connect(&mut table, 4, 8);
    table.discovered(ConnectionId(4));
    let methods = vec![Advertised::new(MethodId(1), name(0))];
    table.offer(ConnectionId(4), methods);
    let mut each = [0; 4];
    for _ in 0..400 {
        each[pick(&mut table, Wish::default(), now).handle as usize - 1] += 1;
    }
    assert!(each.iter().all(|got| (90..=110).contains(got)), "{each:?}");
}

#[test]
fn items_and_notifications_do_not_tell_how_long_calls_take() {
    let mut table = table(Balance::PowerOfTwo, 3);
    offered(&mut table, 2);
    let mut now = Instant::from_nanos(1);
    let lasts = Wish {
        lasts: true,
        ..Wish::default()
    };
    let mut each = [0; 2];
    for n in 0..100 {
        let picked = pick(&mut table, lasts, now);
        each[picked.handle as usize - 1] += 1;
        let (took, answer) = match (picked.handle, n % 2) {
            (1, 0) => (3_600_000 * MS, Answer::Ran),
            (1, _) => (3_600_000 * MS, Answer::GivenUp),
            _ => (Duration::ZERO, Answer::Ran),
        };
        now += took;
        settle(&mut table, picked, answer, now);
    }
    assert!(each.iter().all(|got| *got > 30), "{each:?}");
}

// BR20
#[test]
fn a_call_that_was_refused_goes_to_others_and_so_do_those_after_it() {
    let wishes = |n: u64| {
        let turns = (Balance::RoundRobin, Wish::default());
        let drawn = (Balance::PowerOfTwo, Wish::default());
        [turns, drawn, (Balance::Hash, hashed(n))]
    };
    for policy in 0..3 {
        let mut table = table(wishes(0)[policy].0, 7);
        offered(&mut table, 3);
        let mut now = Instant::from_nanos(1);
        let mut refused = 0;
        for n in 0..500 {
            let wish = wishes(n)[policy].1;
            let mut picked = pick(&mut table, wish, now);
            if picked.handle == 2 {
                refused += 1;
                let not = [picked.connection];
                table.refused(picked.connection, None, now);
                settle(&mut table, picked, Answer::Full, now);
                assert!(table.has_others(Key::Name(&name(0)), &not, now));
                picked = pick(&mut table, Wish { not: &not, ..wish }, now);
                assert_ne!(picked.handle, 2);
            }
            now += 2 * MS;
            settle(&mut table, picked, Answer::Ran, now);
        }
        // In a second, after pauses of 100 ms, twice that and so on.
        assert!((1..=4).contains(&refused), "{refused}, policy {policy}");
    }
}

// BR20
#[test]
fn who_rests_gets_calls_while_nobody_else_has_room() {
    let mut table = table(Balance::RoundRobin, 7);
    offered(&mut table, 3);
    let now = Instant::from_nanos(1);
    let key = name(0);
    for id in 1..=3 {
        let others = table.has_others(Key::Name(&key), &[], now);
        assert!(others, "{id}");
        table.refused(ConnectionId(id), Some(1000 * MS), now);
    }
    assert!(!table.has_others(Key::Name(&key), &[], now));
    let not = [ConnectionId(1), ConnectionId(2)];
    for _ in 0..3 {
        let wish = Wish {
            not: &not,
            ..Wish::default()
        };
        assert_eq!(
            pick(&mut table, wish, now).handle,
            3,
            "it has not been there"
        );
    }
    let mut each = [0; 3];
    for _ in 0..9 {
        each[pick(&mut table, Wish::default(), now).handle as usize - 1] += 1;
    }
    assert_eq!(each, [3; 3]);
    // It has rested.
    table.refused(ConnectionId(2), Some(3000 * MS), now);
    table.refused(ConnectionId(3), Some(3000 * MS), now);
    let later = now + 1000 * MS;
    assert_eq!(pick(&mut table, Wish::default(), later).handle, 1);
    assert!(table.has_others(Key::Name(&key), &[], later + 100 * MS));
}

// BR10
#[test]
fn no_key_moves_while_a_peer_keeps_one_of_its_connections() {
    let mut table = table(Balance::Hash, 7);
    offered(&mut table, 3);
    let now = Instant::from_nanos(1);
    // One more to the first peer, by another endpoint.
    let again = |table: &mut Table<u64>, id: u64, endpoint: &str| {
        let identity = Identity::Endpoint(endpoint.into());
        let known_as = KnownAs::Proven("".into());
        table.connect(ConnectionId(id), id, identity, [2; 16], known_as);
        table.discovered(ConnectionId(id));
        let methods = vec![Advertised::new(MethodId(1), name(0))];
        table.offer(ConnectionId(id), methods);
    };
    let places = |table: &mut Table<u64>| {
        let place = |hash| match pick(table, hashed(hash), now).handle {
            other @ (2 | 3) => other,
            _ => 1,
        };
        (0..300).map(place).collect::<Vec<_>>()
    };
    let before = places(&mut table);
    again(&mut table, 4, "another");
    assert_eq!(places(&mut table), before);
    for (gone, back, endpoint) in [(1, 5, "host2"), (4, 6, "another"), (5, 7, "a third")] {
        table.disconnect(ConnectionId(gone));
        assert_eq!(places(&mut table), before, "{gone} went");
        again(&mut table, back, endpoint);
        assert_eq!(places(&mut table), before, "{back} came");
    }
}

// BR11, BR20
#[test]
fn who_is_left_out_is_none_of_the_others_that_have_room() {
    let mut table = table(Balance::RoundRobin, 7);
    offered(&mut table, 2);
    let now = Instant::from_nanos(1);
    let key = name(0);
    let not = [ConnectionId(2)];
    assert!(table.has_others(Key::Name(&key), &not, now));
    // The other one loses calls, and comes back.
    let losses = Losses {
        calls: 100,
        answered: false,
    };
    table.lost(ConnectionId(1), losses, now);
    table.disconnect(ConnectionId(1));
    connect(&mut table, 3, 2);
    table.discovered(ConnectionId(3));
    let methods = vec![Advertised::new(MethodId(1), name(0))];
    table.offer(ConnectionId(3), methods);
    assert!(!table.has_others(Key::Name(&key), &not, now));
    // The call goes where it has been, and so do others.
    let wish = Wish {
        not: &not,
        ..Wish::default()
    };
    assert_eq!(pick(&mut table, wish, now).connection, ConnectionId(2));
    let later = now + 60_000 * MS;
    assert!(table.has_others(Key::Name(&key), &not, later));
}

// BR10
#[test]
fn a_call_that_its_peer_may_know_goes_nowhere_else() {
    let mut table = table(Balance::Hash, 7);
    offered(&mut table, 3);
    let now = Instant::from_nanos(1);
    for hash in 0..20 {
        let firm = Wish {
            firm: true,
            ..hashed(hash)
        };
        let at = pick(&mut table, firm, now).connection;
        table.refused(at, Some(1000 * MS), now);
        let not = [at];
        assert_eq!(
            pick(&mut table, Wish { not: &not, ..firm }, now).connection,
            at
        );
    }
}

#[test]
fn a_peer_of_three_times_the_weight_has_three_times_as_much_to_do() {
    let mut table = table(Balance::PowerOfTwo, 3);
    let now = Instant::from_nanos(1);
    for (id, weight) in [(1, 1), (2, 3)] {
        connect(&mut table, id, 2 * id as u8);
        table.discovered(ConnectionId(id));
        let method = Advertised::new(MethodId(1), name(0)).weight(weight);
        table.offer(ConnectionId(id), vec![method]);
    }
    let held = (0..400).map(|_| {
        table
            .pick(Key::Name(&name(0)), Wish::default(), now)
            .unwrap()
    });
    let second = held.filter(|picked| picked.handle == 2).count();
    assert!((295..=305).contains(&second), "{second} of 400");
}

#[test]
fn of_two_peers_the_one_with_less_to_do_is_taken() {
    let mut table = table(Balance::PowerOfTwo, 3);
    offered(&mut table, 2);
    let now = Instant::from_nanos(1);
    let held: Vec<_> = (0..100)
        .filter_map(|_| {
            let picked = table
                .pick(Key::Name(&name(0)), Wish::default(), now)
                .unwrap();
            // Peer 1 answers at once, peer 2 never.
            let watch = picked.watch.unwrap();
            match picked.handle {
                1 => {
                    table.settled(watch, Answer::Ran, now);
                    None
                }
                _ => Some(watch),
            }
        })
        .collect();
    assert_eq!(held.len(), 1, "calls went to who does not answer");
}
