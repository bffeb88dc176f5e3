//! A server in a process of its own, which mostly is this program once more with other arguments.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::allocations;

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
        let (allocations, live_bytes) = answer.split_once(' ').expect("two numbers");
        Memory {
            allocations: allocations.parse().expect("a number"),
            live_bytes: live_bytes.parse().expect("a number"),
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
            println!("{} {}", allocations::count(), allocations::live_bytes());
        }
        std::process::exit(0);
    });
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
