//! The adapter of async-std, which its authors discontinued in favour of smol. Its executor belongs
//! to the process: tasks outlive `block_on`.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock};

use async_io::Async;

use crate::Backend;
use crate::async_io_socket::{self, ReactorTimer};
use crate::blocking::Job;
use crate::capabilities::Capabilities;
use crate::running::Running;
use crate::runtime::{Runtime, Types};
use crate::signal::Signal;
use crate::socket::Kernel;
use crate::system::System;
use crate::task::{Detached, RunOptions};

#[derive(Debug)]
pub(crate) struct AsyncStd;

/// The jobs of the process, for its pool is the process's.
static JOBS: LazyLock<Running> = LazyLock::new(Running::default);

/// Whether this thread polls a task of async-std.
pub(crate) fn in_task() -> bool {
    async_std::task::try_current().is_some()
}

/// Nothing to restore: the executor is the process's.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Process;

impl Types for AsyncStd {
    type Context = Process;
    type Timer = ReactorTimer;
    type Signals = async_signal::Signals;
}

impl System for AsyncStd {}

impl Runtime for AsyncStd {
    const CAPABILITIES: Capabilities = Capabilities {
        drops_tasks_on_exit: false,
        ..Capabilities::REAL
    };

    fn is_running() -> bool {
        true
    }

    fn context() -> Process {
        Process
    }

    fn within<R>(Process: &Process, act: impl FnOnce() -> R) -> R {
        act()
    }

    fn block_on<F: Future>(options: RunOptions, future: F) -> F::Output {
        let run = AssertUnwindSafe(|| async_std::task::block_on(future));
        let outcome = catch_unwind(run);
        JOBS.wait(options.blocking_grace);
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        drop(async_std::task::spawn(Detached::new(
            Backend::AsyncStd,
            future,
        )));
    }

    fn spawn_blocking(job: Job) {
        drop(async_std::task::spawn_blocking(|| JOBS.run(job)));
    }

    fn listen_signal(signal: Signal) -> io::Result<Self::Signals> {
        async_io_socket::listen_signal(signal)
    }
}

impl Kernel for AsyncStd {
    type Socket = Async<Arc<OwnedFd>>;
}
