//! Rules that hold over a whole run, checked event by event.
//!
//! A checker sees the trace of a world while it is made, from outside: it draws nothing, costs no
//! virtual time and changes no run. What the program does it learns from
//! [notes](crate::Sim::note), which cost next to nothing and are part of the trace.
//!
//! ```
//! use bowline_sim::checker::AtMostOnce;
//! use bowline_sim::{FailureKind, Sim};
//!
//! let failure = Sim::builder()
//!     .client("worker", || async {
//!         for job in [1, 2, 1] {
//!             Sim::note("executed", job);
//!         }
//!     })
//!     .checker(|| AtMostOnce::of("executed"))
//!     .run()
//!     .unwrap_err();
//! assert_eq!(*failure.kind(), FailureKind::Assertion("at most once"));
//! ```

mod memory_cap;
mod notes;

pub use memory_cap::MemoryCap;
pub use notes::{AtMostOnce, Conservation, OneOutcome};

use crate::trace::TraceEvent;
use std::fmt;

/// A rule that holds over a whole run; added with [`Builder::checker`](crate::Builder::checker).
///
/// It is asked after each turn of the world about the events of that turn, and once at the end. It
/// may look at the world with [`Sim::ghost`](crate::Sim::ghost) and [`Sim::now`](crate::Sim::now);
/// it is no code of a host, so anything that acts on one panics.
pub trait Checker {
    /// Sees one event. All events are seen, in order, also those that the trace does not keep.
    ///
    /// # Errors
    /// The rule is broken; the run fails with it at once.
    fn on_event(&mut self, event: &TraceEvent) -> Result<(), Violation>;

    /// Sees the end of a run that went well: all hosts have ended.
    ///
    /// # Errors
    /// The rule is broken; the run fails with it.
    fn at_end(&mut self) -> Result<(), Violation> {
        Ok(())
    }
}

/// A rule that was broken. The run fails with
/// [`FailureKind::Assertion`](crate::FailureKind::Assertion).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub(crate) id: &'static str,
    pub(crate) message: String,
}

impl Violation {
    /// A breach of the rule `id`, in words.
    pub fn new(id: &'static str, message: impl Into<String>) -> Violation {
        Violation {
            id,
            message: message.into(),
        }
    }

    /// The rule.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// How it was broken.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.message)
    }
}

impl std::error::Error for Violation {}
