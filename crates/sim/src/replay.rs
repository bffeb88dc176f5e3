//! The line that a failure prints to run it again.

use crate::builder::Config;
use std::sync::Arc;

/// Name of the environment variable that the line sets where nothing else is known.
pub(crate) const SEED_VARIABLE: &str = "BOWLINE_SIM_SEED";

/// What to run again, and how.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    seed: u64,
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
            (false, None, None) => format!(
                "{SEED_VARIABLE}={seed} cargo test # with `seed_from_env`; fails at event {event}"
            ),
        }
    }
}
