//! One child process.

use std::io;
use std::os::fd::OwnedFd;
pub(super) use std::os::unix::net::UnixStream as Socket;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bowline_backend::blocking;
use bowline_concurrency::{sleep, timeout};
use rustix::process::{Pid, Signal, kill_process};

use super::Options;
use super::build::{FileName, this_program};
use super::worker::{CALLS, GRACE, POOL, PROGRAM};

/// Between SIGTERM and SIGKILL.
pub(super) const TERMINATION: Duration = Duration::from_secs(1);
/// Longest pause between two looks whether a child has ended.
const LONGEST_LOOK: Duration = Duration::from_millis(20);

/// A child; killed and reaped when it is dropped.
#[derive(Debug)]
pub(super) struct Child {
    pid: u32,
    /// Taken by the end alone.
    process: Option<Process>,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts one; its standard input is the other end of the socket.
    pub(super) async fn start(options: &Options) -> io::Result<(Child, Socket)> {
        let (ours, theirs) = Socket::pair()?;
        let program = match &options.program {
            Some(program) => program.clone(),
            None => this_program()?,
        };
        let mut command = Command::new(program);
        if let Ok(name) = this_program().and_then(|ours| FileName::of(&ours)) {
            command.env(PROGRAM, name.to_string());
        }
        command
            .env(POOL, &*options.pool)
            .env(CALLS, options.calls_per_worker.to_string())
            .env(GRACE, millis(options.cancel_grace).to_string())
            .envs(
                options
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            // What a terminal sends to this program is not for the calls of its children.
            .process_group(0);
        // Dropped there, with our copy of their end; and if nobody waits any more so is the child,
        // which a process of the standard library would outlive.
        let start = move || {
            let process = command.spawn()?;
            Ok(Child {
                pid: process.id(),
                process: Some(process),
                ended: None,
            })
        };
        let started = blocking::spawn_blocking(start).await;
        let child = started.unwrap_or_else(|error| Err(io::Error::other(error.to_string())))?;
        Ok((child, ours))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended; it is reaped then.
    pub(super) fn has_ended(&mut self) -> bool {
        self.look().is_some()
    }

    /// Waits until it has ended; it is reaped then.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = self.look() {
                return status;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it, with more and more force; `grace` is for its own end.
    pub(super) async fn end(&mut self, grace: Duration) -> Option<ExitStatus> {
        if let Ok(status) = timeout(grace, self.ended()).await {
            return status;
        }
        self.terminate();
        self.end_or_kill(TERMINATION).await
    }

    /// Kills it if it has not ended by itself within `grace`.
    pub(super) async fn end_or_kill(&mut self, grace: Duration) -> Option<ExitStatus> {
        if let Ok(status) = timeout(grace, self.ended()).await {
            return status;
        }
        self.signal(Signal::KILL);
        self.ended().await
    }

    /// Kills it, and waits until it is reaped.
    pub(super) async fn kill(mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Whether it has ended, and how, if the system says so.
    fn look(&mut self) -> Option<Option<ExitStatus>> {
        match self.process.as_mut()?.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => {
                self.ended = Some(status);
                Some(Some(status))
            }
            // Somebody else reaped it.
            Err(_) => Some(None),
        }
    }

    fn signal(&self, signal: Signal) {
        if self.ended.is_none()
            && let Some(pid) = Pid::from_raw(self.pid.cast_signed())
        {
            // Not reaped, so nobody else has its pid.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() && self.look().is_none() {
            self.signal(Signal::KILL);
            reap(self.process.take());
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Waits for a process that was killed: on a thread of its own, as whoever drops it may be a task, and
/// its end may take a while.
#[expect(
    clippy::disallowed_methods,
    reason = "there are no processes in simulated worlds"
)]
fn reap(process: Option<Process>) {
    let waits = Arc::new(Mutex::new(process));
    let shared = waits.clone();
    let wait = move || {
        let process = waits.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(process.map(|mut process| process.wait()));
    };
    let thread = thread::Builder::new().name("bowline-reaper".into());
    if thread.stack_size(64 * 1024).spawn(wait).is_err() {
        let process = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(process.map(|mut process| process.wait()));
    }
}

/// How a child ended, in words.
pub(super) fn in_words(pid: u32, status: Option<ExitStatus>) -> String {
    match status {
        None => format!("the worker {pid} is gone"),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("the worker {pid} ended with code {code}"),
            (None, Some(signal)) => format!("the worker {pid} ended by signal {signal}"),
            (None, None) => format!("the worker {pid} ended"),
        },
    }
}
