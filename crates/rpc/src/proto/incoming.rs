//! Calls of the peer: running here, or answered and waiting for the answer to be written.

use std::collections::{HashMap, VecDeque};

use bowline_backend::time::Instant;
use bytes::Bytes;

use super::outgoing::{LEVELS, slots_at};
use super::{CallId, Failure, IdHash, Rejected, Violation};

/// Longest step from one number to the next.
const MAX_STEP: u64 = 1 << 20;

#[derive(Debug)]
struct Call {
    level: u8,
    priority: u8,
    answered: bool,
    cancelled: bool,
    deadline: Instant,
}

#[derive(Debug)]
pub(super) enum Answer {
    Reply(u64, Bytes),
    Fail(u64, Box<Failure>),
}

// Invariants
// I1 `calls` holds each call from its OPEN until its answer is written, and `at_level` counts them:
//    never more than the slots granted.
// I2 Each call in `calls` that is `answered` has exactly one entry in `answers`, or an outlet whose
//    last message is its answer; others have none.
//    After `keep_answers` there are entries without a call.
// I3 No number is ever taken twice: each is above `highest` when it is taken.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    calls: HashMap<u64, Call, IdHash>,
    at_level: [u32; LEVELS],
    answers: VecDeque<Answer>,
    answer_bytes: usize,
    highest: u64,
    opened: u64,
}

impl Incoming {
    /// The highest number the peer has opened.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// How many calls of the peer are open.
    pub(super) fn open(&self) -> usize {
        self.calls.len()
    }

    /// How many calls the peer has opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Checks and takes the number of a new call of a peer whose numbers have `parity`.
    pub(super) fn number(&mut self, id: u64, parity: u64) -> Result<(), Violation> {
        if id == 0 || id & 1 != parity {
            return Err(Violation::Rule("id-parity"));
        }
        if id <= self.highest {
            return Err(Violation::Rule("id-decrease"));
        }
        if id - self.highest > MAX_STEP || id >> 63 != 0 {
            return Err(Violation::Rule("id-step"));
        }
        self.highest = id;
        self.opened += 1;
        Ok(())
    }

    /// Takes a slot for a call whose number was taken. Levels above 8 count as 8.
    pub(super) fn insert(
        &mut self,
        id: u64,
        hops: u8,
        priority: u8,
        deadline: Instant,
        max_calls: u32,
    ) -> Result<(), Violation> {
        let level = usize::from(hops).min(LEVELS - 1);
        if self.at_level[level] >= slots_at(level, max_calls) {
            return Err(Violation::Rule("max-calls"));
        }
        self.at_level[level] += 1;
        self.calls.insert(
            id,
            Call {
                level: level as u8,
                priority,
                answered: false,
                cancelled: false,
                deadline,
            },
        );
        Ok(())
    }

    /// Whether the call is open: `None` if there is no such call.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.calls.contains_key(&id)
    }

    /// Whether the peer has given the call up.
    pub(super) fn is_cancelled(&self, id: u64) -> bool {
        self.calls.get(&id).is_some_and(|call| call.cancelled)
    }

    /// The peer gives up a call: whether that is news. `None` if there is no such call.
    pub(super) fn cancel(&mut self, id: u64) -> Option<bool> {
        let call = self.calls.get_mut(&id)?;
        let news = !call.answered && !call.cancelled;
        call.cancelled = true;
        Some(news)
    }

    /// Queues the answer to a call.
    pub(super) fn answer(&mut self, answer: Answer) -> Result<(), Rejected> {
        let (Answer::Reply(id, _) | Answer::Fail(id, _)) = &answer;
        match self.calls.get_mut(id) {
            Some(call) if !call.answered => {
                call.answered = true;
                self.answer_bytes += held(&answer);
                self.answers.push_back(answer);
                Ok(())
            }
            _ => Err(Rejected::NoSuchCall),
        }
    }

    /// The answer to a call goes out by its outlet: its priority, whether its caller gave it up, and until
    /// when that waits.
    pub(super) fn answered(&mut self, id: u64) -> Result<(u8, bool, Instant), Rejected> {
        match self.calls.get_mut(&id) {
            Some(call) if !call.answered => {
                call.answered = true;
                Ok((call.priority, call.cancelled, call.deadline))
            }
            _ => Err(Rejected::NoSuchCall),
        }
    }

    /// The answer to a call has gone out by its outlet.
    pub(super) fn finish(&mut self, id: u64) {
        if let Some(call) = self.calls.remove(&id) {
            self.at_level[usize::from(call.level)] -= 1;
        }
    }

    pub(super) fn is_open(&self, call: CallId) -> bool {
        !call.is_ours()
            && self
                .calls
                .get(&call.as_u64())
                .is_some_and(|call| !call.answered)
    }

    pub(super) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The next answer to write; its call is over.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        let answer = self.answers.pop_front()?;
        self.answer_bytes -= held(&answer);
        let (Answer::Reply(id, _) | Answer::Fail(id, _)) = &answer;
        if let Some(call) = self.calls.remove(id) {
            self.at_level[usize::from(call.level)] -= 1;
        }
        Some(answer)
    }

    /// The connection is over: forgets all calls, but answers given are still written.
    pub(super) fn keep_answers(&mut self) {
        self.calls = HashMap::default();
        self.at_level = [0; LEVELS];
    }

    /// Forgets all calls.
    pub(super) fn clear(&mut self) {
        *self = Incoming {
            highest: self.highest,
            opened: self.opened,
            ..Self::default()
        };
    }

    pub(super) fn memory(&self) -> usize {
        self.calls.capacity() * (size_of::<(u64, Call)>() + 1)
            + self.answers.capacity() * size_of::<Answer>()
            + self.answer_bytes
    }
}

fn held(answer: &Answer) -> usize {
    match answer {
        Answer::Reply(_, body) => body.len(),
        Answer::Fail(_, failure) => size_of::<Failure>() + failure.held(),
    }
}
