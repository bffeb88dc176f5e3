//! The oracle: the one source of every choice a world makes.
//!
//! Invariants
//! 1. There is no other randomness in the crate: what is drawn is drawn here.
//! 2. A stream belongs to one (seed, label, scope); a draw moves that stream only.
//! 3. Choice 0 is the tame one wherever a choice is made.

use crate::choices::{Choice, Choices};
use crate::xxhash::xxh64;
use std::collections::{BTreeMap, VecDeque};

/// Seeds of the hash of labels: those of the crate, those of programs, and those of their fault
/// sites.
pub(crate) const OWN: u64 = 0;
pub(crate) const PROGRAM: u64 = 1;
pub(crate) const SITE: u64 = 2;

/// What a choice is about. The name is part of the stream's identity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    hash: u64,
}

impl Label {
    pub(crate) const fn new(name: &'static str) -> Label {
        Label {
            name,
            hash: xxh64(name.as_bytes(), OWN),
        }
    }

    /// A label of the program, whose stream no label of the crate shares.
    pub(crate) fn of_program(name: &'static str) -> Label {
        Label {
            name,
            hash: xxh64(name.as_bytes(), PROGRAM),
        }
    }

    /// The label of a fault site of the program, whose stream nothing else shares.
    pub(crate) fn of_site(name: &'static str) -> Label {
        Label {
            name,
            hash: xxh64(name.as_bytes(), SITE),
        }
    }
}

pub(crate) const NEXT_TASK: Label = Label::new("next task");
pub(crate) const POLL_COST: Label = Label::new("poll cost");
pub(crate) const TIMER_TIE: Label = Label::new("timer tie");
pub(crate) const TIMER_JITTER: Label = Label::new("timer jitter");
pub(crate) const LATENCY: Label = Label::new("latency");
pub(crate) const ROUTE: Label = Label::new("route");
pub(crate) const JITTER: Label = Label::new("jitter");
pub(crate) const LOSS: Label = Label::new("loss");
pub(crate) const BURST: Label = Label::new("loss burst");
pub(crate) const DUPLICATION: Label = Label::new("duplication");
pub(crate) const REORDERING: Label = Label::new("reordering");
pub(crate) const HALVES: Label = Label::new("halves");
pub(crate) const SWIZZLE: Label = Label::new("swizzle");
pub(crate) const READ_LENGTH: Label = Label::new("read length");
pub(crate) const WRITE_LENGTH: Label = Label::new("write length");
pub(crate) const ACK_DELAY: Label = Label::new("ack delay");
pub(crate) const RESET_DATA: Label = Label::new("data before reset");
pub(crate) const PORT: Label = Label::new("ephemeral port");
pub(crate) const UDP_PORT: Label = Label::new("udp port");
pub(crate) const UNREACHABLE: Label = Label::new("unreachable port");
pub(crate) const UNIX_NAME: Label = Label::new("unix name");
pub(crate) const NAME_DELAY: Label = Label::new("name delay");
pub(crate) const NAME_FAILURE: Label = Label::new("name failure");
pub(crate) const NAME_SILENCE: Label = Label::new("name silence");
pub(crate) const NAME_ORDER: Label = Label::new("name order");
pub(crate) const JOB_TIME: Label = Label::new("job time");
pub(crate) const ENTROPY: Label = Label::new("entropy");

/// Whose stream a choice is drawn from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(crate) enum Scope {
    World,
    Host(u32),
    Link(u32, u32),
}

impl Scope {
    fn number(self) -> u64 {
        match self {
            Scope::World => 0,
            Scope::Host(host) => 1 << 62 | u64::from(host),
            Scope::Link(from, to) => 2 << 62 | u64::from(from) << 31 | u64::from(to),
        }
    }
}

/// xoshiro256++ (Blackman, Vigna), seeded by SplitMix64.
#[derive(Clone, Debug)]
struct Stream([u64; 4]);

impl Stream {
    fn new(mut seed: u64) -> Stream {
        let mut next = || {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        Stream([next(), next(), next(), next()])
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }
}

#[derive(Debug)]
enum Source {
    Drawn(BTreeMap<(u64, u64), Stream>),
    Replayed(BTreeMap<(u64, u64), VecDeque<u64>>),
}

#[derive(Debug)]
pub(crate) struct Oracle {
    seed: u64,
    source: Source,
    record_limit: usize,
    recorded: Vec<Choice>,
    used: u64,
}

impl Oracle {
    pub(crate) fn new(seed: u64, record_limit: usize, replay: Option<&Choices>) -> Oracle {
        let source = match replay {
            None => Source::Drawn(BTreeMap::new()),
            Some(choices) => {
                let mut streams: BTreeMap<_, VecDeque<u64>> = BTreeMap::new();
                for choice in choices.as_slice() {
                    let key = (choice.stream, choice.scope.number());
                    streams.entry(key).or_default().push_back(choice.taken());
                }
                Source::Replayed(streams)
            }
        };
        Oracle {
            seed,
            source,
            record_limit,
            recorded: Vec::new(),
            used: 0,
        }
    }

    /// A choice among `count` outcomes; 0 without a draw where there is nothing to choose.
    pub(crate) fn choose(&mut self, label: Label, scope: Scope, count: u64) -> u64 {
        if count <= 1 {
            return 0;
        }
        let key = (label.hash, scope.number());
        let taken = match &mut self.source {
            Source::Drawn(streams) => {
                let seed = self.seed;
                let stream = streams.entry(key).or_insert_with(|| {
                    let mut bytes = [0; 24];
                    bytes[..8].copy_from_slice(&seed.to_le_bytes());
                    bytes[8..16].copy_from_slice(&key.0.to_le_bytes());
                    bytes[16..].copy_from_slice(&key.1.to_le_bytes());
                    Stream::new(xxh64(&bytes, seed))
                });
                let wide = u128::from(stream.next()) * u128::from(count);
                (wide >> 64) as u64
            }
            Source::Replayed(streams) => streams
                .get_mut(&key)
                .and_then(VecDeque::pop_front)
                .unwrap_or(0)
                .min(count - 1),
        };
        self.used += 1;
        if self.recorded.len() < self.record_limit {
            self.recorded
                .push(Choice::new(label.name, label.hash, scope, count, taken));
        }
        taken
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// The choices made so far.
    pub(crate) fn choices(&self) -> Choices {
        Choices::new(
            self.recorded.clone(),
            self.recorded.len() as u64 == self.used,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_independent() {
        let mut plain = Oracle::new(3, 0, None);
        let mut busy = Oracle::new(3, 0, None);
        for i in 0..100 {
            for _ in 0..i % 3 {
                busy.choose(ENTROPY, Scope::Host(1), 1 << 32);
            }
            assert_eq!(
                plain.choose(ENTROPY, Scope::Host(0), 1 << 32),
                busy.choose(ENTROPY, Scope::Host(0), 1 << 32)
            );
        }
    }

    #[test]
    fn generator_matches_its_reference() {
        // SplitMix64 from 0 and the first output of xoshiro256++ on that state.
        let stream = Stream::new(0);
        assert_eq!(stream.0[0], 0xE220_A839_7B1D_CDAF);
        assert_eq!(stream.0[1], 0x6E78_9E6A_A1B9_65F4);
    }
}
