//! Shorter scripts that still do it.

use super::script::{Script, Step};

/// Attempts at most.
const ATTEMPTS: usize = 300;

/// Leaves out what can be left out of `script` with `again` still true of it: runs of steps, from
/// half of them down to one, then the second of two operations at once.
pub(super) fn shrink<F>(
    script: Script,
    found: F,
    mut again: impl FnMut(&Script) -> Option<F>,
) -> (Script, F) {
    let (mut script, mut found) = (script, found);
    let mut attempts = 0;
    let mut length = script.0.len().div_ceil(2).max(1);
    loop {
        let mut shorter = false;
        let mut at = 0;
        while at < script.0.len() && attempts < ATTEMPTS {
            attempts += 1;
            let mut steps = script.0.clone();
            steps.drain(at..(at + length).min(steps.len()));
            match again(&Script(steps.clone())) {
                Some(still) => {
                    (script, found) = (Script(steps), still);
                    shorter = true;
                }
                None => at += length,
            }
        }
        if length > 1 {
            length = length.div_ceil(2);
        } else if !shorter || attempts >= ATTEMPTS {
            break;
        }
    }
    for at in 0..script.0.len() {
        let Step::Two(one, other) = script.0[at] else {
            continue;
        };
        let alone = [vec![Step::One(one)], vec![Step::One(other)]];
        let in_turn = [
            vec![Step::One(one), Step::One(other)],
            vec![Step::One(other), Step::One(one)],
        ];
        for instead in alone.into_iter().chain(in_turn) {
            let mut steps = script.0.clone();
            steps.splice(at..=at, instead);
            if let Some(still) = again(&Script(steps.clone())) {
                (script, found) = (Script(steps), still);
                break;
            }
        }
    }
    (script, found)
}
