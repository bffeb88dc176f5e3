//! What the receiving side of a line has to tell before it receives.

use std::collections::VecDeque;

use crate::error::Error;

/// How many messages that came before anybody asked are kept at most, the latest.
const KEPT: usize = 16;

/// What came, or broke, before anybody asked.
///
/// `early` goes before the old connection, `late` after it and before the present one: so everything
/// is told in the order in which it happened.
///
/// Invariants:
/// 1. Breaks that are told one right after the other are one: the latest error, with the frames of
///    all. So `early` holds a break on each side of each thing that came, at most.
/// 2. Of what came the latest is kept: a program that never receives can go on calling. How many are
///    `missed` is told before all else, for they came before what is left.
/// 3. What is put in the place of something is given back, to be dropped outside of the lock.
pub(super) struct Untold<R> {
    missed: usize,
    early: VecDeque<Result<R, Error>>,
    late: Option<Late>,
}

struct Late {
    error: Error,
    /// Which connection it is of, where it is of one.
    generation: Option<u64>,
}

impl<R> Untold<R> {
    pub(super) fn new() -> Self {
        Untold {
            missed: 0,
            early: VecDeque::new(),
            late: None,
        }
    }

    /// How many of what came made room for what came later, if nobody was told of it before.
    pub(super) fn take_missed(&mut self) -> Option<usize> {
        Some(std::mem::take(&mut self.missed)).filter(|missed| *missed > 0)
    }

    /// What is to be told before the old connection is received from.
    pub(super) fn take_early(&mut self) -> Option<Result<R, Error>> {
        self.early.pop_front()
    }

    /// What is to be told after the old connection, and before the present one is received from.
    pub(super) fn take_late(&mut self) -> Option<Error> {
        self.late.take().map(|late| late.error)
    }

    /// Of this connection, and of no other.
    pub(super) fn take_late_of(&mut self, generation: u64) -> Option<Error> {
        let late = self
            .late
            .take_if(|late| late.generation == Some(generation));
        late.map(|late| late.error)
    }

    /// Something came, or a connection broke, and there is none before it to be received from.
    #[must_use = "it is dropped outside of the lock"]
    pub(super) fn put_early(&mut self, told: Result<R, Error>) -> [Option<Result<R, Error>>; 2] {
        let told = match told {
            Err(error) if error.is_final() => error,
            other => {
                let dropped = self.make_room();
                self.early.push_back(other);
                return dropped;
            }
        };
        match self.early.back_mut() {
            Some(Err(before)) if before.is_final() => {
                [Some(Err(replace_break(before, told))), None]
            }
            _ => {
                self.early.push_back(Err(told));
                [None, None]
            }
        }
    }

    /// Drops the first of what came, if there is no room for more; breaks that are beside each other then
    /// are one.
    fn make_room(&mut self) -> [Option<Result<R, Error>>; 2] {
        let broke = |told: &Result<R, Error>| told.as_ref().is_err_and(Error::is_final);
        if self.early.iter().filter(|told| !broke(told)).count() < KEPT {
            return [None, None];
        }
        let Some(oldest) = self.early.iter().position(|told| !broke(told)) else {
            return [None, None];
        };
        self.missed += 1;
        let dropped = self.early.remove(oldest);
        if oldest == 0 || !self.early.get(oldest).is_some_and(broke) {
            return [dropped, None];
        }
        let (later, before) = (self.early.remove(oldest), self.early.get_mut(oldest - 1));
        let replaced = match (later, before) {
            (Some(Err(later)), Some(Err(before))) => Some(Err(replace_break(before, later))),
            (later, _) => later,
        };
        [dropped, replaced]
    }

    /// A connection broke while an older one is still to be received from.
    #[must_use = "it is dropped outside of the lock"]
    pub(super) fn put_late(&mut self, generation: u64, error: Error) -> Option<Error> {
        match &mut self.late {
            Some(late) => {
                late.generation = None;
                Some(replace_break(&mut late.error, error))
            }
            none => {
                *none = Some(Late {
                    error,
                    generation: Some(generation),
                });
                None
            }
        }
    }

