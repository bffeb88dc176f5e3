//! What a peer is told of what is offered.

use super::Link;
use crate::proto::Command;
use crate::sys::Reserved;

impl Link {
    /// What the peer is to be told of what is offered now: no longer, and from now on.
    pub(super) fn changes(&mut self) -> [Option<Command>; 2] {
        let shared = &self.place.shared;
        let offered = shared.offers.now();
        let mut change = self.offering.change(&offered);
        let room = shared.limits.max_methods as usize;
        if self.offering.workers() > 0
            && shared.config.tells(self.side)
            && offered.iter().count() + Reserved::ALL.len() <= room
        {
            self.offering.reserve(&mut change);
        }
        [
            (!change.gone.is_empty()).then_some(Command::Withdraw(change.gone)),
            (!change.new.is_empty()).then_some(Command::Advertise(change.new)),
        ]
    }
}
