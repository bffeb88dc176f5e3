//! What an error says to whoever reads it.

use std::error::Error as StdError;
use std::fmt;

use super::{Error, ErrorKind, Operation};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.operation, self.0.kind) {
            // Where we would listen there is no peer.
            (Operation::Bind, ErrorKind::Connect) => {
                f.write_str("bind: nobody can listen there")?
            }
            (operation, kind) => write!(f, "{operation}: {kind}")?,
        }
        if let Some(peer) = &self.0.peer {
            write!(f, " (peer {peer})")?;
        } else if let Some(place) = &self.0.place {
            write!(f, " (at {place})")?;
        }
        if self.0.unsent_frames > 0 {
            write!(f, ", {} frames unsent", self.0.unsent_frames)?;
        }
        if let Some((attempts, span)) = self.0.given_up {
            let word = if attempts == 1 { "attempt" } else { "attempts" };
            write!(f, ", given up after {attempts} {word} in {span:?}")?;
        }
        // What it came of, where the kind does not say all.
        let of = match (self.0.given_up, self.last_cause()) {
            (Some(_), Some(last)) => {
                write!(f, ": {}", last.0.kind)?;
                Some(last).filter(|last| last.0.attempts.is_empty())
            }
            _ => Some(self).filter(|this| matches!(this.0.kind, ErrorKind::Tls(_))),
        };
        if let Some(words) = of.and_then(Error::words) {
            write!(f, ": {words}")?;
        }
        for (n, attempt) in self.0.attempts.iter().enumerate() {
            f.write_str(if n == 0 { ": " } else { "; " })?;
            attempt.fmt(f)?;
        }
        Ok(())
    }
}

impl Error {
    /// The error of the last attempt, or of the last connection, after which there is no other.
    fn last_cause(&self) -> Option<&Error> {
        self.source().and_then(<dyn StdError>::downcast_ref)
    }

    /// What lies beneath, of whoever found it.
    fn words(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source()?;
        // An error of ours comes through a byte stream as one of its own.
        match source.downcast_ref().and_then(Error::inside) {
            Some(inside) => inside.words(),
            None => Some(source),
        }
    }
}
