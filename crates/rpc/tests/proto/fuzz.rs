//! A batch of random cases in every run of the tests, and as many as one likes by hand:
//! `BOWLINE_FUZZ_CASES` says how many, `BOWLINE_FUZZ_SEED` which ones. What fails names its seed.

use std::sync::Arc;

use bowline_rpc::Secret;
use bowline_rpc::proto::{Config, Machine, Side};

use crate::dice::Dice;
use crate::hostile::ordeal;
use crate::laws::{Joined, small, story};
use crate::pair::{START, call, machine, open, ready, receive, sent};

const CASES: u64 = 20_000;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// Says which case it was, when it panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "run it again with BOWLINE_FUZZ_SEED={} BOWLINE_FUZZ_CASES=1",
                self.0
            );
        }
    }
}

/// A machine that has a secret, past the preface and the HELLO of a peer with another.
fn proving(side: Side) -> Machine {
    let with = |n| {
        let config = Config::new("example", [n; 16]).limits(small());
        Arc::new(config.secret("k", Secret::new([n; 16]).expect("long enough")))
    };
    let mut dialer = Machine::new(with(1), Side::Dialer, START, [1; 32]);
    let mut listener = Machine::new(with(2), Side::Listener, START, [2; 32]);
    let hello = sent(&mut dialer, START);
    receive(&mut listener, START, &hello).expect("it fits");
    let answer = sent(&mut listener, START);
    match side {
        Side::Listener => listener,
        Side::Dialer => {
            receive(&mut dialer, START, &answer).expect("it fits");
            dialer
        }
    }
}

/// Runs each of this share of the cases with dice of its own.
fn batch(one_in: u64, case: impl Fn(&mut Dice)) {
    let first = setting("BOWLINE_FUZZ_SEED").unwrap_or(0);
    let cases = setting("BOWLINE_FUZZ_CASES")
        .unwrap_or(CASES)
        .div_ceil(one_in);
    for seed in first..first + cases {
        let named = Named(seed);
        case(&mut Dice::new(seed));
        drop(named);
    }
}

// R26
#[test]
fn a_machine_survives_any_peer_and_any_driver() {
    batch(2, |dice| {
        let steps = 1 + dice.below(80);
        ordeal(dice, steps);
    });
}

// R26
#[test]
fn two_machines_give_every_call_one_outcome_however_they_are_driven() {
    batch(4, |dice| {
        let steps = 1 + dice.below(100);
        let steps: Vec<_> = (0..steps)
            .map(|_| (dice.below(14) as u8, dice.next() as u16))
            .collect();
        Joined::new().run(&steps);
    });
}

// R26
#[test]
fn where_any_bytes_are_cut_changes_nothing() {
    batch(4, |dice| {
        let bytes: Vec<u8> = (0..dice.below(12)).flat_map(|_| dice.input()).collect();
        let which = dice.below(5);
        let fresh = || match which {
            0 => machine(Side::Listener, &small()),
            1 => ready(&small()).1,
            2 => proving(Side::Listener),
            3 => proving(Side::Dialer),
            _ => {
                let mut dialer = ready(&small()).0;
                for n in 0..3 {
                    open(&mut dialer, call(&[n]));
                }
                sent(&mut dialer, START);
                dialer
            }
        };
        let mut parts = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(1 + dice.below(rest.len().min(60) as u64) as usize);
            parts.push(part);
            rest = after;
        }
        assert_eq!(story(fresh(), &[&bytes]), story(fresh(), &parts));
    });
}
