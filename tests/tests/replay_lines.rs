//! What a test in the simulator prints when it fails: one line that runs it again.

use std::process::Command;

use bowline::concurrency::sleep_forever;
use bowline::sim::always;
use bowline_backend::entropy::random_u64;

/// In a child process of this binary: how to fail.
const FAIL: &str = "BOWLINE_TEST_FAIL_HOW";

/// Fails under about one seed of three, or all, as the environment says; a test of its own otherwise.
#[bowline::test(sim, seeds = 40)]
async fn fails_as_told() -> Result<(), &'static str> {
    let Ok(how) = std::env::var(FAIL) else {
        return Ok(());
    };
    if how == "all" || random_u64().is_multiple_of(3) {
        match how.as_str() {
            "panic" => panic!("as told"),
            "always" => always!("as-told", false),
            "deadlock" => match sleep_forever().await {},
            _ => return Err("as told"),
        }
    }
    Ok(())
}

/// Runs the test above; what it prints when it fails.
fn failed(how: &str, seed: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "fails_as_told::sim", "--nocapture"]);
    command.env(FAIL, how).env_remove("BOWLINE_SIM_SEED");
    if let Some(seed) = seed {
        command.env("BOWLINE_SIM_SEED", seed);
    }
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{how}: {text}");
    text
}

fn replay_lines(text: &str) -> Vec<&str> {
    let told = |line: &&str| line.contains("BOWLINE_SIM_SEED") || line.starts_with("replay:");
    text.lines().filter(told).collect()
}

// SIM80
#[test]
fn a_failing_test_prints_one_line_that_runs_it_again() {
    for how in ["panic", "always", "deadlock", "error"] {
        let text = failed(how, None);
        let lines = replay_lines(&text);
        assert_eq!(lines.len(), 1, "{how}: {text}");
        let line = lines[0].strip_prefix("replay: BOWLINE_SIM_SEED=");
        let (seed, command) = line
            .and_then(|line| line.split_once(' '))
            .expect("a command");
        assert_eq!(command, "cargo test fails_as_told::sim");
        // That seed alone fails in the same way, and tells the same line.
        let again = failed(how, Some(seed));
        assert_eq!(replay_lines(&again), lines, "{how}: {again}");
    }
}

// SIM80
#[test]
fn the_last_seed_of_all_is_run_too() {
    let seed = u64::MAX.to_string();
    let text = failed("all", Some(&seed));
    let line = format!("replay: BOWLINE_SIM_SEED={seed} cargo test fails_as_told::sim");
    assert_eq!(replay_lines(&text), [line]);
}
