//! The limits of brokers and connections, and what they add up to.

mod report;

pub use report::LimitsReport;
pub(crate) use report::{KNOWN, PINNED};

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// PINGs at this pace, with those that ask for room for advertisements, are fewer than every peer lets through.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(250);

/// Everything that bounds what a peer can make us hold, and how long we wait for it.
///
/// Three presets: [`paranoid`](Self::paranoid) for strangers, [`Limits::default`], and
/// [`trusted`](Self::trusted) for peers of one's own. Fields may be set on a preset.
///
/// # Examples
/// ```
/// use bowline_rpc::Limits;
///
/// let mut limits = Limits::default();
/// limits.max_calls = 64;
/// assert!(limits.report().connection() < Limits::default().report().connection());
/// assert!(limits.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest payload of one frame we accept, in bytes, 1024 to 16 777 215. Longer: violation.
    pub max_frame: u32,
    /// Longest arguments or reply, in bytes, at least `max_frame`. Longer: `TooLarge`.
    pub max_message: u32,
    /// Bytes of bodies a peer may send us per call and direction before the application took some, at
    /// least 4096. A message costs its length plus 16. For one that is longer the rest is granted by
    /// [`reassembly`](Self::reassembly).
    pub call_window: u32,
    /// Bytes of messages beyond the windows of their calls that one connection holds, on their way to us and
    /// until the program takes them: arguments until their handler begins, items until they are received, a
    /// reply until its caller has it. So many for calls of the peer, and so many for ours; at least
    /// `max_message`. More wait at the peer for their turn.
    ///
    /// So long messages that a program leaves lying hold up others. It may wait for one of those, and so
    /// one of each kind is let in beyond: arguments of each hop level, an item that is waited for, and a reply
    /// that is.
    pub reassembly: usize,
    /// Calls open at once per direction, at hop level 0; each deeper level has an eighth. The
    /// caller queues; a peer that passes it breaks the protocol.
    pub max_calls: u32,
    /// Notifications a peer may send before we took one. Of connections that are over as many stay in all, until
    /// they begin; the last ones are dropped, and counted.
    pub notify_window: u32,
    /// Methods a peer may advertise at once. More: violation.
    pub max_methods: u32,
    /// Bytes of metadata of one call. More: violation.
    pub max_metadata: u16,
    /// Calls waiting for a slot at one connection. More: `Overloaded`, never sent. A burst of calls
    /// finds every free slot of the peer, and these places besides.
    pub queue_calls: usize,
    /// Bytes of bodies of calls not yet sent there. More: `Overloaded`, never sent.
    pub queue_bytes: usize,
    /// Bytes of long replies and items of handlers, those that do not fit into
    /// [`call_window`](Self::call_window), that wait at one connection for the peer to grant credit, at least
    /// `max_message`. An item waits with its handler for room; a reply that would be more fails with
    /// `TooLarge`, executed. A reply waits no longer than its caller does, and `max_deadline` at most.
    pub reply_bytes: usize,
    /// Calls of one broker that wait because no peer offers their method. More: `Overloaded`, never
    /// sent.
    pub waiting_calls: usize,
    /// Bytes of the bodies of these. More: `Overloaded`, never sent.
    pub waiting_bytes: usize,
    /// Bytes of frames that are made at once, and no more until the transport took them: commands wait. A
    /// small call waits for so many of larger ones, beside what the transport holds.
    pub write_buffer: usize,
    /// A connection whose transport accepts nothing for so long is broken.
    pub write_stall: Duration,
    /// Bytes either side may send before the connection is ready, at least 1024.
    pub handshake_bytes: usize,
    /// Time the handshake may take.
    pub handshake_timeout: Duration,
    /// Nothing received for so long: a PING. For three times as long: broken. At least 250 ms: a peer takes
    /// oftener PINGs for a flood.
    pub heartbeat: Duration,
    /// Connections still in their handshake. More: closed when accepted.
    pub unauthenticated: usize,
    /// The same from one /32 (IPv4) or /64 (IPv6). Loopback addresses are not counted here: all
    /// programs of this machine share them.
    pub unauthenticated_per_prefix: usize,
    /// Connections that one broker has accepted, those in their handshake included, at least 1. More: accepting
    /// pauses. Those that the broker itself opens, one for each endpoint it
    /// [connects](crate::TcpBroker::connect) to, are beside them: they find a place however many peers have come.
    pub connections: usize,
    /// How long handlers that a broker cancels at the end of its drain may take to end and be
    /// answered for, before their connections are closed. Only those that are not dropped when they
    /// are cancelled need it: blocking ones and those declared `no_cancel`.
    pub cancel_grace: Duration,
    /// How long a broker that ends waits for calls in flight, before it cancels them.
    pub drain: Duration,
    /// Longest deadline an executor grants.
    pub max_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 64 * 1024,
            max_message: 4 * 1024 * 1024,
            call_window: 64 * 1024,
            reassembly: 16 * 1024 * 1024,
            max_calls: 1024,
            notify_window: 256,
            max_methods: 4096,
            max_metadata: 8192,
            queue_calls: 1024,
            queue_bytes: 16 * 1024 * 1024,
            reply_bytes: 64 * 1024 * 1024,
            waiting_calls: 1024,
            waiting_bytes: 16 * 1024 * 1024,
            write_buffer: 64 * 1024,
            write_stall: Duration::from_secs(30),
            handshake_bytes: 4096,
            handshake_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(5),
            unauthenticated: 256,
            unauthenticated_per_prefix: 32,
            connections: 10_000,
            cancel_grace: Duration::from_secs(1),
            drain: Duration::from_secs(5),
            max_deadline: Duration::from_secs(3600),
        }
    }
}

