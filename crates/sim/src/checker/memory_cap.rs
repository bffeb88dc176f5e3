//! Bounds on what grows.

use crate::checker::{Checker, Violation};
use crate::current;
use crate::trace::{EventKind, TraceEvent};

/// What grows stays within bounds: tasks and buffered bytes of the world, and whatever the program
/// notes the size of.
///
/// ```
/// use bowline_sim::Sim;
/// use bowline_sim::checker::MemoryCap;
///
/// let world = Sim::builder()
///     .client("queue", || async {
///         for length in 0..50 {
///             Sim::note("queue length", length);
///         }
///     })
///     .checker(|| MemoryCap::new().tasks(100).noted("queue length", 32));
/// let failure = world.run().unwrap_err();
/// assert!(failure.message().contains(r#""queue length" is 33"#));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a cap checks nothing until it is given to a world"]
pub struct MemoryCap {
    tasks: Option<usize>,
    buffered: Option<usize>,
    noted: Vec<(&'static str, u64)>,
}

impl MemoryCap {
    const RULE: &'static str = "memory cap";

    /// No bounds yet.
    pub fn new() -> MemoryCap {
        MemoryCap::default()
    }

    /// At most so many tasks alive at once, on all hosts together.
    pub fn tasks(mut self, most: usize) -> MemoryCap {
        self.tasks = Some(most);
        self
    }

    /// At most so many bytes in the buffers of all sockets together, counted as
    /// [`HostLimits::buffered_bytes`](crate::HostLimits) does.
    pub fn buffered(mut self, most: usize) -> MemoryCap {
        self.buffered = Some(most);
        self
    }

    /// No [note](crate::Sim::note) of this label is of more than `most`.
    pub fn noted(mut self, label: &'static str, most: u64) -> MemoryCap {
        self.noted.push((label, most));
        self
    }
}

impl Checker for MemoryCap {
    fn on_event(&mut self, event: &TraceEvent) -> Result<(), Violation> {
        let over = |what: &str, is: u64, most: u64| {
            let message = format!("{what} is {is} at event {}, at most {most}", event.index());
            Err(Violation::new(MemoryCap::RULE, message))
        };
        if event.kind() == EventKind::Note {
            let of_label = |noted: &&(&str, u64)| noted.0 == event.label();
            let is = event.values().0;
            for (label, most) in self.noted.iter().filter(of_label) {
                if is > *most {
                    return over(&format!("{label:?}"), is, *most);
                }
            }
        }
        let (tasks, buffered) = current::with("memory cap", |state| {
            (state.tasks.len(), state.net.buffered)
        });
        match (self.tasks, self.buffered) {
            (Some(most), _) if tasks > most => over("tasks", tasks as u64, most as u64),
            (_, Some(most)) if buffered > most => {
                over("buffered bytes", buffered as u64, most as u64)
            }
            _ => Ok(()),
        }
    }
}
