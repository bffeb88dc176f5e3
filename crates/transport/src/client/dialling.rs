//! How a connection comes about: attempts, with pauses in between.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::time::Instant;
use bowline_concurrency::{Backoff, now, sleep_until, timeout, timeout_at};

use super::board::{Board, ClientState};
use crate::attribute::{Extra, PeerAddr};
use crate::dyn_transport::{BoxFuture, DynTransport};
use crate::error::{Error, ErrorKind, Operation, TimeLimit};
use crate::scheme::{CONNECT_WITHIN, DialOptions};

/// How long a connection has to last for the next attempts to be counted from one again.
const GOOD: Duration = Duration::from_secs(10);

/// How much longer than it may take an attempt is left alone before it is begun anew: who waits for it,
/// and is only slow, polls it before.
const LATE: Duration = Duration::from_secs(10);

/// Makes one connection.
pub(super) type Dial<S, R> = Arc<
    dyn Fn(&DialOptions) -> BoxFuture<'static, Result<DynTransport<S, R>, Error>> + Send + Sync,
>;

/// What is done with a connection before anybody else uses it.
pub(super) type OnConnect<S, R> = Arc<
    dyn Fn(DynTransport<S, R>) -> BoxFuture<'static, Result<DynTransport<S, R>, Error>>
        + Send
        + Sync,
>;

/// What a client was told of connecting.
pub(super) struct Setup<S, R> {
    pub(super) dial: Dial<S, R>,
    /// How long one dial takes at most, where that is known.
    pub(super) limit: Option<Duration>,
    pub(super) options: DialOptions,
    pub(super) on_connect: Option<OnConnect<S, R>>,
    /// How long that takes at most.
    pub(super) on_connect_timeout: Duration,
    pub(super) backoff: Option<Backoff>,
    pub(super) attempts: usize,
    pub(super) overall: Duration,
}

impl<S, R> Clone for Setup<S, R> {
    fn clone(&self) -> Self {
        Setup {
            dial: self.dial.clone(),
            options: self.options.clone(),
            on_connect: self.on_connect.clone(),
            ..*self
        }
    }
}

/// What an attempt needs, apart from the connection that it is to replace.
///
/// What is known of the attempts is kept here and not in the future that makes them: where nobody
/// waits any more that future is dropped, and the next one goes on from here.
pub(super) struct Dialling<S, R> {
    setup: Mutex<Setup<S, R>>,
    series: Mutex<Series>,
    pub(super) board: Board,
}

/// Attempts and short connections since the last good one.
///
/// An attempt counts once it has ended: one that is dropped before, as nobody waits for it any more,
/// leaves nothing but the pause after it.
#[derive(Clone, Copy, Default)]
struct Series {
    /// Connections that were made, or not.
    attempts: usize,
    /// Of them those that failed, or broke.
    failures: usize,
    began: Option<Instant>,
    /// No attempt before this.
    until: Option<Instant>,
}