impl Limits {
    /// For peers that may mean harm: small frames, few calls.
    pub fn paranoid() -> Self {
        Self {
            max_frame: 16 * 1024,
            max_message: 256 * 1024,
            call_window: 16 * 1024,
            reassembly: 1024 * 1024,
            max_calls: 64,
            notify_window: 32,
            max_methods: 256,
            max_metadata: 1024,
            queue_calls: 64,
            queue_bytes: 1024 * 1024,
            reply_bytes: 1024 * 1024,
            write_buffer: 32 * 1024,
            unauthenticated: 64,
            unauthenticated_per_prefix: 4,
            connections: 1024,
            ..Self::default()
        }
    }

    /// For peers of one's own: large frames, many calls.
    pub fn trusted() -> Self {
        Self {
            max_frame: 1024 * 1024,
            max_message: 64 * 1024 * 1024,
            call_window: 1024 * 1024,
            reassembly: 256 * 1024 * 1024,
            max_calls: 8192,
            notify_window: 4096,
            max_methods: 65_536,
            queue_calls: 8192,
            queue_bytes: 256 * 1024 * 1024,
            reply_bytes: 1024 * 1024 * 1024,
            write_buffer: 256 * 1024,
            ..Self::default()
        }
    }

    /// Whether the limits fit each other, and none of them is a zero with which nothing works.
    ///
    /// Zero is fine for [`cancel_grace`](Self::cancel_grace) and [`drain`](Self::drain): then nobody
    /// waits.
    ///
    /// # Errors
    /// The first field that does not, what it is, and what it has to be.
    pub fn check(&self) -> Result<(), BadLimit> {
        between("max_frame", self.max_frame, 1024..=16_777_215)?;
        at_least_as("max_message", self.max_message, "max_frame", self.max_frame)?;
        between("call_window", self.call_window, 4096..=1 << 31)?;
        let message = self.max_message as usize;
        at_least_as("reassembly", self.reassembly, "max_message", message)?;
        at_least("max_calls", self.max_calls, 1)?;
        at_least("notify_window", self.notify_window, 1)?;
        at_least("max_methods", self.max_methods, 1)?;
        at_least("max_metadata", self.max_metadata, 1)?;
        at_least("queue_calls", self.queue_calls, 1)?;
        at_least_as("queue_bytes", self.queue_bytes, "max_message", message)?;
        at_least_as("reply_bytes", self.reply_bytes, "max_message", message)?;
        at_least("write_buffer", self.write_buffer, 1)?;
        at_least("handshake_bytes", self.handshake_bytes, 1024)?;
        at_least("unauthenticated", self.unauthenticated, 1)?;
        let prefix = self.unauthenticated_per_prefix;
        at_least("unauthenticated_per_prefix", prefix, 1)?;
        at_least("connections", self.connections, 1)?;
        above_zero("write_stall", self.write_stall)?;
        above_zero("handshake_timeout", self.handshake_timeout)?;
        above_zero("max_deadline", self.max_deadline)?;
        let longest = Duration::from_millis(u32::MAX.into());
        between("heartbeat", self.heartbeat, SHORTEST_HEARTBEAT..=longest)
    }

    /// What the limits add up to.
    pub fn report(&self) -> LimitsReport {
        LimitsReport {
            limits: self.clone(),
        }
    }

    /// Calls open at once per direction over all hop levels.
    pub(crate) fn slots(&self) -> usize {
        let deeper = (self.max_calls / 8).max(1) as usize;
        self.max_calls as usize + 8 * deeper
    }
}

