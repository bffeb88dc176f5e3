//! Links: how packets travel between two hosts, and what becomes of them.

mod chance;
mod latency;

pub(crate) use chance::Chance;
pub use latency::Latency;

use std::time::Duration;

/// Bytes that wait for a link of limited bandwidth where nothing else is said.
const QUEUE: u64 = 256 * 1024;
/// Longest packet, with its headers, as on Ethernet.
const MTU: u32 = 1_500;
/// The least a link carries in one packet (RFC 791).
const LEAST_MTU: u32 = 68;

/// One direction between two hosts, or both (see [`Builder::link`](crate::Builder::link) and
/// [`Builder::link_one_way`](crate::Builder::link_one_way)).
///
/// A link has a latency, drawn for each packet; packets of one connection never overtake each
/// other, nor do datagrams of one socket unless [`reordering`](Link::reordering) says so. Choice 0
/// is the tame one everywhere: the shortest latency, nothing lost, doubled or overtaken. What the
/// ready-made links do not say is off: they have no limit of bandwidth and lose nothing.
///
/// What is lost shows as the kernel shows it. A TCP connection never loses a byte: a segment that
/// is lost comes after 200 ms, and after twice as long each time it is lost again, up to 120 s;
/// after 15 tries (924.6 s), or its user timeout, the connection ends with `TimedOut`. A datagram is
/// lost in silence. A host that talks to itself uses no link.
///
/// Values that make no sense (a probability outside `0..=1`, an empty range, an MTU below 68) are
/// a [`SetupError`](crate::SetupError) when the world is built.
///
/// ```
/// use bowline_sim::Link;
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let bad_day = Link::wan()
///     .latency(ms(20)..ms(200))
///     .loss(0.01)
///     .duplication(0.001)
///     .bandwidth(1_000_000);
/// # assert_ne!(bad_day, Link::wan());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub(crate) latency: Latency,
    pub(crate) jitter: u64,
    pub(crate) loss: Loss,
    pub(crate) duplication: Chance,
    pub(crate) reordering: Chance,
    /// By what an overtaken datagram comes later.
    pub(crate) overtaken_by: u64,
    /// Bytes a second.
    pub(crate) bandwidth: Option<u64>,
    pub(crate) queue: u64,
    pub(crate) mtu: u32,
    /// After so long a silence a flow is forgotten.
    pub(crate) forgets: Option<u64>,
    pub(crate) wrong: Option<Wrong>,
}

/// How packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Independent(Chance),
    /// Gilbert and Elliott: a good state without loss, a bad one in which packets are lost.
    Bursts {
        begin: Chance,
        end: Chance,
        lost: Chance,
    },
}

/// The first value of a link that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Probability { knob: &'static str, bits: u64 },
    Value { knob: &'static str },
}

impl Link {
    fn new(latency: Latency) -> Link {
        Link {
            latency,
            jitter: 0,
            loss: Loss::Independent(Chance::NEVER),
            duplication: Chance::NEVER,
            reordering: Chance::NEVER,
            overtaken_by: 0,
            bandwidth: None,
            queue: QUEUE,
            mtu: MTU,
            forgets: None,
            wrong: None,
        }
    }

    fn between(shortest: Duration, longest: Duration) -> Link {
        Link::new(Latency::between(shortest, longest))
    }

    /// Within one machine: 5 to 20 microseconds. What a host uses to talk to itself.
    pub fn loopback() -> Link {
        Link::between(Duration::from_micros(5), Duration::from_micros(20))
    }

    /// Within one building: 50 to 500 microseconds. The default between hosts.
    pub fn lan() -> Link {
        Link::between(Duration::from_micros(50), Duration::from_micros(500))
    }

    /// Across a continent: 20 to 60 milliseconds.
    pub fn wan() -> Link {
        Link::between(Duration::from_millis(20), Duration::from_millis(60))
    }

