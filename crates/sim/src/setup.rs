//! What makes a description of a world impossible.

use crate::link::Wrong;
use std::fmt;

/// Hosts that an error lists; the rest is counted.
const LISTED: usize = 20;

/// Why a world cannot be built as it is described; see [`Builder::check`](crate::Builder::check).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SetupError {
    /// Something names a host that there is not.
    UnknownHost {
        /// What names it.
        by: String,
        /// The name.
        name: String,
        /// The hosts that there are, in the order they were added.
        hosts: Vec<String>,
    },
    /// A world that is to run to its end has no client, whose end that would be, and was given no
    /// [horizon](crate::Builder::horizon).
    NoClient,
    /// A range of seeds is empty, so that nothing runs.
    NoSeeds {
        /// The first seed.
        first: u64,
        /// The seed before which it ends.
        end: u64,
    },
    /// Two hosts have one name.
    TwoHosts {
        /// The name.
        name: String,
    },
    /// A link leads from a host to itself: what a host says to itself uses no link.
    LinkToItself {
        /// The host.
        name: String,
    },
    /// A probability is not within `0..=1`.
    NoProbability {
        /// What it is a probability of.
        of: String,
        /// The value.
        value: f64,
    },
    /// A value is outside of what its setting takes, such as an empty range of latencies.
    NoValue {
        /// What it was set for.
        of: String,
    },
    /// Two options cannot both hold.
    Contradiction {
        /// One of them.
        one: String,
        /// The other.
        other: String,
    },
    /// Something is to happen at a time that is over.
    InThePast {
        /// When it was to happen, in nanoseconds since the world began.
        at: u64,
        /// How late it is already.
        now: u64,
    },
}

impl SetupError {
    pub(crate) fn unknown<'a>(
        by: &str,
        name: &str,
        hosts: impl Iterator<Item = &'a str>,
    ) -> SetupError {
        SetupError::UnknownHost {
            by: by.to_owned(),
            name: name.to_owned(),
            hosts: hosts.map(str::to_owned).collect(),
        }
    }

    pub(crate) fn no_value(of: &str) -> SetupError {
        SetupError::NoValue { of: of.to_owned() }
    }

    pub(crate) fn wrong(wrong: Wrong, place: &str) -> SetupError {
        match wrong {
            Wrong::Probability { knob, bits } => SetupError::NoProbability {
                of: format!("{knob} of {place}"),
                value: f64::from_bits(bits),
            },
            Wrong::Value { knob } => SetupError::NoValue {
                of: format!("{knob} of {place}"),
            },
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::UnknownHost { by, name, hosts } => {
                write!(f, "{by} names the host {name:?}, which does not exist: ")?;
                write_hosts(f, hosts)
            }
            SetupError::NoClient => f.write_str(
                "no client was added, whose end would end the run: add one with `client`, or say \
                 with `horizon` how long the hosts run",
            ),
            SetupError::NoSeeds { first, end } => {
                write!(
                    f,
                    "the range of seeds {first}..{end} is empty, so nothing runs"
                )
            }
            SetupError::TwoHosts { name } => write!(f, "there are two hosts named {name:?}"),
            SetupError::Contradiction { one, other } => {
                write!(f, "{one} and {other} contradict each other")
            }
            SetupError::LinkToItself { name } => {
                write!(f, "a link leads from the host {name:?} to itself")
            }
            SetupError::NoProbability { of, value } => {
                write!(
                    f,
                    "the {of} is {value}, which is no probability within 0..=1"
                )
            }
            SetupError::NoValue { of } => write!(f, "the {of} is empty or out of range"),
            SetupError::InThePast { at, now } => {
                let [at, now] = [at, now].map(|time| std::time::Duration::from_nanos(*time));
                write!(
                    f,
                    "something is to happen at {at:?}, but the world is {now:?} old"
                )
            }
        }
    }
}

/// The hosts that might have been meant.
fn write_hosts(f: &mut fmt::Formatter<'_>, hosts: &[String]) -> fmt::Result {
    if hosts.is_empty() {
        return f.write_str("no host was added");
    }
    f.write_str("there is")?;
    let mut separator = " ";
    for host in hosts.iter().take(LISTED) {
        write!(f, "{separator}{host:?}")?;
        separator = ", ";
    }
    match hosts.len().checked_sub(LISTED) {
        Some(more @ 1..) => write!(f, " and {more} more"),
        _ => Ok(()),
    }
}

impl std::error::Error for SetupError {}
