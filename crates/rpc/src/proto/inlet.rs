//! Messages on their way in that are more than one frame, or one of many: credit and reassembly.

mod budget;

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::IdHash;
use super::frame::CHARGE;
use super::{CallId, IncomingCall, Violation};
pub(crate) use budget::Starving;
use budget::{Left, Pool};

/// What a message is.
#[derive(Debug)]
pub(super) enum What {
    /// The arguments of a call that begins when they are whole.
    Open(Box<IncomingCall>),
    Item,
    Reply,
}

impl What {
    fn is_open(&self) -> bool {
        matches!(self, What::Open(_))
    }
}

#[derive(Debug)]
struct Partial {
    what: What,
    total: usize,
    bytes: BytesMut,
    /// Bytes of it that the window of its call has, as far as is known.
    share: usize,
    /// Everything it lacked is granted.
    admitted: bool,
}

impl Partial {
    /// What has come of it cost so much credit.
    fn charge(&self) -> u64 {
        (self.bytes.len() + CHARGE) as u64
    }
}

/// One direction of one call.
#[derive(Debug)]
struct Inlet {
    call: CallId,
    /// What the peer may still send.
    credit: u64,
    /// Granted beyond the window, for messages not yet taken.
    extra: u64,
    /// The classes of which some of that is beyond the budget.
    beyond: u16,
    /// Received and not yet taken.
    untaken: u64,
    /// Taken and not yet granted again.
    taken: u64,
    /// To be granted by the next CREDIT.
    grant: u64,
    /// Items may come.
    streams: bool,
    partial: Option<Partial>,
}

// Invariants
// N1 `used` of a side is the sum of `extra` of its inlets and of what is left of its calls, which are not in
//    both. What came of a call and may still come is a window and its `extra` at most.
// N2 `grants` names each inlet with a `grant` once, and no other.
// N3 `waiting` of a side names, in their order, the inlets whose partial message needs more credit than is
//    left; names of inlets that are gone are skipped.
// N4 `opens` counts the partial messages that are calls.
#[derive(Debug, Default)]
pub(super) struct Inlets {
    by_wire: HashMap<u64, Box<Inlet>, IdHash>,
    /// Of the peer's calls and of ours.
    pools: [Pool; 2],
    left: HashMap<CallId, Left, IdHash>,
    grants: VecDeque<u64>,
    /// The shares of messages that are partial.
    held: usize,
    /// There may be messages for which the program is to be asked.
    asks: bool,
    opens: usize,
}

impl Inlets {
    pub(super) fn is_empty(&self) -> bool {
        self.by_wire.is_empty()
    }

    /// A call whose peer may send `credit`, of items too if it `streams`.
    pub(super) fn open(&mut self, wire: u64, call: CallId, credit: u32, streams: bool) {
        let inlet = Inlet {
            call,
            credit: credit.into(),
            extra: 0,
            beyond: 0,
            untaken: 0,
            taken: 0,
            grant: 0,
            streams,
            partial: None,
        };
        self.by_wire.insert(wire, Box::new(inlet));
    }

    pub(super) fn contains(&self, wire: u64) -> bool {
        self.by_wire.contains_key(&wire)
    }

    /// Whether a message of `wire` is there in part.
    pub(super) fn is_partial(&self, wire: u64) -> bool {
        self.by_wire
            .get(&wire)
            .is_some_and(|inlet| inlet.partial.is_some())
    }

    pub(super) fn is_partial_open(&self, wire: u64) -> bool {
        self.by_wire.get(&wire).is_some_and(|inlet| {
            inlet
                .partial
                .as_ref()
                .is_some_and(|partial| partial.what.is_open())
        })
    }

    /// Whether calls are there in part.
    pub(super) fn has_partial_opens(&self) -> bool {
        self.opens > 0
    }

    pub(super) fn is_partial_reply(&self, wire: u64) -> bool {
        self.by_wire.get(&wire).is_some_and(
            |inlet| matches!(&inlet.partial, Some(partial) if matches!(partial.what, What::Reply)),
        )
    }

    /// Whether items may come.
    pub(super) fn streams(&self, wire: u64) -> bool {
        self.by_wire.get(&wire).is_some_and(|inlet| inlet.streams)
    }