impl<S, R> Dialling<S, R> {
    pub(super) fn new(dial: Dial<S, R>) -> Self {
        Dialling {
            setup: Mutex::new(Setup {
                dial,
                limit: None,
                options: DialOptions::default(),
                on_connect: None,
                on_connect_timeout: CONNECT_WITHIN,
                backoff: None,
                attempts: usize::MAX,
                overall: Duration::MAX,
            }),
            series: Mutex::default(),
            board: Board::new(),
        }
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Setup<S, R>)) {
        // What is replaced is dropped here, under the lock: nobody else has it, before the first use.
        change(&mut self.setup.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn setup(&self) -> Setup<S, R> {
        let setup = self.setup.lock();
        setup.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, or why there is none: with a backoff, why there will be none.
    pub(super) async fn run(self: Arc<Self>) -> Result<DynTransport<S, R>, Error> {
        let setup = self.setup();
        let Some(backoff) = setup.backoff else {
            self.board.show(ClientState::Connecting(1));
            return attempt(&setup).await;
        };
        if let Err(invalid) = backoff.check() {
            return Err(Error::new(Operation::Connect, ErrorKind::Config).with_source(invalid));
        }
        loop {
            let until = self.series().until;
            if let Some(until) = until.filter(|until| *until > now()) {
                self.board.show(ClientState::Waiting(until));
                sleep_until(until).await;
            }
            let begins = now();
            let (number, began) = {
                let mut series = self.series();
                // Said before it begins: who drops it may have no clock.
                let pause = backoff.pause(series.failures.max(1));
                series.until = Some(begins.saturating_add(pause));
                (series.attempts + 1, series.began.unwrap_or(begins))
            };
            self.board.show(ClientState::Connecting(number));
            let deadline = end_of(began, setup.overall);
            let made = timeout_at(deadline, attempt(&setup)).await;
            self.ended(began);
            let error = match made {
                Ok(Ok(transport)) => return Ok(transport),
                Ok(Err(error)) => error,
                Err(_) => Error::new(Operation::Connect, ErrorKind::ConnectTimeout)
                    .with_source(TimeLimit::new("there was no connection", setup.overall)),
            };
            if !is_worth_another(&error) || !self.goes_on(&setup, backoff) {
                return Err(error);
            }
        }
    }

    /// Counts an attempt that ended, well or not, of a series that began then.
    fn ended(&self, began: Instant) {
        let mut series = self.series();
        series.attempts += 1;
        series.began.get_or_insert(began);
    }

    /// For an attempt that failed, or a connection that broke: decides when the next one is, or that
    /// there is none.
    fn goes_on(&self, setup: &Setup<S, R>, backoff: Backoff) -> bool {
        let now = now();
        let mut series = self.series();
        series.failures += 1;
        let failures = series.failures;
        let began = *series.began.get_or_insert(now);
        let attempts = series.attempts;
        drop(series);
        let until = now.saturating_add(backoff.pause(failures));
        if attempts >= setup.attempts || until >= end_of(began, setup.overall) {
            return false;
        }
        self.series().until = Some(until);
        true
    }

    /// When an attempt that was just polled has been polled again, if anybody waits for it, as some timer
    /// of it wakes him before.
    pub(super) fn due(&self) -> Instant {
        let setup = self.setup.lock();
        let setup = setup.unwrap_or_else(PoisonError::into_inner);
        let after = match setup.on_connect {
            Some(_) => setup.on_connect_timeout,
            None => Duration::ZERO,
        };
        let Some(limit) = setup.limit.and_then(|limit| limit.checked_add(after)) else {
            return Instant::NEVER;
        };
        // A pause that was waited for alone is over then, or begun anew with what is left of it.
        now().saturating_add(limit).saturating_add(LATE)
    }

    /// How many attempts were made without a connection that lasts, and since when.
    pub(super) fn tried(&self) -> (usize, Duration) {
        let series = *self.series();
        let since = series.began.zip(clock());
        let since = since.map_or(Duration::ZERO, |(began, now)| now - began);
        (series.attempts, since)
    }

    /// Notes that the connection made at `since` broke for this cause; whether there is to be another one.
    pub(super) fn broke(&self, since: Option<Instant>, cause: &Error) -> bool {
        let setup = self.setup();
        let Some(backoff) = setup.backoff else {
            return false;
        };
        if since.is_some_and(|since| now() - since >= GOOD) {
            *self.series() = Series::default();
        }
        // A server says so of TLS 1.3 when the connection is there.
        self.goes_on(&setup, backoff) && !lacks_certificate(cause)
    }

    /// Notes that we gave up the connection made at `since`; whether there may be another one. If something
    /// was `heard` on it the peer is at work, and only slow: the count begins again, and the next is made at
    /// once. So it is the first time that nothing was; then it counts as a break, with the pause that runs
    /// since the attempt.
    pub(super) fn gave_up(&self, since: Option<Instant>, heard: bool) -> bool {
        let setup = self.setup();
        if setup.backoff.is_none() {
            return true;
        }
        if heard {
            *self.series() = Series::default();
            return true;
        }
        let now = clock();
        // Without a clock it did not.
        let lasted = since
            .zip(now)
            .is_some_and(|(since, now)| now - since >= GOOD);
        let mut series = self.series();
        if lasted {
            *series = Series::default();
        }
        series.failures += 1;
        if series.failures == 1 {
            series.until = None;
        }
        let begun = series.began.zip(now);
        let late = begun.is_some_and(|(began, now)| now >= end_of(began, setup.overall));
        series.attempts < setup.attempts && !late
    }
}

async fn attempt<S, R>(setup: &Setup<S, R>) -> Result<DynTransport<S, R>, Error> {
    let transport = (setup.dial)(&setup.options).await?;
    let Some(on_connect) = &setup.on_connect else {
        return Ok(transport);
    };
    let most = setup.on_connect_timeout;
    // Where no backend runs there is no clock.
    if most == Duration::MAX || clock().is_none() {
        return on_connect(transport).await;
    }
    let peer = transport.extra::<PeerAddr>();
    let done = timeout(most, on_connect(transport)).await;
    done.unwrap_or_else(|_| {
        Err(Error::new(Operation::Connect, ErrorKind::ConnectTimeout)
            .with_peer(peer)
            .with_source(TimeLimit::new("`on_connect` did not end", most)))
    })
}

/// What time it is, where that is known: whoever drops a call may stand anywhere.
fn clock() -> Option<Instant> {
    Backend::current().ok().and_then(Backend::try_now)
}

fn end_of(began: Instant, overall: Duration) -> Instant {
    match overall {
        Duration::MAX => Instant::NEVER,
        overall => began.saturating_add(overall),
    }
}

/// Whether the same may work later: whatever the network, or somebody in it, may have done passes. What is
/// wrong on our side stays so.
fn is_worth_another(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Config | ErrorKind::Unsupported) && !lacks_certificate(error)
}

/// Whether it is a certificate of ours that is missing.
fn lacks_certificate(error: &Error) -> bool {
    #[cfg(feature = "tls")]
    return crate::tls::wants_certificate(error);
    #[cfg(not(feature = "tls"))]
    {
        let _ = error;
        false
    }
}