    /// A telephone on the move: 40 to 300 milliseconds.
    pub fn mobile() -> Link {
        Link::between(Duration::from_millis(40), Duration::from_millis(300))
    }

    /// Sets the latency: a range, of which each packet takes at least the start and less than the
    /// end, or another [`Latency`].
    #[must_use]
    pub fn latency(mut self, latency: impl Into<Latency>) -> Link {
        self.latency = latency.into();
        if !self.latency.is_possible() {
            self.is_wrong("latency");
        }
        self
    }

    /// Adds up to `most` to the latency of each packet, drawn evenly (default 0).
    #[must_use]
    pub fn jitter(mut self, most: Duration) -> Link {
        self.jitter = nanos(most);
        self
    }

    /// Loses each packet with this probability, whatever became of others (default 0).
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Link {
        self.loss = Loss::Independent(self.chance("loss", probability));
        self
    }

    /// Loses packets in bursts (Gilbert and Elliott): each packet begins a burst with probability
    /// `begin` and ends one with probability `end`; within a burst it is lost with probability
    /// `lost`, else it is not. It replaces [`loss`](Link::loss).
    #[must_use]
    pub fn loss_bursts(mut self, begin: f64, end: f64, lost: f64) -> Link {
        self.loss = Loss::Bursts {
            begin: self.chance("begin of loss bursts", begin),
            end: self.chance("end of loss bursts", end),
            lost: self.chance("loss in bursts", lost),
        };
        self
    }

    /// Delivers each datagram twice with this probability (default 0), the copy with a latency of
    /// its own. TCP knows copies and drops them, so it shows none.
    #[must_use]
    pub fn duplication(mut self, probability: f64) -> Link {
        self.duplication = self.chance("duplication", probability);
        self
    }

    /// Delivers each datagram so much later with this probability (default 0), and what its socket
    /// sent meanwhile before it.
    #[must_use]
    pub fn reordering(mut self, probability: f64, later_by: Duration) -> Link {
        self.reordering = self.chance("reordering", probability);
        self.overtaken_by = nanos(later_by);
        self
    }

    /// Carries so many bytes of payload a second; packets wait for those before them, 256 KiB of
    /// them at most (see [`queue`](Link::queue)). Default: no limit.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Link {
        self.bandwidth = Some(bytes_per_second);
        if bytes_per_second == 0 {
            self.is_wrong("bandwidth");
        }
        self
    }

    /// Sets how many bytes may wait for the bandwidth; a packet that finds no room is lost.
    #[must_use]
    pub fn queue(mut self, bytes: u64) -> Link {
        self.queue = bytes;
        self
    }

    /// Sets the longest packet, with its headers (default 1500). A TCP segment carries 40 bytes
    /// less. A longer datagram travels in several packets, and is lost with any of them.
    #[must_use]
    pub fn mtu(mut self, bytes: u32) -> Link {
        self.mtu = bytes;
        if bytes < LEAST_MTU {
            self.is_wrong("mtu");
        }
        self
    }

    /// Forgets a TCP connection through which nothing went for so long, as address translators do:
    /// every later packet of it vanishes, and neither end is told. Default: never.
    #[must_use]
    pub fn forget_idle(mut self, after: Duration) -> Link {
        self.forgets = Some(nanos(after));
        self
    }

    fn chance(&mut self, knob: &'static str, probability: f64) -> Chance {
        Chance::of(probability).unwrap_or_else(|| {
            let bits = probability.to_bits();
            self.wrong.get_or_insert(Wrong::Probability { knob, bits });
            Chance::NEVER
        })
    }

    fn is_wrong(&mut self, knob: &'static str) {
        self.wrong.get_or_insert(Wrong::Value { knob });
    }

    /// Whether packets do nothing on it but take their time.
    pub(crate) fn is_faultless(&self) -> bool {
        self.loss == Loss::Independent(Chance::NEVER)
            && self.duplication == Chance::NEVER
            && self.reordering == Chance::NEVER
            && self.bandwidth.is_none()
            && self.forgets.is_none()
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
