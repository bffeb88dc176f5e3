//! Shields that foreign code dropped half-way.

use super::above;
use crate::caught::{guarded, quietly};
use crate::node::NodeRef;
use crate::owner::Owner;
use crate::task_info::TaskInfo;
use std::sync::{Mutex, PoisonError};

/// What to do about them.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct ShieldRule {
    pub(super) hook: Option<fn(&TaskInfo)>,
    /// The root fails at its end.
    pub(super) refuse: bool,
}

/// Those of one root.
pub(super) struct Shields {
    rule: ShieldRule,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    dropped: usize,
    first: Option<String>,
}

impl Shields {
    pub(super) fn new(rule: ShieldRule) -> Shields {
        Shields {
            rule,
            seen: Mutex::default(),
        }
    }

    fn note(&self, shield: &NodeRef, task: Option<&TaskInfo>) {
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.dropped += 1;
            if self.rule.refuse && seen.first.is_none() {
                let place = shield.location;
                seen.first = Some(match task {
                    Some(task) => format!("the one of {place}, in {task}"),
                    None => format!("the one of {place}"),
                });
            }
        }
        if let (Some(hook), Some(task)) = (self.rule.hook, task) {
            // It runs in a drop: a panic could meet one that unwinds already.
            quietly(|| hook(task));
        }
    }

    /// Why the root fails, if it has to.
    pub(super) fn refused(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.first.as_ref()?;
        let (count, verb) = match seen.dropped {
            1 => ("a shield was".to_owned(), "it is"),
            n => (format!("{n} shields were"), "the first is"),
        };
        Some(format!("{count} dropped half-way; {verb} {first}"))
    }
}

/// A shield that is being dropped half-way. Reports when it goes out of scope: after the shield's
/// body, also when that panics.
pub(crate) struct ShieldDropped {
    shield: NodeRef,
    root: NodeRef,
    task: Option<TaskInfo>,
}

impl ShieldDropped {
    /// Looks while the shield is still in the tree.
    pub(crate) fn seen(owner: &Owner) -> Option<ShieldDropped> {
        if !owner.is_under_way() || !owner.node().is_masked() {
            return None;
        }
        let shield = owner.node().clone();
        // Where no backend is to be found there is no root, and nobody to tell.
        let root = guarded(|| above(Some(&shield))).ok()?;
        Some(ShieldDropped {
            task: TaskInfo::of(&shield),
            root,
            shield,
        })
    }
}

impl Drop for ShieldDropped {
    fn drop(&mut self) {
        if let Some(root) = self.root.payload.root() {
            root.shields.note(&self.shield, self.task.as_ref());
        }
    }
}
