//! The line that a failure prints to run it again.

use crate::builder::Config;
use std::sync::Arc;

/// Name of the environment variable that the line sets where nothing else is known.
pub(crate) const SEED_VARIABLE: &str = "BOWLINE_SIM_SEED";

/// Who said which seed it is, and so what has to be done to say it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeedOf {
    /// The code of the test: it says the same again.
    Code,
    /// The environment variable, or the test where it is not set.
    Environment,
    /// A row of seeds.
    Row,
}

/// What to run again, and how.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    seed: u64,
    seed_of: SeedOf,
    scenario: Option<String>,
    /// The line with places for what it is about.
    template: Option<Arc<str>>,
    /// Whether its choices came from a list instead of the seed.
    from_list: bool,
}

impl Replay {
    pub(crate) fn of(config: &Config) -> Replay {
        Replay {
            seed: config.seed,
            seed_of: config.seed_of,
            scenario: config.scenario.clone(),
            template: config.replay_with.clone(),
            from_list: config.replay.is_some(),
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The line that runs the world again up to `event`.
    pub(crate) fn line(&self, event: u64) -> String {
        let seed = self.seed;
        let scenario = self.scenario.as_deref();
        match (self.from_list, &self.template, scenario) {
            (true, _, Some(name)) => {
                format!("cargo xtask sim {name} --replay FILE --until {event}")
            }
            (true, _, None) => {
                format!("the list of choices that it was given # fails at event {event}")
            }
            (false, Some(template), _) => template
                .replace("{scenario}", scenario.unwrap_or_default())
                .replace("{seed}", &seed.to_string())
                .replace("{event}", &event.to_string()),
            (false, None, Some(name)) => {
                format!("cargo xtask sim {name} --seed {seed} --until {event}")
            }
            (false, None, None) => match self.seed_of {
                SeedOf::Code => {
                    format!(
                        "the same again # seed {seed} stands in its code; fails at event {event}"
                    )
                }
                SeedOf::Environment => {
                    format!("{SEED_VARIABLE}={seed} cargo test # fails at event {event}")
                }
                SeedOf::Row => {
                    // A range does not reach the last seed of all.
                    let next = seed.saturating_add(1);
                    format!("the same with `Sim::seeds({seed}..{next})` # fails at event {event}")
                }
            },
        }
    }
}
