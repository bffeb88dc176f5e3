//! Where worlds may show what this kernel does not: a row of the reality table allows both.

use std::collections::BTreeSet;

use super::outcome::{End, Outcome};
use super::script::{Op, Place};
use crate::reality::{self, Seen};

/// A row of the reality table, and how the two outcomes look in a script.
#[derive(Debug)]
pub(super) struct Row {
    situation: &'static str,
    operation: &'static str,
    kernel: Seen,
    world: Seen,
    /// Also given whether the socket told of a reset before.
    applies: fn(Op, &Outcome, &Outcome, bool) -> bool,
}

const ROWS: &[Row] = &[
    // Linux keeps what had arrived when a reset comes; other kernels throw it away.
    Row {
        situation: "TCP peer closed with our bytes unread",
        operation: "read",
        kernel: Seen::Data,
        world: Seen::Reset,
        applies: |op, kernel, world, _| {
            matches!(op, Op::Read(..) | Op::Drain(_))
                && kernel.bytes > world.bytes
                && has_failed(world, "ConnectionReset")
        },
    },
    Row {
        situation: "TCP reset told by another call, bytes unread",
        operation: "read",
        kernel: Seen::Data,
        world: Seen::Ended,
        applies: |op, kernel, world, was_reset| {
            matches!(op, Op::Read(..) | Op::Drain(_))
                && was_reset
                && kernel.bytes > world.bytes
                && world.end == End::Ended
        },
    },
    // On a loopback a connect has ended before anything else can happen, unless its runtime has to
    // be told so; a network takes its time.
    Row {
        situation: "listener dropped, connection under way",
        operation: "connect",
        kernel: Seen::Done,
        world: Seen::Reset,
        applies: |op, kernel, world, _| {
            matches!(op, Op::Connect(_, Place::Tcp(_), _))
                && kernel.end == End::Done
                && has_failed(world, "ConnectionReset")
        },
    },
    Row {
        situation: "listener dropped, connection under way",
        operation: "connect",
        kernel: Seen::Reset,
        world: Seen::Done,
        applies: |op, kernel, world, _| {
            matches!(op, Op::Connect(_, Place::Tcp(_), _))
                && has_failed(kernel, "ConnectionReset")
                && world.end == End::Done
        },
    },
];

fn has_failed(outcome: &Outcome, kind: &str) -> bool {
    matches!(&outcome.end, End::Failed(error) if error.starts_with(kind))
}

fn tells_of_reset(outcome: &Outcome) -> bool {
    let told = matches!(&outcome.end, End::Told(text) if text.starts_with("ConnectionReset"));
    told || has_failed(outcome, "ConnectionReset")
}

impl Row {
    fn is_in_the_table(&self) -> bool {
        let allowed = reality::allowed(self.situation, self.operation);
        allowed.contains(&self.kernel) && allowed.contains(&self.world)
    }

    /// Whether a world may show `one` of the script with these operations, where the kernel shows
    /// `kernel`: where they part, a row allows both, and what is done to the same socket after that
    /// is another story. All else is as on the kernel.
    pub(super) fn allows(
        operations: &[Op],
        one: &[Outcome],
        kernel: &BTreeSet<Vec<Outcome>>,
    ) -> bool {
        kernel.iter().any(|kernel| {
            let (mut apart, mut reset) = (BTreeSet::new(), BTreeSet::new());
            let mut pairs = operations.iter().zip(kernel.iter().zip(one));
            pairs.all(|(op, (kernel, world))| {
                let slots = op.slots();
                let was_reset = slots.iter().any(|slot| reset.contains(slot));
                if tells_of_reset(world) {
                    reset.extend(slots.clone());
                }
                if slots.iter().any(|slot| apart.contains(slot)) || kernel == world {
                    return true;
                }
                apart.extend(slots);
                ROWS.iter().any(|row| {
                    (row.applies)(*op, kernel, world, was_reset) && row.is_in_the_table()
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_liberty_is_one_of_a_row() {
        for row in ROWS {
            assert!(row.is_in_the_table(), "{row:?}");
        }
    }
}