fn between<T: PartialOrd + fmt::Debug>(
    field: &'static str,
    is: T,
    range: RangeInclusive<T>,
) -> Result<(), BadLimit> {
    let (least, most) = (range.start(), range.end());
    BadLimit::unless(range.contains(&is), field, &is, || {
        format!("{least:?} to {most:?}")
    })
}

fn at_least<T: PartialOrd + fmt::Debug>(
    field: &'static str,
    is: T,
    least: T,
) -> Result<(), BadLimit> {
    BadLimit::unless(is >= least, field, is, || format!("at least {least:?}"))
}

fn at_least_as<T: PartialOrd + fmt::Debug>(
    field: &'static str,
    is: T,
    other: &str,
    least: T,
) -> Result<(), BadLimit> {
    let has_to_be = || format!("at least {least:?}, as {other} is");
    BadLimit::unless(is >= least, field, is, has_to_be)
}

fn above_zero(field: &'static str, is: Duration) -> Result<(), BadLimit> {
    BadLimit::unless(!is.is_zero(), field, is, || "above zero".to_owned())
}

/// A limit that is zero, out of range or does not fit another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit {field} is {is}; it has to be {has_to_be}")]
pub struct BadLimit {
    field: &'static str,
    is: String,
    has_to_be: String,
}

impl BadLimit {
    fn unless(
        holds: bool,
        field: &'static str,
        is: impl fmt::Debug,
        has_to_be: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        if holds {
            return Ok(());
        }
        Err(BadLimit {
            field,
            is: format!("{is:?}"),
            has_to_be: has_to_be(),
        })
    }

    /// The field of [`Limits`] it is about.
    pub fn field(&self) -> &'static str {
        self.field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut Limits);

    #[test]
    fn a_range_is_told_with_the_value() {
        let cases: [(Spoil, &str); 3] = [
            (
                |limits| limits.max_frame = 5,
                "the limit max_frame is 5; it has to be 1024 to 16777215",
            ),
            (
                |limits| limits.heartbeat = Duration::from_micros(20),
                "the limit heartbeat is 20µs; it has to be 250ms to 4294967.295s",
            ),
            (
                |limits| limits.write_stall = Duration::ZERO,
                "the limit write_stall is 0ns; it has to be above zero",
            ),
        ];
        for (spoil, text) in cases {
            let mut limits = Limits::default();
            spoil(&mut limits);
            assert_eq!(limits.check().unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_zero_with_which_nothing_works_is_named() {
        let wrong: [(&str, Spoil); 18] = [
            ("max_frame", |limits| limits.max_frame = 0),
            ("max_message", |limits| limits.max_message = 0),
            ("call_window", |limits| limits.call_window = 0),
            ("reassembly", |limits| limits.reassembly = 1),
            ("max_calls", |limits| limits.max_calls = 0),
            ("notify_window", |limits| limits.notify_window = 0),
            ("max_methods", |limits| limits.max_methods = 0),
            ("queue_calls", |limits| limits.queue_calls = 0),
            ("queue_bytes", |limits| limits.queue_bytes = 0),
            ("reply_bytes", |limits| limits.reply_bytes = 0),
            ("write_buffer", |limits| limits.write_buffer = 0),
            ("write_stall", |limits| limits.write_stall = Duration::ZERO),
            ("handshake_bytes", |limits| limits.handshake_bytes = 0),
            ("handshake_timeout", |limits| {
                limits.handshake_timeout = Duration::ZERO
            }),
            ("unauthenticated", |limits| limits.unauthenticated = 0),
            ("unauthenticated_per_prefix", |limits| {
                limits.unauthenticated_per_prefix = 0
            }),
            ("connections", |limits| limits.connections = 0),
            ("max_deadline", |limits| {
                limits.max_deadline = Duration::ZERO
            }),
        ];
        for preset in [Limits::default(), Limits::paranoid(), Limits::trusted()] {
            assert_eq!(preset.check(), Ok(()));
            for (field, spoil) in &wrong {
                let mut limits = preset.clone();
                spoil(&mut limits);
                assert_eq!(limits.check().map_err(|bad| bad.field()), Err(*field));
            }
            let mut long = preset.clone();
            long.queue_bytes = preset.max_message as usize - 1;
            let (is, least) = (long.queue_bytes, preset.max_message);
            let text = format!(
                "the limit queue_bytes is {is}; it has to be at least {least}, as max_message is"
            );
            assert_eq!(long.check().unwrap_err().to_string(), text);
            let mut at_once = preset;
            (at_once.cancel_grace, at_once.drain) = (Duration::ZERO, Duration::ZERO);
            assert_eq!(at_once.check(), Ok(()));
        }
    }
}
