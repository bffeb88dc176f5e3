//! What a world is made of, apart from its hosts.

use crate::choices::Choices;
use crate::faults::Faults;
use crate::link::Link;
use crate::replay::SeedOf;
use crate::strategy::Strategy;
use crate::trace::{Keep, TRACE_VERSION};
use crate::xxhash::xxh64;
use std::sync::Arc;
use std::time::Duration;

/// So long things take to settle, in nanoseconds of the world.
const SETTLE: u64 = 120_000_000_000;

/// So old a world of several hosts becomes at most, in nanoseconds.
pub(super) const HORIZON: u64 = 4 * 3_600_000_000_000;

/// So many polls that move nothing are a livelock.
const LIVELOCK: u64 = 1_000_000;

/// The options of a world.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) seed: u64,
    pub(crate) seed_of: SeedOf,
    pub(crate) scenario: Option<String>,
    pub(crate) replay_with: Option<Arc<str>>,
    pub(crate) horizon: Option<u64>,
    pub(crate) strategy: Strategy,
    /// Polls in a row that move nothing.
    pub(crate) livelock: u64,
    pub(crate) timer_jitter: u64,
    pub(crate) leak_check: bool,
    pub(crate) faults: Faults,
    pub(crate) heal_at: Option<u64>,
    /// So long hosts may take to be gone after they were done, and worlds after they were healed.
    pub(crate) settle: u64,
    pub(crate) watchdog: Option<Duration>,
    pub(crate) keep: Keep,
    pub(crate) checkpoint_every: u64,
    pub(crate) record_choices: usize,
    pub(crate) replay: Option<Arc<Choices>>,
    pub(crate) default_link: Link,
    pub(crate) hash_payloads: bool,
    pub(crate) hosts_hash: u64,
}

impl Config {
    pub(crate) fn new(seed: u64) -> Config {
        Config {
            seed,
            seed_of: SeedOf::Code,
            scenario: None,
            replay_with: None,
            horizon: None,
            strategy: Strategy::Random,
            livelock: LIVELOCK,
            timer_jitter: 0,
            leak_check: true,
            faults: Faults::none(),
            heal_at: None,
            settle: SETTLE,
            watchdog: None,
            keep: Keep::Tail(10_000),
            checkpoint_every: 0,
            record_choices: 0,
            replay: None,
            default_link: Link::lan(),
            hash_payloads: true,
            hosts_hash: 0,
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        let words = [
            TRACE_VERSION,
            self.horizon.unwrap_or(u64::MAX),
            self.strategy.number(),
            self.timer_jitter,
            u64::from(self.leak_check),
            u64::from(self.hash_payloads),
            self.settle,
            self.hosts_hash,
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        xxh64(&bytes, 0)
    }
}
