use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::blocking::BlockingTask;
use crate::capabilities::Capabilities;
use crate::current::{self, Attached, OUTSIDE};
use crate::runtime::{Runtime, Surroundings};
use crate::task::RunOptions;
use crate::time::{Instant, Sleep};
use crate::{blocking, entropy, task, time};

/// A runtime, as a small value. It has one variant per backend compiled in.
///
/// Nothing takes a backend as a type parameter; the ambient one is used. Only the root of a
/// program chooses, by entering with [`Backend::block_on`].
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # {
/// use bowline_backend::Backend;
///
/// let backend = Backend::from_name("tokio").unwrap();
/// let inside = backend.block_on(async { Backend::current() });
/// assert_eq!(inside, Ok(backend));
/// # }
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Backend {
    /// [tokio](https://docs.rs/tokio).
    #[cfg(feature = "tokio")]
    Tokio,
    /// The parts of [smol](https://docs.rs/smol): async-executor, async-io, blocking.
    #[cfg(feature = "smol")]
    Smol,
    /// [async-std](https://docs.rs/async-std), discontinued by its authors; here because users
    /// ask for it.
    #[cfg(feature = "async-std")]
    AsyncStd,
    /// The deterministic simulator, [bowline-sim](https://docs.rs/bowline-sim).
    #[cfg(feature = "sim")]
    Sim,
}

/// The backends compiled in, in the order in which the default is chosen.
const AVAILABLE: &[Backend] = &[
    #[cfg(feature = "tokio")]
    Backend::Tokio,
    #[cfg(feature = "smol")]
    Backend::Smol,
    #[cfg(feature = "async-std")]
    Backend::AsyncStd,
    #[cfg(feature = "sim")]
    Backend::Sim,
];

/// Index in `AVAILABLE` of what `set_default` said; the first otherwise.
static DEFAULT: AtomicUsize = AtomicUsize::new(0);

impl Backend {
    /// The backend that is current on this thread.
    ///
    /// With one backend compiled in it is that one. Otherwise, first that applies: a simulated
    /// world turning on this thread; what [`block_on`](Backend::block_on), a task or job of ours,
    /// or [`attach`](Backend::attach) set; a tokio runtime; an async-std task; the default of the
    /// process.
    ///
    /// # Errors
    ///
    /// [`NoBackend`] where none is compiled in.
    pub fn current() -> Result<Backend, NoBackend> {
        match AVAILABLE {
            [] => Err(NoBackend(())),
            [only] => Ok(*only),
            _ => Ok(current::here().unwrap_or_default()),
        }
    }

    /// Makes `backend` the default of the process and returns the former one. Only later look-ups
    /// see it.
    pub fn set_default(backend: Backend) -> Backend {
        let index = AVAILABLE.iter().position(|other| *other == backend);
        let former = DEFAULT.swap(index.unwrap_or(0), Ordering::Relaxed);
        AVAILABLE[former]
    }

    /// The backend called `name`: `tokio`, `smol`, `async-std` or `sim`.
    ///
    /// # Errors
    ///
    /// [`UnknownBackend`], which lists those compiled in.
    pub fn from_name(name: &str) -> Result<Backend, UnknownBackend> {
        let found = AVAILABLE.iter().find(|backend| backend.name() == name);
        found.copied().ok_or_else(|| UnknownBackend {
            name: name.to_owned(),
        })
    }

