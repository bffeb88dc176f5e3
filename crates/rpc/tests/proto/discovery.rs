//! What a peer is told of methods: nothing it did not hear of before is gone, and no more comes at once
//! than it lets through.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_rpc::Limits;
use bowline_rpc::proto::{Advertised, Command, Event, Machine, MethodId, Rejected, Side};
use proptest::prelude::*;

use crate::pair::{START, call, events, machine, millis, open, opened, pump, receive, reply, sent};

fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<MethodId> {
    numbers.into_iter().map(MethodId).collect()
}

fn methods(numbers: impl IntoIterator<Item = u32>) -> Vec<Advertised> {
    let numbers = numbers.into_iter();
    numbers
        .map(|n| Advertised::new(MethodId(n), format!("method.{n}")))
        .collect()
}

/// A dialer that takes `most` methods, and a listener that has `count`, past their handshake.
fn offering(count: u32, most: u32) -> (Machine, Machine) {
    let mut limits = Limits::default();
    limits.max_methods = most;
    let mut dialer = machine(Side::Dialer, &limits);
    limits.max_methods = count;
    let mut listener = machine(Side::Listener, &limits);
    let all = Command::Advertise(methods(1..=count));
    listener.command(START, all).unwrap();
    pump(&mut dialer, &mut listener, START);
    events(&mut listener);
    (dialer, listener)
}

/// What the dialer hears of methods within `within`, gone and new.
fn heard(dialer: &mut Machine, listener: &mut Machine, within: Duration) -> (Vec<u32>, Vec<u32>) {
    heard_from(START, dialer, listener, within)
}

fn heard_from(
    from: Instant,
    dialer: &mut Machine,
    listener: &mut Machine,
    within: Duration,
) -> (Vec<u32>, Vec<u32>) {
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    for at in 0..=within.as_millis() as u64 / 10 {
        pump(dialer, listener, from + millis(10 * at));
    }
    for event in events(dialer) {
        match event {
            Event::Advertised(methods) => new.extend(methods.iter().map(|one| one.method.0)),
            Event::Withdrawn(methods) => gone.extend(methods.iter().map(|one| one.0)),
            _ => {}
        }
    }
    (gone, new)
}

#[test]
fn what_was_not_advertised_is_not_withdrawn() {
    let (mut dialer, mut listener) = offering(300, 256);
    let (_, first) = heard(&mut dialer, &mut listener, millis(0));
    assert_eq!(first, (1..=256).collect::<Vec<_>>());
    let hidden = Command::Withdraw(ids([299, 7_000]));
    listener.command(START, hidden).unwrap();
    assert!(sent(&mut listener, START).is_empty());
    // One of 300 has gone, so there may be another one, and no more.
    let advertise = |n| Command::Advertise(methods([n]));
    listener.command(START, advertise(301)).unwrap();
    assert!(sent(&mut listener, START).is_empty());
    let second = listener.command(START, advertise(302));
    assert_eq!(second, Err(Rejected::Overloaded));
    let known = Command::Withdraw(ids([7]));
    listener.command(START, known).unwrap();
    let changes = heard(&mut dialer, &mut listener, millis(500));
    assert_eq!(changes, (vec![7], vec![257]));
}

#[test]
fn what_the_peer_had_no_room_for_it_hears_of_when_others_are_gone() {
    let (mut dialer, mut listener) = offering(20, 8);
    let (_, first) = heard(&mut dialer, &mut listener, millis(0));
    assert_eq!(first, (1..=8).collect::<Vec<_>>());
    let mut from = START;
    let mut withdraw = |gone: &[u32]| {
        let gone = Command::Withdraw(ids(gone.iter().copied()));
        listener.command(from, gone).unwrap();
        let within = Duration::from_secs(2);
        let heard = heard_from(from, &mut dialer, &mut listener, within);
        from += within;
        heard
    };
    // In their order, and not those that went before the peer ever heard of them.
    assert_eq!(withdraw(&[2, 9, 3]), (vec![2, 3], vec![10, 11]));
    assert_eq!(withdraw(&[12]), (vec![], vec![]));
    let known = [1, 4, 5, 6, 7, 8, 10, 11];
    assert_eq!(withdraw(&known), (known.to_vec(), (13..=20).collect()));
    // A peer that is left hears of no more.
    let all: Vec<_> = (13..=20).collect();
    assert_eq!(withdraw(&all), (all.clone(), vec![]));
}

#[test]
fn methods_given_once_the_peer_is_known_are_the_first_snapshot() {
    let mut dialer = machine(Side::Dialer, &Limits::default());
    let mut listener = machine(Side::Listener, &Limits::default()).offering_later();
    pump(&mut dialer, &mut listener, START);
    let known = events(&mut dialer);
    assert!(matches!(&known[..], [Event::Ready(_)]), "{known:?}");
    listener
        .command(START, Command::Withdraw(ids([7])))
        .unwrap();
    let too_many = Command::Advertise(methods(1..=5000));
    assert_eq!(listener.command(START, too_many), Err(Rejected::Overloaded));
    let some = Command::Advertise(methods(1..=2));
    listener.command(START, some).unwrap();
    pump(&mut dialer, &mut listener, START);
    let told = events(&mut dialer);
    assert!(
        matches!(&told[..], [Event::Advertised(new), Event::Discovered] if *new == methods(1..=2)),
        "{told:?}"
    );
    // From then on as ever.
    listener
        .command(START, Command::Advertise(methods([3])))
        .unwrap();
    listener
        .command(START, Command::Withdraw(ids([1])))
        .unwrap();
    let changes = heard(&mut dialer, &mut listener, millis(0));
    assert_eq!(changes, (vec![1], vec![3]));
}

