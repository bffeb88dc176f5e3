//! What a broker counts.

use std::sync::atomic::{AtomicU64, Ordering};

use bowline_backend::accept_error::AcceptErrorKind;

use crate::executor::JobEnd;
use crate::proto::{CloseCause, Guess, Stats, Violation};
use crate::{Certainty, Code, DrainReport};

/// What a [`TcpBroker`](crate::TcpBroker) counted since it started, and what is open now.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{Caller, Error, Registry, TcpBroker, executor::AsyncExecutor};
///
/// let registry = Registry::new("example");
/// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
/// let server = TcpBroker::builder(AsyncExecutor::new(registry, 4)).listen("127.0.0.1:0");
/// Backend::Tokio.block_on(server.run(async |server| {
///     let client = TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
///     client.run(async |c| -> Result<(), Error> {
///         c.call_named::<i64>("add", (2, 3)).await?;
///         let seen = server.statistics();
///         assert_eq!((seen.accepted, seen.ready, seen.calls_received), (1, 1, 1));
///         assert_eq!(seen.strangers.total(), 0);
///         Ok(())
///     }).await
/// }))?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStatistics {
    /// Connections that are open now, those in their handshake among them.
    pub open: usize,
    /// Of these, the ones past their handshake.
    pub ready: usize,
    /// Connections that came in and were taken on.
    pub accepted: u64,
    /// Connections that came in and were closed at once, because too many peers were in their
    /// handshake, in all or behind one network prefix.
    pub refused: u64,
    /// Connections this side made, whether or not a handshake followed.
    pub dialed: u64,
    /// Peers that do not speak this protocol.
    pub strangers: Strangers,
    /// Peers that do not fit: another project, version, codec or certificate, or no TLS.
    pub misfits: u64,
    /// Peers that broke the protocol.
    pub violations: u64,
    /// Peers whose handshake took too long.
    pub handshake_timeouts: u64,
    /// Connections that ended without a word: ended, broken, stalled or silent.
    pub lost: u64,
    /// What went wrong while connections were accepted.
    pub accept_errors: AcceptErrors,
    /// Calls that were given to a connection.
    pub calls_sent: u64,
    /// Calls of peers.
    pub calls_received: u64,
    /// What the protocol counted on connections that are over, added up.
    pub protocol: Stats,
}

/// Peers that do not speak the protocol of this crate, by what they speak instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Strangers {
    /// HTTP, of any version.
    pub http: u64,
    /// TLS where plain bytes were expected.
    pub tls: u64,
    /// SSH.
    pub ssh: u64,
    /// Nothing known.
    pub other: u64,
}

impl Strangers {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.http + self.tls + self.ssh + self.other
    }
}

/// Failures to accept a connection, by what was done about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptErrors {
    /// A connection ended before it was handed out: nothing.
    pub skipped: u64,
    /// Descriptors or memory ran out: a pause.
    pub exhausted: u64,
    /// A listener broke: the broker ends.
    pub fatal: u64,
}

/// The counters behind [`BrokerStatistics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    pub(super) dialed: Counter,
    pub(super) calls_sent: Counter,
    pub(super) calls_received: Counter,
    finished_calls: Counter,
    unbegun_calls: Counter,
    cancelled_calls: Counter,
    abandoned_calls: Counter,
    http: Counter,
    tls: Counter,
    ssh: Counter,
    other: Counter,
    misfits: Counter,
    violations: Counter,
    handshake_timeouts: Counter,
    lost: Counter,
    skipped: Counter,
    exhausted: Counter,
    fatal: Counter,
    late_frames: Counter,
    unknown_frames: Counter,
    refused_calls: Counter,
    pub(super) dropped_notifications: Counter,
}

