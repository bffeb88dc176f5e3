//! The `bowline` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    bowline_cli::run(std::env::args().skip(1))
}
