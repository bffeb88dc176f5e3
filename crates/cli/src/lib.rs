//! The `bowline` command: calls methods of a broker, lists and watches them, and measures how fast
//! they are.
//!
//! ```text
//! bowline call --to 127.0.0.1:15383 --project shop price '"rope"' 3
//! ```
//!
//! What can be said to it is told by `bowline --help`. It uses the public side of `bowline::rpc` alone:
//! calls by name with JSON, and the reserved methods of `bowline::rpc::sys`, which a broker answers to
//! those who may know.
//!
//! # How it ends
//! With 0 where all went well, 1 where the method failed in its own terms, 2 where the command line is
//! wrong, 3 where there is no connection, and 4 where a call failed otherwise. Failures are one JSON object
//! on standard error; answers are JSON, or a table, on standard output.

mod bench;
mod call;
mod command_line;
mod connection;
mod failure;
mod list;
mod table;
mod watch;

use std::process::ExitCode;

use bowline::backend::Backend;
use bowline::concurrency::Root;
use bowline::rpc::TcpBroker;

use command_line::{Command, Parsed};
use failure::Failure;

/// Does what these arguments, which the name of the program does not precede, say; and how the program
/// is to end.
///
/// ```
/// use std::process::ExitCode;
///
/// let ended = bowline_cli::run(["--help".to_owned()]);
/// assert_eq!(format!("{ended:?}"), format!("{:?}", ExitCode::SUCCESS));
/// ```
pub fn run(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let (connection, command) = match command_line::parse(arguments) {
        Ok(Parsed::Run(connection, command)) => (connection, command),
        Ok(Parsed::Help(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => return Failure::Usage(wrong).report(),
    };
    let root = Root::new().backend(Backend::Tokio);
    let ended = root.block_on(async {
        let builder = connection.builder()?;
        let done = builder.run(async |broker: TcpBroker| -> Result<(), Failure> {
            match &command {
                Command::Call(call) => call::run(&broker, call).await,
                Command::List(list) => list::run(&broker, list).await,
                Command::Watch(watch) => watch::run(&broker, watch).await,
                Command::Bench(bench) => bench::run(&broker, bench).await,
            }
        });
        done.await
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
