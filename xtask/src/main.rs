//! Every developer command of the workspace: `cargo xtask <command>`.
//!
//! Each command prints the programs it runs, so that any step can be repeated by hand. There are
//! no dependencies: `cargo xtask ci` starts working on a clean clone within seconds.

mod bench;
mod ci;
mod docs;
mod features;
mod fuzz;
mod interop;
mod layers;
mod loom;
mod manifest;
mod msrv;
mod process;
mod sanitize;
mod scenario;
mod spec;
mod stress;
mod test;
mod tidy;
mod tree;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  ci                         everything below that gates a change, in order
  test [ARGS]                all tests on every backend (nextest where installed), then doc tests;
                             ARGS go to the test runner
  features                   each crate with each single feature and with none
  msrv                       all of it under the oldest compiler that `rust-version` promises
  layers                     who may depend on whom; no runtime below the pure crates, no tracing
                             without its feature
  tidy                       file lengths, names, words
  spec [--fix]               every promise in docs/behaviours is named by a test, and back;
                             --fix sets and clears the `(not built)` marks
  docs                       the guide's code, links between documents, API docs without warnings
  sim SCENARIO --seed N [--until EVENT] [--record FILE]
                             one simulated run; its choices go to FILE
  sim SCENARIO --replay FILE one run from such a file
  sim SCENARIO|all --seeds N [--from K] [--jobs J] [--time SECONDS]
                             N simulated runs, seeds K, K + 1, ...; with a time alone, as many as it
                             allows from a seed that nobody has run
  sim differential --seeds N [--from K]
                             N random scripts of socket operations, on this system and in worlds
  bench NAME                 a benchmark; its table goes to docs/performance.md
  bench instructions         instructions of codecs, counted by valgrind where it is installed; fails
                             where there are more than its limits allow
  interop                    EasyNetwork and Python's ssl against ours; needs python3 and a network
  stress [RUNS [LOAD]]       the conformance suite RUNS times in a row (200) beside LOAD busy loops (2)
  loom                       models of races, in every interleaving; a few minutes, mostly to build
  sanitize                   what is unsafe in channels and concurrency under sanitizers; needs a nightly compiler
  fuzz TARGET [SECONDS]      a fuzz target under libFuzzer (60 s unless said)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = match tree::root() {
        Ok(root) => root,
        Err(why) => return fail(&why),
    };
    let outcome = match words.as_slice() {
        ["ci"] => ci::run(&root),
        ["test", rest @ ..] => test::run(&root, rest),
        ["features"] => features::run(&root),
        ["msrv"] => msrv::run(&root),
        ["layers"] => layers::run(&root),
        ["tidy"] => tidy::run(&root),
        ["spec"] => spec::check(&root),
        ["spec", "--fix"] => spec::fix(&root),
        ["docs"] => docs::run(&root),
        ["sim", scenario, rest @ ..] => scenario::run(&root, scenario, rest),
        ["interop"] => interop::run(&root),
        ["bench", name] => bench::run(&root, name),
        ["stress"] => stress::run(&root, "200", "2"),
        ["stress", runs] => stress::run(&root, runs, "2"),
        ["stress", runs, load] => stress::run(&root, runs, load),
        ["loom"] => loom::run(&root),
        ["sanitize"] => sanitize::run(&root),
        ["fuzz", target] => fuzz::run(&root, target, "60"),
        ["fuzz", target, seconds] => fuzz::run(&root, target, seconds),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(format!("unknown command `{}`\n\n{USAGE}", other.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("xtask: {why}");
    ExitCode::FAILURE
}