/// A number that only grows; no order between two of them is promised.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// A connection is over, for this cause.
    pub(super) fn closed(&self, cause: &CloseCause) {
        let counter = match cause {
            CloseCause::Violation(Violation::NotOurProtocol { guess }) => Some(match guess {
                Guess::Http => &self.http,
                Guess::Tls => &self.tls,
                Guess::Ssh => &self.ssh,
                Guess::Unknown => &self.other,
            }),
            CloseCause::Violation(
                Violation::WrongProject | Violation::NothingCommon(_) | Violation::Unauthenticated,
            ) => Some(&self.misfits),
            CloseCause::Violation(_) => Some(&self.violations),
            CloseCause::HandshakeTimeout => Some(&self.handshake_timeouts),
            CloseCause::Ended
            | CloseCause::Truncated { .. }
            | CloseCause::Broken(_)
            | CloseCause::HeartbeatTimeout => Some(&self.lost),
            CloseCause::Closed(_) | CloseCause::ClosedByPeer { .. } => None,
        };
        if let Some(counter) = counter {
            counter.add(1);
        }
    }

    /// A call of a peer came to this end.
    pub(super) fn ended(&self, end: &JobEnd) {
        let counter = match end {
            JobEnd::Failed {
                code: Code::Cancelled,
                certainty: Certainty::MaybeExecuted,
                ..
            } => &self.cancelled_calls,
            end if end.did_not_run() => &self.unbegun_calls,
            _ => &self.finished_calls,
        };
        counter.add(1);
    }

    /// A notification of a peer came to this end, perhaps [cut](crate::executor::Attachment::cut).
    pub(super) fn notification_ended(&self, end: &JobEnd, is_cut: bool) {
        match end {
            JobEnd::Failed {
                code: Code::Cancelled,
                ..
            } if is_cut => self.cancelled_calls.add(1),
            end if end.did_not_run() => {}
            _ => self.finished_calls.add(1),
        }
    }

    /// A call of the program came when the broker took no more.
    pub(super) fn came_late(&self) {
        self.unbegun_calls.add(1);
    }

    /// A connection ended with so many calls of its peer under way.
    pub(super) fn abandoned(&self, calls: usize) {
        self.abandoned_calls.add(calls as u64);
    }

    /// What calls and notifications of peers came to so far, and those that came late.
    pub(super) fn ends(&self) -> DrainReport {
        DrainReport {
            finished: self.finished_calls.get(),
            refused: self.unbegun_calls.get() + self.refused_calls.get(),
            cancelled: self.cancelled_calls.get(),
            abandoned: self.abandoned_calls.get(),
        }
    }

    /// A connection that should be secure did not become so.
    pub(super) fn insecure(&self, error: &bowline_transport::Error) {
        let counter = match error.kind() {
            bowline_transport::ErrorKind::Tls(_) => &self.misfits,
            _ => &self.lost,
        };
        counter.add(1);
    }

    /// What the machine of a connection counted.
    pub(super) fn add_protocol(&self, stats: &Stats) {
        self.late_frames.add(stats.late_frames);
        self.unknown_frames.add(stats.unknown_frames);
        self.refused_calls.add(stats.refused_calls);
        self.dropped_notifications.add(stats.dropped_notifications);
    }

    pub(super) fn accept_failed(&self, kind: AcceptErrorKind) {
        let counter = match kind {
            AcceptErrorKind::Skip => &self.skipped,
            AcceptErrorKind::Exhausted => &self.exhausted,
            _ => &self.fatal,
        };
        counter.add(1);
    }

    /// What was counted; `connections` are those open now and those of them that are ready.
    pub(super) fn snapshot(&self, connections: (usize, usize)) -> BrokerStatistics {
        BrokerStatistics {
            open: connections.0,
            ready: connections.1,
            accepted: self.accepted.get(),
            refused: self.refused.get(),
            dialed: self.dialed.get(),
            strangers: Strangers {
                http: self.http.get(),
                tls: self.tls.get(),
                ssh: self.ssh.get(),
                other: self.other.get(),
            },
            misfits: self.misfits.get(),
            violations: self.violations.get(),
            handshake_timeouts: self.handshake_timeouts.get(),
            lost: self.lost.get(),
            accept_errors: AcceptErrors {
                skipped: self.skipped.get(),
                exhausted: self.exhausted.get(),
                fatal: self.fatal.get(),
            },
            calls_sent: self.calls_sent.get(),
            calls_received: self.calls_received.get(),
            protocol: Stats {
                late_frames: self.late_frames.get(),
                unknown_frames: self.unknown_frames.get(),
                refused_calls: self.refused_calls.get(),
                dropped_notifications: self.dropped_notifications.get(),
            },
        }
    }
}
