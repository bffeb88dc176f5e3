//! A server in a process of its own, which mostly is this program once more with other arguments.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::{allocations, rounds};

/// A server that runs until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the server"]
pub struct ServerProcess {
    child: Child,
    questions: Option<ChildStdin>,
    answers: std::io::Lines<BufReader<ChildStdout>>,
    port: u16,
}

/// What a server has, by its own allocator.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Allocations and growths so far.
    pub allocations: u64,
    /// Bytes held now.
    pub live_bytes: i64,
    /// Bytes of the process in memory, where the system says so (Linux).
    pub resident_bytes: i64,
    /// Processor time of all its threads so far.
    pub processor_time: Duration,
}

impl ServerProcess {
    /// Starts this program with `arguments`; it is to call [`answer_questions`] and [`say_port`].
    ///
    /// # Panics
    ///
    /// Where it cannot be started or ends without a word.
    pub fn start(arguments: &[&str]) -> ServerProcess {
        let program = std::env::current_exe().expect("it runs");
        ServerProcess::of(Command::new(program).args(arguments))
    }

    /// Starts another program, which is to say its port on a line, and to end once its standard input
    /// does.
    ///
    /// # Panics
    ///
    /// Where it cannot be started or ends without a word.
    pub fn of(program: &mut Command) -> ServerProcess {
        let started = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.expect("a server starts");
        let questions = child.stdin.take();
        let stdout = child.stdout.take().expect("it is a pipe");
        let mut answers = BufReader::new(stdout).lines();
        let port = answers.next().expect("a port").expect("a line");
        ServerProcess {
            child,
            questions,
            answers,
            port: port.parse().expect("a number"),
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has now.
    ///
    /// # Panics
    ///
    /// Where it has ended.
    pub fn memory(&mut self) -> Memory {
        let questions = self.questions.as_mut().expect("it runs");
        questions.write_all(b"\n").expect("it listens");
        let answer = self.answers.next().expect("it answers").expect("a line");
        let mut numbers = answer
            .split(' ')
            .map(|number| number.parse().expect("a number"));
        let mut next = || -> i64 { numbers.next().expect("one more number") };
        Memory {
            allocations: next().cast_unsigned(),
            live_bytes: next(),
            resident_bytes: next(),
            processor_time: Duration::from_nanos(next().cast_unsigned()),
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}

/// For the server: answers [`ServerProcess::memory`] from a thread, and ends the process once nobody
/// asks any more.
pub fn answer_questions() {
    std::thread::spawn(|| {
        for _ in std::io::stdin().lines() {
            println!(
                "{} {} {} {}",
                allocations::count(),
                allocations::live_bytes(),
                resident_bytes(),
                rounds::process_time().as_nanos(),
            );
        }
        std::process::exit(0);
    });
}

/// Bytes of this process in memory; 0 where the system does not say.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kibibytes.map_or(0, |number| number.parse::<i64>().expect("a number") * 1024)
}

/// For the server: says where it listens.
///
/// # Panics
///
/// Where nobody reads it.
pub fn say_port(port: u16) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{port}").expect("somebody reads");
    out.flush().expect("somebody reads");
}