// R9
#[test]
fn changes_wait_until_the_peer_lets_them_through() {
    let (mut dialer, mut listener) = offering(8, 8);
    heard(&mut dialer, &mut listener, millis(0));
    let all = Command::Withdraw(ids(1..=8));
    listener.command(START, all).unwrap();
    let others = Command::Advertise(methods(11..=18));
    assert_eq!(listener.command(START, others), Err(Rejected::NoRoom));
    assert_eq!(
        heard(&mut dialer, &mut listener, millis(190)),
        (vec![], vec![])
    );
    let changes = heard(&mut dialer, &mut listener, millis(210));
    assert_eq!(changes, ((1..=8).collect(), vec![]));
    // It asks the peer whether it has room, but seldom enough, or this would be a violation.
    for round in 0..50 {
        let at = START + millis(1000 + 700 * round);
        let turn = 100 + 20 * round as u32;
        let more = Command::Advertise(methods(turn..turn + 8));
        listener.command(at, more).unwrap();
        for step in 0..70 {
            if step == 35 {
                let less = Command::Withdraw(ids(turn..turn + 8));
                listener.command(at, less).unwrap();
            }
            pump(&mut dialer, &mut listener, at + millis(10 * step));
        }
        let news = events(&mut dialer);
        assert!(
            matches!(&news[..], [Event::Advertised(new), Event::Withdrawn(gone)] if new.len() + gone.len() == 16),
            "{news:?}"
        );
    }
}

// D1
#[test]
fn who_leaves_says_no_more_of_methods_than_the_peer_lets_through() {
    let (mut dialer, mut listener) = offering(300, 256);
    heard(&mut dialer, &mut listener, millis(0));
    let id = open(&mut dialer, call(b"x"));
    pump(&mut dialer, &mut listener, START);
    let calls = opened(events(&mut listener));
    let within = Duration::from_secs(5);
    let all = Command::Withdraw(ids(1..=300));
    listener.command(START, all).unwrap();
    listener.command(START, Command::Drain { within }).unwrap();
    pump(&mut dialer, &mut listener, START);
    let told = events(&mut dialer);
    assert!(
        matches!(
            &told[..],
            [Event::Draining {
                last_taken: false,
                ..
            }]
        ),
        "{told:?}"
    );
    // From then on it calls nothing, whatever is offered, and is told nothing.
    let more = Command::Advertise(methods([301]));
    listener.command(START, more).unwrap();
    listener.command(START, Command::Leave { within }).unwrap();
    reply(&mut listener, calls[0].call, b"y").unwrap();
    pump(&mut dialer, &mut listener, START + millis(500));
    let told = events(&mut dialer);
    assert!(
        matches!(&told[..], [Event::Draining { last_taken: true, .. }, Event::Replied { call, .. }] if *call == id),
        "{told:?}"
    );
}

/// What is on its way, in order.
#[derive(Default)]
struct Way(VecDeque<(Instant, Vec<u8>)>);

impl Way {
    fn put(&mut self, bytes: Vec<u8>, now: Instant, delay: Duration) {
        if !bytes.is_empty() {
            let after = self.0.back().map_or(now, |(at, _)| *at);
            self.0.push_back((after.max(now + delay), bytes));
        }
    }

    fn take(&mut self, now: Instant) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.0.front().is_some_and(|(at, _)| *at <= now) {
            bytes.extend(self.0.pop_front().unwrap().1);
        }
        bytes
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    // R9
    #[test]
    fn whatever_the_network_does_the_peer_is_not_flooded(
        most in 1..60_u32,
        steps in proptest::collection::vec((0..60_u32, any::<bool>(), 0..400_u64, 0..3_u64), 1..60),
    ) {
        let (mut dialer, mut listener) = offering(most, most);
        let mut offered: BTreeSet<u32> = (1..=most).collect();
        let mut known = offered.clone();
        events(&mut dialer);
        let (mut next, mut now) = (1000, START);
        let (mut there, mut back) = (Way::default(), Way::default());
        let last = std::iter::repeat_n((0, true, 300, 0), 30);
        for (count, new, pause, delay) in steps.into_iter().chain(last) {
            if new {
                let fit = count.min(most - offered.len() as u32);
                let numbers = next..next + fit;
                if listener.command(now, Command::Advertise(methods(numbers.clone()))).is_ok() {
                    offered.extend(numbers);
                    next += fit;
                }
            } else {
                let gone: Vec<_> = offered.iter().copied().take(count as usize).collect();
                if listener.command(now, Command::Withdraw(ids(gone.iter().copied()))).is_ok() {
                    offered.retain(|one| !gone.contains(one));
                }
            }
            // Some of it comes much later, together with what was sent meanwhile.
            let delay = Duration::from_secs(delay);
            let until = now + Duration::from_millis(pause);
            while now < until {
                there.put(sent(&mut listener, now), now, delay);
                back.put(sent(&mut dialer, now), now, delay / 7);
                now += millis(20);
                for (to, way) in [(&mut dialer, &mut there), (&mut listener, &mut back)] {
                    if to.poll_timeout().is_some_and(|due| due <= now) {
                        to.handle_timeout(now);
                    }
                    let bytes = way.take(now);
                    receive(to, now, &bytes).expect("nobody breaks the rules");
                }
                for event in events(&mut dialer) {
                    match event {
                        Event::Advertised(new) => known.extend(new.iter().map(|one| one.method.0)),
                        Event::Withdrawn(gone) => known.retain(|one| !gone.contains(&MethodId(*one))),_ => {}
                    }
                }
                events(&mut listener);
            }
        }
        prop_assert_eq!(known, offered);
    }
}
