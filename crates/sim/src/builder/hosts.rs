//! The hosts of a world, as they are described.

use super::Builder;
use crate::limits::HostLimits;
use crate::machine::{Clock, MainFuture, Role, Start};
use crate::setup::SetupError;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

/// What the future of a host or client may end with: `()`, a `Result<(), E>`, or nothing if it never
/// ends.
#[diagnostic::on_unimplemented(
    note = "a host that loops for ever is an `async fn() -> std::io::Result<()>`, or ends its block \
            with a line that is never reached, such as `Ok::<(), std::io::Error>(())`"
)]
pub trait HostOutcome {
    /// The outcome with its error as text.
    ///
    /// # Errors
    /// The text of the error it ended with.
    fn into_outcome(self) -> Result<(), String>;
}

impl HostOutcome for () {
    fn into_outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl HostOutcome for std::convert::Infallible {
    fn into_outcome(self) -> Result<(), String> {
        match self {}
    }
}

impl<E: fmt::Display> HostOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// A host or client as it was described.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) start: Start,
    pub(super) limits: HostLimits,
    pub(super) clock: Clock,
    pub(super) may_crash: bool,
    pub(super) location: &'static Location<'static>,
}

impl Builder {
    /// Adds a host that serves. Its error or panic is a crash, counted in the report.
    #[track_caller]
    pub fn host<F, T>(self, name: &str, main: impl Fn() -> F + 'static) -> Builder
    where
        F: Future<Output = T> + 'static,
        T: HostOutcome,
    {
        self.add(name, Role::Host, main, Location::caller())
    }

    /// Adds a client. The run ends when all clients are done; an error or panic of one fails it.
    #[track_caller]
    pub fn client<F, T>(self, name: &str, main: impl Fn() -> F + 'static) -> Builder
    where
        F: Future<Output = T> + 'static,
        T: HostOutcome,
    {
        self.add(name, Role::Client, main, Location::caller())
    }

    /// Makes an error or panic of the host `name`, added before, a failure of the run.
    pub fn host_must_not_fail(self, name: &str) -> Builder {
        self.plan("host_must_not_fail", name, |host| {
            if host.role == Role::Host {
                host.role = Role::FaithfulHost;
            }
        })
    }

    /// Makes it no matter if the client `name`, added before, [crashes](crate::World::crash) and is not
    /// started again: it is then done. No client is by default, and a run without one fails.
    pub fn client_may_crash(self, name: &str) -> Builder {
        self.plan("client_may_crash", name, |host| host.may_crash = true)
    }

    /// Sets what the host or client `name`, added before, has at most.
    pub fn limits(self, name: &str, limits: HostLimits) -> Builder {
        self.plan("a limit", name, |host| host.limits = limits)
    }

    /// Makes the clocks of the host or client `name`, added before, too fast by so many parts per
    /// million, or too slow (default 0). Its sleeps and timeouts go by them.
    pub fn clock_drift(self, name: &str, parts_per_million: i32) -> Builder {
        self.plan("a clock drift", name, |host| {
            host.clock.drift = parts_per_million;
        })
    }

    /// Changes the host `name`; what names none is told by [`check`](Self::check).
    fn plan(mut self, by: &str, name: &str, change: impl FnOnce(&mut Planned)) -> Builder {
        match self.hosts.iter_mut().find(|host| host.name == name) {
            Some(host) => change(host),
            None => {
                let hosts = self.hosts.iter().map(|host| host.name.as_str());
                let error = SetupError::unknown(by, name, hosts);
                self.wrong.get_or_insert(error);
            }
        }
        self
    }

    fn add<F, T>(
        mut self,
        name: &str,
        role: Role,
        main: impl Fn() -> F + 'static,
        location: &'static Location<'static>,
    ) -> Builder
    where
        F: Future<Output = T> + 'static,
        T: HostOutcome,
    {
        let start = move || -> MainFuture {
            let main = main();
            Box::pin(async move { main.await.into_outcome() })
        };
        self.hosts.push(Planned {
            name: name.to_owned(),
            role,
            start: Rc::new(start),
            limits: HostLimits::default(),
            clock: Clock::default(),
            may_crash: false,
            location,
        });
        self
    }
}
