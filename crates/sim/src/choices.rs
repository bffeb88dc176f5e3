//! Recorded choices: what a run can be repeated from, whatever becomes of its seed.

mod text;

pub use text::ParseChoicesError;

use crate::oracle::Scope;
use std::borrow::Cow;

/// One choice a run made: what it was about, among how many, and which was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    label: Cow<'static, str>,
    pub(crate) stream: u64,
    pub(crate) scope: Scope,
    count: u64,
    taken: u64,
}

impl Choice {
    pub(crate) fn new(
        label: impl Into<Cow<'static, str>>,
        stream: u64,
        scope: Scope,
        count: u64,
        taken: u64,
    ) -> Choice {
        Choice {
            label: label.into(),
            stream,
            scope,
            count,
            taken,
        }
    }

    /// What the choice was about, such as `"next task"`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Among how many outcomes it chose.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The outcome taken, `0..count`; 0 is the tame one.
    pub fn taken(&self) -> u64 {
        self.taken
    }
}

/// The choices of a run in order, to be run again with [`Builder::replay`](crate::Builder::replay).
///
/// The empty list is the tame run: every choice is 0. A replay looks choices up by what they are
/// about and whose they are, so a list outlives changes of the program that a seed does not. As
/// text (`to_string` and `parse`) it can be kept in a file beside the test that it is for.
///
/// ```
/// use bowline_sim::{Choices, Sim};
///
/// let dice = || async { Sim::note("rolled", Sim::choose("dice", 1..7)) };
/// let world = Sim::builder().client("player", dice);
/// let report = world.clone().seed(4).record_choices(1000).run()?;
///
/// let text = report.choices().to_string();
/// let again = world.replay(text.parse::<Choices>()?).run()?;
/// assert_eq!(again.trace_hash, report.trace_hash);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    list: Vec<Choice>,
    complete: bool,
}

impl Choices {
    pub(crate) fn new(list: Vec<Choice>, complete: bool) -> Choices {
        Choices { list, complete }
    }

    /// The list of choices, oldest first.
    pub fn as_slice(&self) -> &[Choice] {
        &self.list
    }

    /// Whether the run made no more choices than were recorded.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The first `len` choices; a replay takes 0 beyond them.
    #[must_use]
    pub fn truncated(mut self, len: usize) -> Choices {
        self.complete &= len >= self.list.len();
        self.list.truncate(len);
        self
    }
}
