//! The adapter of async-std, which its authors discontinued in favour of smol. Its executor belongs
//! to the process: tasks outlive `block_on`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant as StdInstant};

use crate::Backend;
use crate::async_io_socket::{ReactorTimer, TcpListener, TcpStream};
use crate::blocking::Job;
use crate::capabilities::Capabilities;
use crate::entropy::system;
use crate::net::{ListenSocket, TcpListenOptions, TcpOptions};
use crate::running_jobs::RunningJobs;
use crate::runtime::{Runtime, Types};
use crate::socket;
use crate::task::{Detached, RunOptions};
use crate::time::{Instant, origin};

#[derive(Debug)]
pub(crate) struct AsyncStd;

/// The jobs of the process, for its pool is the process's.
static JOBS: RunningJobs = RunningJobs::new();

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
    type TcpStream = TcpStream;
    type TcpListener = TcpListener;
}

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
        drop(async_std::task::spawn_blocking(|| {
            let _running = JOBS.enter();
            job();
        }));
    }

    fn now() -> Instant {
        origin::from_std(StdInstant::now())
    }

    fn unix_time() -> Duration {
        origin::unix_time()
    }

    fn fill(buffer: &mut [u8]) {
        system::fill(buffer);
    }

    fn random_u64() -> u64 {
        system::random_u64()
    }

    async fn connect_tcp(to: SocketAddr, options: TcpOptions) -> io::Result<TcpStream> {
        socket::connect_tcp(to, options).await
    }

    fn bind_tcp(at: SocketAddr, options: TcpListenOptions) -> io::Result<TcpListener> {
        TcpListener::from_std(socket::listen_tcp(at, &options)?, options)
    }
}
