//! What a peer is told of what is offered.

use std::sync::Arc;

use super::Link;
use crate::Codec;
use crate::connection::Untaken;
use crate::executor::{CallRef, JobHandle, ReplySink};
use crate::proto::{Command, IncomingCall};
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

    /// Answers a reserved method, in a task of its own: there may be much to tell.
    pub(super) fn tell(
        &self,
        reserved: Reserved,
        incoming: IncomingCall,
        codec: Codec,
        untaken: Option<Untaken>,
    ) -> JobHandle {
        let call = CallRef::Peer(incoming.call);
        let (shared, mailbox) = (self.place.shared.clone(), self.place.mailbox.clone());
        let principal: Arc<str> = self.principal().into();
        // A closed group drops it; then the connection is about to end.
        drop(self.place.shared.group.spawn_ok(async move {
            let sees = |method: &str| shared.config.tells_of(&principal, reserved, method);
            mailbox.settle(call, reserved.answer(&shared, sees, codec, &incoming.body));
            drop(untaken);
        }));
        JobHandle::of_none()
    }
}
