//! What an operation did, in a form in which a kernel and a world can be compared.

use std::fmt;
use std::io;

/// More bytes, or datagrams, than scripts count: how much fits into what is full is not compared.
pub(super) const MANY: usize = usize::MAX;

/// How many bytes an operation moved, or datagrams, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    pub(super) bytes: usize,
    pub(super) end: End,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// All was done.
    Done,
    /// The peer ended.
    Ended,
    /// It would have waited, and was given up.
    Waits,
    /// There was nothing to do it to.
    Skipped,
    /// With an error, by kind and number.
    Failed(String),
    /// What it told.
    Told(String),
    /// Bytes came that were never sent so.
    Corrupt,
}

impl Outcome {
    pub(super) fn new(bytes: usize, end: End) -> Outcome {
        Outcome { bytes, end }
    }

    pub(super) fn of(end: End) -> Outcome {
        Outcome { bytes: 0, end }
    }

    pub(super) fn told(text: impl Into<String>) -> Outcome {
        Outcome::of(End::Told(text.into()))
    }

    pub(super) fn failed(bytes: usize, error: &io::Error) -> Outcome {
        Outcome::new(bytes, End::Failed(name(error)))
    }

    /// That of an operation which ends at once.
    pub(super) fn done<T>(result: &io::Result<T>) -> Outcome {
        match result {
            Ok(_) => Outcome::of(End::Done),
            Err(error) => Outcome::failed(0, error),
        }
    }
}

/// An error, in the words that outcomes have for it.
pub(super) fn name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}/{code}", error.kind()),
        None => format!("{:?}", error.kind()),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            0 => {}
            MANY => f.write_str("many, ")?,
            bytes => write!(f, "{bytes}, ")?,
        }
        match &self.end {
            End::Done => f.write_str("done"),
            End::Ended => f.write_str("ended"),
            End::Waits => f.write_str("waits"),
            End::Skipped => f.write_str("skipped"),
            End::Failed(error) => f.write_str(error),
            End::Told(text) => f.write_str(text),
            End::Corrupt => f.write_str("CORRUPT"),
        }
    }
}
