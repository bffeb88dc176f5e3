//! What the expansion of `#[bowline::test]` calls.

use std::future::Future;
use std::process::Termination;

use bowline_backend::Backend;
use bowline_concurrency::Root;

/// Runs one test in a root of its own.
#[inline]
pub fn test_on<F: Future<Output: Termination>>(backend: &str, test: fn() -> F) -> F::Output {
    let backend = Backend::from_name(backend).expect("the feature of the backend is on");
    Root::new()
        .backend(backend)
        .refuse_dropped_shields()
        .block_on(test())
}

/// Runs one test once for each seed, in a world and a root of its own; the seed of a failure is
/// printed.
///
/// `BOWLINE_SIM_SEED` stands for the whole range, to run a failure again. Of several seeds it is
/// asked that each `sometimes!` they reached was true under one of them.
#[cfg(feature = "sim")]
#[inline]
#[track_caller]
pub fn test_in_sim<F: Future<Output: Termination>>(
    seeds: std::ops::Range<u64>,
    test: fn() -> F,
) -> std::process::ExitCode {
    let chosen = std::env::var("BOWLINE_SIM_SEED").ok();
    // Beside a range, which has no room for the last seed of all.
    let alone = match chosen.map(|text| text.parse::<u64>()) {
        None => None,
        Some(Ok(seed)) => Some(seed),
        Some(Err(error)) => panic!("BOWLINE_SIM_SEED is not a number: {error}"),
    };
    let test_name = std::thread::current().name().unwrap_or_default().to_owned();
    let line = format!("BOWLINE_SIM_SEED={{seed}} cargo test {test_name}");
    let mut sometimes = std::collections::BTreeMap::new();
    let row = match alone {
        None => seeds.clone(),
        Some(_) => 0..0,
    };
    for seed in row.chain(alone) {
        let mut told = Told {
            seed,
            telling: bowline_sim::check::Telling {
                sometimes,
                replay_with: line.clone(),
                told: false,
            },
        };
        let root = Root::new().backend(Backend::Sim).refuse_dropped_shields();
        let main = root.entered(test());
        let code = bowline_sim::check::block_on_telling(seed, main, &mut told.telling).report();
        if code != std::process::ExitCode::SUCCESS {
            return code;
        }
        told.telling.told = true;
        sometimes = std::mem::take(&mut told.telling.sometimes);
    }
    let never: Vec<_> = sometimes
        .iter()
        .filter(|(_, was_true)| !**was_true)
        .collect();
    let many = alone.is_none() && seeds.end.saturating_sub(seeds.start) > 1;
    if many && !never.is_empty() {
        for (id, _) in never {
            eprintln!("sometimes {id:?} was true under none of the seeds {seeds:?}");
        }
        // No panic: a test that is expected to panic is not meant by it.
        return std::process::ExitCode::FAILURE;
    }
    std::process::ExitCode::SUCCESS
}

/// Says how to run the seed again, unless that was told; also while a panic unwinds.
#[cfg(feature = "sim")]
struct Told {
    seed: u64,
    telling: bowline_sim::check::Telling,
}

#[cfg(feature = "sim")]
impl Drop for Told {
    fn drop(&mut self) {
        if !self.telling.told {
            let line = &self.telling.replay_with;
            eprintln!("replay: {}", line.replace("{seed}", &self.seed.to_string()));
        }
    }
}
