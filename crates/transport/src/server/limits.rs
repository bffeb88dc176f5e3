use std::time::Duration;

/// Connections at once.
const MAX_CONNECTIONS: usize = 10_000;

/// Handshakes at once.
const MAX_HANDSHAKES: usize = 256;

/// How long a connection may wait for its turn, and then take to become secure.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a message may be under way.
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection that a handler closed reads what its peer still sends.
const LINGER: Duration = Duration::from_secs(2);

/// How long handlers may go on after a drain is over.
const GRACE: Duration = Duration::from_secs(1);

/// What a server takes at most.
///
/// # Examples
///
/// ```
/// use bowline_transport::{AtLimit, ServerLimits};
/// use std::time::Duration;
///
/// let limits = ServerLimits::new()
///     .max_connections(500)
///     .at_limit(AtLimit::Refuse)
///     .idle_timeout(Duration::from_secs(300));
/// # drop(limits);
/// ```
#[derive(Clone, Debug)]
#[must_use = "limits do nothing until a server is given them"]
pub struct ServerLimits {
    pub(super) max_connections: usize,
    pub(super) at_limit: AtLimit,
    pub(super) max_per_peer: Option<usize>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) frame_timeout: Option<Duration>,
    pub(super) max_handshakes: usize,
    pub(super) handshake_timeout: Duration,
    pub(super) grace: Duration,
    pub(super) linger: Option<Duration>,
}

/// What a server does with connections beyond
/// [`max_connections`](ServerLimits::max_connections).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AtLimit {
    /// Accepts nothing until a connection ends: peers wait in the backlog of the system. It is counted
    /// ([`accept_full`](crate::ServerCounters::accept_full)), and logged as a warning, at most every 5 s.
    #[default]
    Wait,
    /// Accepts and resets.
    Refuse,
}

impl ServerLimits {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        ServerLimits {
            max_connections: MAX_CONNECTIONS,
            at_limit: AtLimit::Wait,
            max_per_peer: None,
            idle_timeout: None,
            frame_timeout: Some(FRAME_TIMEOUT),
            max_handshakes: MAX_HANDSHAKES,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            grace: GRACE,
            linger: Some(LINGER),
        }
    }

    /// Connections at once, those in a handshake included; default 10 000.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn max_connections(mut self, most: usize) -> Self {
        assert!(most > 0, "a server takes at least 1 connection");
        self.max_connections = most;
        self
    }

    /// What becomes of connections beyond that; by default they [wait](AtLimit::Wait).
    pub fn at_limit(mut self, policy: AtLimit) -> Self {
        self.at_limit = policy;
        self
    }

    /// Connections of one IPv4 address, or one /64 of IPv6, at once, `None` for any number, the default. Those
    /// beyond are accepted and reset. Peers without an IP address are not counted.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn max_per_peer(mut self, most: impl Into<Option<usize>>) -> Self {
        self.max_per_peer = most.into();
        assert!(
            self.max_per_peer != Some(0),
            "a server takes at least 1 connection of a peer"
        );
        self
    }

    /// How long a handler may wait for a byte of its peer before
    /// [`Messages::recv`](crate::Messages::recv) says [`Elapsed`](crate::ErrorKind::Elapsed);
    /// `None`, for ever, by default.
    pub fn idle_timeout(mut self, most: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = most.into();
        self
    }

    /// How long a handler may wait for the rest of a message that has begun before
    /// [`Messages::recv`](crate::Messages::recv) says
    /// [`Broken(SlowFrame)`](crate::Break::SlowFrame); default 60 s, `None` for any time. A server
    /// whose messages take longer on the slowest line that it is to serve wants more. See
    /// [`MessageStreamBuilder::frame_timeout`](crate::MessageStreamBuilder::frame_timeout).
    pub fn frame_timeout(mut self, most: impl Into<Option<Duration>>) -> Self {
        self.frame_timeout = most.into();
        self
    }

    /// Handshakes at once; default 256. Further connections wait for their turn, as long as a
    /// [handshake may take](Self::handshake_timeout), and delay nobody who has had it.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn max_handshakes(mut self, most: usize) -> Self {
        assert!(most > 0, "a server makes at least 1 handshake");
        self.max_handshakes = most;
        self
    }

    /// How long a connection may wait for its turn, and how long it may then take to become secure;
    /// default 60 s. So one that says nothing has a place for at most twice that, however many there are.
    /// Who would hold up every turn is kept from that by [`max_per_peer`](Self::max_per_peer).
    pub fn handshake_timeout(mut self, most: Duration) -> Self {
        self.handshake_timeout = most;
        self
    }

    /// How long a connection that is closed while its peer still sends goes on reading, and forgets
    /// what it reads, so that our last answer arrives; default 2 s, `None` not at all. See
    /// [`MessageStreamBuilder::linger`](crate::MessageStreamBuilder::linger).
    pub fn linger(mut self, most: impl Into<Option<Duration>>) -> Self {
        self.linger = most.into();
        self
    }

    /// How long handlers may go on after they were cancelled by the end of a
    /// [drain](crate::ServerHandle::drain), until their connections are aborted; default 1 s.
    pub fn grace(mut self, span: Duration) -> Self {
        self.grace = span;
        self
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits::new()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    // SV2
    #[test]
    fn what_is_not_said_is_as_documented() {
        let limits = ServerLimits::default();
        assert_eq!(
            (limits.max_connections, limits.max_handshakes),
            (10_000, 256)
        );
        assert_eq!(
            (limits.at_limit, limits.max_per_peer),
            (AtLimit::Wait, None)
        );
        let seconds = Duration::from_secs;
        assert_eq!(limits.idle_timeout, None);
        assert_eq!(limits.frame_timeout, Some(seconds(60)));
        assert_eq!(limits.handshake_timeout, seconds(60));
        assert_eq!(
            (limits.linger, limits.grace),
            (Some(seconds(2)), seconds(1))
        );
    }

    // SV2
    #[test]
    fn a_server_of_nothing_is_refused() {
        assert!(catch_unwind(|| ServerLimits::new().max_connections(0)).is_err());
        assert!(catch_unwind(|| ServerLimits::new().max_handshakes(0)).is_err());
        assert!(catch_unwind(|| ServerLimits::new().max_per_peer(0)).is_err());
        assert_eq!(ServerLimits::new().max_per_peer(None).max_per_peer, None);
    }
}