    /// The old connection is gone, and another one may take its place.
    #[must_use = "it is dropped outside of the lock"]
    pub(super) fn old_is_gone(&mut self) -> Option<Error> {
        let late = self.late.take()?;
        let [replaced, _] = self.put_early(Err(late.error));
        replaced?.err()
    }
}

/// Puts a break in the place of the one right before it; gives that back.
fn replace_break(before: &mut Error, error: Error) -> Error {
    let frames = before.unsent_frames() + error.unsent_frames();
    std::mem::replace(before, error.with_unsent_frames(frames))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Break, ErrorKind, Operation};

    fn broken(frames: usize) -> Error {
        Error::new(Operation::Send, ErrorKind::Broken(Break::Reset)).with_unsent_frames(frames)
    }

    fn told(untold: &mut Untold<char>) -> Vec<Result<char, usize>> {
        let early = std::iter::from_fn(|| untold.take_early());
        let mut all: Vec<_> = early
            .map(|one| one.map_err(|error| error.unsent_frames()))
            .collect();
        all.extend(untold.take_late().map(|error| Err(error.unsent_frames())));
        all
    }

    /// Puts it there, and says what is dropped for it.
    fn put(untold: &mut Untold<char>, one: Result<char, Error>) -> Vec<Result<char, usize>> {
        let dropped = untold.put_early(one).into_iter().flatten();
        dropped
            .map(|one| one.map_err(|error| error.unsent_frames()))
            .collect()
    }

    // CL2
    #[test]
    fn breaks_one_after_the_other_are_one_and_what_came_between_keeps_its_place() {
        let mut untold = Untold::new();
        assert_eq!(put(&mut untold, Err(broken(1))), []);
        assert_eq!(put(&mut untold, Err(broken(2))), [Err(1)]);
        assert_eq!(put(&mut untold, Ok('a')), []);
        assert!(untold.put_late(7, broken(4)).is_none());
        assert!(untold.put_late(8, broken(8)).is_some());
        assert!(untold.take_late_of(8).is_none(), "it is of two");
        assert!(untold.old_is_gone().is_none());
        assert_eq!(put(&mut untold, Err(broken(16))), [Err(12)]);
        assert!(untold.put_late(9, broken(32)).is_none());
        assert!(untold.take_late_of(8).is_none(), "it is of another");
        assert_eq!(told(&mut untold), [Err(3), Ok('a'), Err(28), Err(32)]);
        assert!(untold.put_late(9, broken(1)).is_none());
        assert_eq!(untold.take_late_of(9).unwrap().unsent_frames(), 1);
    }

    // CL2, CL4
    #[test]
    fn the_latest_of_what_came_is_kept_and_breaks_take_no_room() {
        let mut untold = Untold::new();
        for _ in 0..KEPT {
            assert_eq!(put(&mut untold, Err(broken(1))), []);
            assert_eq!(put(&mut untold, Ok('a')), []);
        }
        assert_eq!(untold.take_missed(), None);
        // The breaks around the first are one then.
        assert_eq!(put(&mut untold, Ok('b')), [Ok('a'), Err(1)]);
        assert!(
            untold
                .take_early()
                .unwrap()
                .is_err_and(|both| both.unsent_frames() == 2)
        );
        assert_eq!(put(&mut untold, Ok('c')), [Ok('a')]);
        assert_eq!(untold.take_missed(), Some(2));
        assert_eq!(untold.take_missed(), None, "it is told once");
        let told = told(&mut untold);
        assert_eq!(told[0], Err(1));
        assert_eq!(told.iter().filter(|one| one.is_ok()).count(), KEPT);
        assert_eq!(told[told.len() - 2..], [Ok('b'), Ok('c')]);
    }
}