    /// The backends compiled in; the first is the default unless another was set.
    pub fn available() -> &'static [Backend] {
        AVAILABLE
    }

    /// Its name, as [`from_name`](Backend::from_name) takes it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "tokio")]
            Backend::Tokio => "tokio",
            #[cfg(feature = "smol")]
            Backend::Smol => "smol",
            #[cfg(feature = "async-std")]
            Backend::AsyncStd => "async-std",
            #[cfg(feature = "sim")]
            Backend::Sim => "sim",
        }
    }

    /// What it can do.
    pub fn capabilities(self) -> &'static Capabilities {
        dispatch!(self, R => &<R as Runtime>::CAPABILITIES)
    }

    /// Whether its functions can be used on this thread: always for smol and async-std, inside
    /// themselves for the others.
    pub fn is_running(self) -> bool {
        dispatch!(self, R => R::is_running())
    }

    /// Drives `future` on this thread to its end, with all threads of the machine for tasks.
    ///
    /// As [`block_on_with`](Backend::block_on_with) with default options.
    ///
    /// # Panics
    ///
    /// As [`block_on_with`](Backend::block_on_with).
    pub fn block_on<F: Future>(self, future: F) -> F::Output {
        self.block_on_with(RunOptions::default(), future)
    }

    /// Drives `future` on this thread to its end.
    ///
    /// The future need be neither `Send` nor `'static`. Before this returns, detached tasks that
    /// remain are dropped (unless the executor belongs to the process, see
    /// [`Capabilities::drops_tasks_on_exit`]), however long a poll in progress takes; then running
    /// blocking jobs are waited for at most `options.blocking_grace`. Jobs not yet begun stop.
    ///
    /// # Panics
    ///
    /// With the panic of `future`; where a backend already runs on this thread, for a nested run
    /// would starve the outer one; and where the system gives no thread or descriptor to begin with.
    pub fn block_on_with<F: Future>(self, options: RunOptions, future: F) -> F::Output {
        const {
            assert!(
                !AVAILABLE.is_empty(),
                "no backend enabled: turn on one of the features tokio, smol, eventloop, async-std, sim"
            )
        };
        current::refuse_nested();
        dispatch!(self, R => {
            let _mark = current::mark(self);
            <R as Runtime>::block_on(options, future)
        })
    }

    /// Makes this backend current around each poll and the drop of `future`.
    ///
    /// For futures that a foreign executor polls. The executor, loop or handle of this thread is
    /// restored too.
    ///
    /// # Panics
    ///
    /// Where the backend does not run on this thread, or another than `Sim` is attached inside a
    /// simulated world.
    pub fn attach<F>(self, future: F) -> Attached<F> {
        Attached::new(self, future)
    }

    /// As [`task::spawn_detached`], on this backend.
    ///
    /// # Panics
    ///
    /// Where the backend does not run on this thread.
    #[track_caller]
    pub fn spawn_detached<F>(self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        task::spawn_on(self, future);
    }

    /// As [`spawn_detached`](Self::spawn_detached), of a task that comes from `location` and not from the
    /// caller: reports of a simulated world name it by that. For what spawns later than it was asked to.
    ///
    /// # Panics
    ///
    /// Where the backend does not run on this thread.
    #[track_caller]
    pub fn spawn_detached_at<F>(self, location: &'static Location<'static>, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        dispatch!(self.running(), R => R::spawn_at(future, location));
    }

    /// As [`blocking::spawn_blocking`], on this backend.
    ///
    /// # Panics
    ///
    /// Where the backend does not run on this thread.
    #[track_caller]
    pub fn spawn_blocking<F, T>(self, job: F) -> BlockingTask<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        blocking::spawn_on(self, job)
    }

    /// As [`time::now`], on this backend's clock.
    ///
    /// # Panics
    ///
    /// In the simulator, where its world does not turn on this thread.
    pub fn now(self) -> Instant {
        dispatch!(self, R => R::now())
    }

    /// As [`now`](Backend::now), where its clock can be read: that of a simulated world only while the
    /// world turns on this thread, any other one always.
    pub fn try_now(self) -> Option<Instant> {
        let readable = !self.capabilities().virtual_time || self.is_running();
        readable.then(|| self.now())
    }

    /// As [`time::unix_time`], on this backend's clock.
    ///
    /// # Panics
    ///
    /// In the simulator, where its world does not turn on this thread.
    pub fn unix_time(self) -> Duration {
        dispatch!(self, R => R::unix_time())
    }

    /// As [`time::sleep_until`], on this backend.
    ///
    /// # Panics
    ///
    /// Where the backend does not run on this thread.
    pub fn sleep_until(self, deadline: Instant) -> Sleep {
        time::sleep_on(self, deadline)
    }

    /// As [`entropy::fill`], from this backend.
    ///
    /// # Panics
    ///
    /// Where the simulated world of this backend does not turn here or the
    /// system has no entropy to give.
    pub fn fill(self, buffer: &mut [u8]) {
        entropy::fill_from(self, buffer);
    }

    /// As [`entropy::random_u64`], from this backend.
    ///
    /// # Panics
    ///
    /// As [`fill`](Backend::fill).
    pub fn random_u64(self) -> u64 {
        entropy::random_from(self)
    }

    /// The current backend, for code that cannot go on without one.
    #[track_caller]
    pub(crate) fn required() -> Backend {
        match Backend::current() {
            Ok(backend) => backend,
            Err(error) => panic!("{error}"),
        }
    }

    /// This backend, running.
    #[track_caller]
    pub(crate) fn running(self) -> Backend {
        if !current::is_marked(self) && !self.is_running() {
            panic!("backend {} {OUTSIDE}", self.name());
        }
        self
    }
}

impl Default for Backend {
    /// The default of the process: what [`Backend::set_default`] said, else the first of tokio,
    /// smol, async-std, sim that is compiled in.
    ///
    /// # Panics
    ///
    /// Where no backend is compiled in.
    fn default() -> Backend {
        match AVAILABLE.get(DEFAULT.load(Ordering::Relaxed)) {
            Some(backend) => *backend,
            None => panic!("{}", NoBackend(())),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Backend, UnknownBackend> {
        Backend::from_name(name)
    }
}

/// No backend is compiled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoBackend(());

impl fmt::Display for NoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no backend enabled: turn on one of the features tokio, smol, eventloop, async-std, sim",
        )
    }
}

impl Error for NoBackend {}

/// A name that no compiled-in backend has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBackend {
    name: String,
}

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no backend called {:?} is compiled in; there are",
            self.name
        )?;
        if AVAILABLE.is_empty() {
            return f.write_str(" none");
        }
        let mut separator = " ";
        for backend in AVAILABLE {
            write!(f, "{separator}{backend}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl Error for UnknownBackend {}