    /// No more items come.
    pub(super) fn end(&mut self, wire: u64) {
        if let Some(inlet) = self.by_wire.get_mut(&wire) {
            inlet.streams = false;
        }
    }

    /// Frames the peer may have under way for a call that is over.
    pub(super) fn under_way(&self, wire: u64) -> u64 {
        self.by_wire
            .get(&wire)
            .map_or(0, |inlet| inlet.credit / CHARGE as u64 + 4)
    }

    /// What the peer may still send.
    pub(super) fn credit(&self, wire: u64) -> u64 {
        self.by_wire.get(&wire).map_or(0, |inlet| inlet.credit)
    }

    /// A whole message has come in one frame.
    pub(super) fn whole(&mut self, wire: u64, length: usize) -> Result<(), Violation> {
        let Some(inlet) = self.by_wire.get_mut(&wire) else {
            return Ok(());
        };
        inlet.charge(length + CHARGE)
    }

    /// The first part of a message of `total` bytes has come.
    pub(super) fn first(
        &mut self,
        wire: u64,
        what: What,
        total: usize,
        part: &[u8],
        budget: usize,
    ) -> Result<(), Violation> {
        let Some(inlet) = self.by_wire.get_mut(&wire) else {
            return Ok(());
        };
        inlet.charge(part.len() + CHARGE)?;
        if part.len() > total {
            return Err(Violation::Rule("message-total"));
        }
        // As much as may come before more is granted, and no more.
        let allowed = part.len() + inlet.credit.min(total as u64) as usize;
        let share = total.min(allowed);
        let mut bytes = BytesMut::with_capacity(share);
        bytes.extend_from_slice(part);
        self.held += share;
        let rest = (total - part.len()) as u64;
        self.opens += usize::from(what.is_open());
        inlet.partial = Some(Partial {
            what,
            total,
            bytes,
            share,
            admitted: false,
        });
        if rest > inlet.credit {
            let ours = inlet.call.is_ours();
            self.pools[usize::from(ours)].waiting.push_back(wire);
            self.admit(ours, budget);
        }
        Ok(())
    }

    /// A further part has come; the message, if it is the last one.
    pub(super) fn further(
        &mut self,
        wire: u64,
        part: &[u8],
        more: bool,
        budget: usize,
    ) -> Result<Option<(What, Bytes)>, Violation> {
        let Some(inlet) = self.by_wire.get_mut(&wire) else {
            return Ok(None);
        };
        inlet.charge(part.len())?;
        let Some(partial) = &mut inlet.partial else {
            return Ok(None);
        };
        let length = partial.bytes.len() + part.len();
        if length > partial.total || (!more && length < partial.total) {
            return Err(Violation::Rule("message-total"));
        }
        partial.bytes.extend_from_slice(part);
        if !partial.admitted && length > partial.share {
            // More of the window was granted meanwhile.
            self.held += length - partial.share;
            partial.share = length;
        }
        if more {
            return Ok(None);
        }
        let Some(partial) = inlet.partial.take() else {
            return Ok(None);
        };
        let ours = inlet.call.is_ours();
        self.arrived(wire, ours, &partial);
        self.admit(ours, budget);
        Ok(Some((partial.what, partial.bytes.freeze())))
    }

    /// The application took so much: it is granted again, in halves of the window. False if there is
    /// no such call.
    pub(super) fn consumed(&mut self, wire: u64, amount: u64, window: u32, budget: usize) -> bool {
        let Some(inlet) = self.by_wire.get_mut(&wire) else {
            return false;
        };
        let amount = amount.min(inlet.untaken);
        inlet.untaken -= amount;
        let beyond = amount.min(inlet.extra);
        inlet.extra -= beyond;
        inlet.taken += amount - beyond;
        if inlet.taken >= u64::from(window / 2).max(1) && inlet.streams {
            let taken = std::mem::take(&mut inlet.taken);
            inlet.add_grant(taken, wire, &mut self.grants);
        }
        let ours = inlet.call.is_ours();
        if beyond > 0 {
            let classes = match inlet.extra {
                0 => std::mem::take(&mut inlet.beyond),
                _ => 0,
            };
            self.free(ours, beyond, classes);
            self.admit(ours, budget);
        }
        true
    }

