//! The tasks that can run, and which of them is next.
//!
//! Invariants
//! 1. An entry that was put in is taken out once, in its turn or with its host.
//! 2. A starved task is passed over while others can run, but for at most [`PATIENCE`] of virtual
//!    time.

use crate::task::TaskKey;
use std::collections::{BTreeMap, VecDeque};

/// So long a starved task waits for others, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// How the next task is picked among those that can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// The one that waits longest.
    Fifo,
    /// Any of them, by draw.
    Random,
    /// The hosts in turn; of each the task that waits longest.
    RoundRobinHosts,
    /// Any of them, by draw, but those of this name only when no other can run, or when they waited
    /// for a second of virtual time.
    ///
    /// The name is what traces and wait graphs print: of a host (`"server"`: all its tasks), of a
    /// task (`"server/3"`), or of the place where tasks are spawned (`"server.rs:42"` or
    /// `"server.rs"`, with as many folders before it as it takes).
    Starve(&'static str),
}

impl Strategy {
    /// Number for the hash of a world's description.
    pub(crate) fn number(self) -> u64 {
        match self {
            Strategy::Fifo => 0,
            Strategy::Random => 1,
            Strategy::RoundRobinHosts => 2,
            Strategy::Starve(name) => crate::xxhash::xxh64(name.as_bytes(), 3),
        }
    }

    /// Whether it starves the task `number` of `host`, spawned at `location`.
    pub(crate) fn starves(
        self,
        host: &str,
        number: u32,
        location: &std::panic::Location<'_>,
    ) -> bool {
        let Strategy::Starve(name) = self else {
            return false;
        };
        let is_task = || {
            let task = name.strip_prefix(host)?.strip_prefix('/')?;
            Some(task.parse() == Ok(number))
        };
        let is_place = |place: &str| {
            let folders = place.strip_suffix(name);
            folders.is_some_and(|rest| rest.is_empty() || rest.ends_with(['/', '\\']))
        };
        name == host
            || is_task() == Some(true)
            || is_place(location.file())
            || is_place(&format!("{}:{}", location.file(), location.line()))
    }
}

/// A task that can run, with what decides about its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) key: TaskKey,
    pub(crate) host: u32,
    pub(crate) starved: bool,
    /// Since when it can run.
    pub(crate) since: u64,
}

/// The runnable tasks of a world.
#[derive(Debug)]
pub(crate) enum Ready {
    /// In the order in which they became runnable, taken by draw or not.
    Line {
        entries: VecDeque<Entry>,
        drawn: bool,
    },
    /// Of each host in that order; which had the last turn.
    Hosts {
        queues: BTreeMap<u32, VecDeque<Entry>>,
        last: Option<u32>,
        count: usize,
    },
    /// Those that may run, and those that are passed over.
    Starving {
        entries: VecDeque<Entry>,
        starved: VecDeque<Entry>,
    },
}

impl Ready {
    pub(crate) fn new(strategy: Strategy) -> Ready {
        match strategy {
            Strategy::Fifo => Ready::line(false),
            Strategy::Random => Ready::line(true),
            Strategy::RoundRobinHosts => Ready::by_hosts(),
            Strategy::Starve(_) => Ready::starving(),
        }
    }

    pub(crate) fn line(drawn: bool) -> Ready {
        let entries = VecDeque::new();
        Ready::Line { entries, drawn }
    }

    pub(crate) fn by_hosts() -> Ready {
        Ready::Hosts {
            queues: BTreeMap::new(),
            last: None,
            count: 0,
        }
    }

    pub(crate) fn starving() -> Ready {
        Ready::Starving {
            entries: VecDeque::new(),
            starved: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        match self {
            Ready::Line { entries, .. } => entries.push_back(entry),
            Ready::Hosts { queues, count, .. } => {
                queues.entry(entry.host).or_default().push_back(entry);
                *count += 1;
            }
            Ready::Starving { starved, .. } if entry.starved => starved.push_back(entry),
            Ready::Starving { entries, .. } => entries.push_back(entry),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Ready::Line { entries, .. } => entries.len(),
            Ready::Hosts { count, .. } => *count,
            Ready::Starving { entries, starved } => entries.len() + starved.len(),
        }
    }

    /// Takes the task whose turn it is. `choose` draws one of so many, of which 0 is the oldest.
    pub(crate) fn take(
        &mut self,
        now: u64,
        mut choose: impl FnMut(usize) -> usize,
    ) -> Option<TaskKey> {
        let mut draw = |entries: &mut VecDeque<Entry>| {
            let index = choose(entries.len());
            entries.remove(index)
        };
        let entry = match self {
            Ready::Line {
                entries,
                drawn: true,
            } => draw(entries),
            Ready::Line { entries, .. } => entries.pop_front(),
            Ready::Hosts {
                queues,
                last,
                count,
            } => {
                let next = last.and_then(|last| queues.range(last + 1..).next());
                let host = *next.or_else(|| queues.iter().next())?.0;
                let queue = queues.get_mut(&host)?;
                let entry = queue.pop_front();
                if queue.is_empty() {
                    queues.remove(&host);
                }
                *last = Some(host);
                *count -= usize::from(entry.is_some());
                entry
            }
            Ready::Starving { entries, starved } => {
                let overdue = |entry: &Entry| now.saturating_sub(entry.since) >= PATIENCE;
                match starved.front().is_some_and(overdue) {
                    true => starved.pop_front(),
                    false if entries.is_empty() => draw(starved),
                    false => draw(entries),
                }
            }
        };
        entry.map(|entry| entry.key)
    }

    /// Takes out the tasks of `host`, in their order.
    pub(crate) fn take_host(&mut self, host: u32) -> Vec<Entry> {
        let mut taken = Vec::new();
        let mut sift = |entries: &mut VecDeque<Entry>| {
            entries.retain(|entry| {
                let stays = entry.host != host;
                if !stays {
                    taken.push(*entry);
                }
                stays
            });
        };
        match self {
            Ready::Line { entries, .. } => sift(entries),
            Ready::Hosts { queues, count, .. } => {
                let mut queue = queues.remove(&host).unwrap_or_default();
                *count -= queue.len();
                sift(&mut queue);
            }
            Ready::Starving { entries, starved } => {
                sift(entries);
                sift(starved);
            }
        }
        taken
    }
}