    /// How much may be [consumed](Self::consumed) until some of it is granted again, or to others. Less than
    /// half of the window is kept back so, which no message waits for.
    pub(super) fn ungranted(&self, wire: u64, window: u32) -> u64 {
        let half = u64::from(window / 2).max(1);
        match self.by_wire.get(&wire) {
            Some(inlet) if inlet.streams => inlet.extra + half.saturating_sub(inlet.taken),
            // The items are complete: nothing is granted to it any more.
            Some(inlet) if inlet.extra > 0 => inlet.extra,
            Some(_) => u64::MAX,
            None => half,
        }
    }

    /// The next CREDIT to send.
    pub(super) fn next_grant(&mut self) -> Option<(u64, u32)> {
        while let Some(wire) = self.grants.pop_front() {
            if let Some(inlet) = self.by_wire.get_mut(&wire) {
                let amount = std::mem::take(&mut inlet.grant);
                inlet.credit += amount;
                return Some((wire, super::machine::saturate(amount as usize)));
            }
        }
        None
    }

    /// Its peer has given the call up, and sends nothing more: what has come of a message in part is dropped,
    /// and nobody waits for the rest. Whole items are still there to be taken.
    pub(super) fn cut(&mut self, wire: u64, budget: usize) {
        let Some(inlet) = self.by_wire.get_mut(&wire) else {
            return;
        };
        inlet.streams = false;
        if std::mem::take(&mut inlet.grant) > 0 {
            self.grants.retain(|other| *other != wire);
        }
        let Some(partial) = inlet.partial.take() else {
            return;
        };
        let ours = inlet.call.is_ours();
        inlet.untaken = inlet.untaken.saturating_sub(partial.charge());
        let extra = inlet.extra.min(inlet.untaken);
        let freed = std::mem::replace(&mut inlet.extra, extra) - extra;
        let beyond = match extra {
            0 => std::mem::take(&mut inlet.beyond),
            _ => 0,
        };
        self.arrived(wire, ours, &partial);
        self.free(ours, freed, beyond);
        self.admit(ours, budget);
    }

    /// The call is over, or nothing more comes on it. What has come of it still has to be taken, unless it
    /// is `taken` with its end.
    pub(super) fn remove(&mut self, wire: u64, taken: bool, budget: usize) {
        if let Some(inlet) = self.by_wire.remove(&wire) {
            let ours = inlet.call.is_ours();
            let mut untaken = if taken { 0 } else { inlet.untaken };
            if inlet.grant > 0 {
                self.grants.retain(|other| *other != wire);
            }
            if let Some(partial) = &inlet.partial {
                untaken = untaken.saturating_sub(partial.charge());
                self.arrived(wire, ours, partial);
            }
            let extra = inlet.extra.min(untaken);
            let mut beyond = inlet.beyond;
            if extra > 0 {
                let left = Left {
                    extra,
                    beyond: std::mem::take(&mut beyond),
                };
                self.left.insert(inlet.call, left);
            }
            self.free(ours, inlet.extra - extra, beyond);
            self.admit(ours, budget);
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.by_wire.is_empty() && self.left.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn memory(&self) -> usize {
        let pools = self.pools.iter();
        self.by_wire.capacity() * (size_of::<(u64, Box<Inlet>)>() + 1)
            + self.by_wire.len() * (size_of::<Inlet>() + size_of::<IncomingCall>())
            + self.left.capacity() * (size_of::<(CallId, Left)>() + 1)
            + self.grants.capacity() * 8
            + self.held
            + pools
                .map(|it| it.waiting.capacity() * 8 + it.used)
                .sum::<usize>()
    }
}

impl Inlet {
    fn charge(&mut self, amount: usize) -> Result<(), Violation> {
        let amount = amount as u64;
        self.credit = self
            .credit
            .checked_sub(amount)
            .ok_or(Violation::Rule("call-window"))?;
        self.untaken += amount;
        Ok(())
    }

    // Invariant N2.
    fn add_grant(&mut self, amount: u64, wire: u64, grants: &mut VecDeque<u64>) {
        if amount > 0 {
            if self.grant == 0 {
                grants.push_back(wire);
            }
            self.grant += amount;
        }
    }
}
