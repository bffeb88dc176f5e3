//! What a driver and its broker tell each other.

use std::io;
use std::time::Duration;

use bowline_backend::time::Instant;

use super::CallPipes;
use crate::connection::Untaken;
use crate::executor::{JobEnd, JobHandle};
use crate::proto::{CloseCause, Command, Event, IncomingCall, Stats};

/// What a driver tells the broker.
pub(crate) trait Host: Send + Sync {
    /// Something about the connection or the peer's methods.
    fn event(&mut self, event: Event);
    /// What the peer is to be told first, now that it is known.
    fn introduce(&mut self) -> Command {
        Command::Advertise(Vec::new())
    }
    /// What the peer is to be told of what is offered now.
    fn refresh(&mut self) -> [Option<Command>; 2] {
        [None, None]
    }
    /// What the peer is to be told when it is asked for no new calls: that nothing is offered any more.
    /// Calls that are on their way are taken all the same.
    fn leaving(&mut self) -> Option<Command> {
        None
    }
    /// The peer was asked for no new calls, and those it had made have come.
    fn left(&mut self) {}
    /// Whether the connection is to stay for calls that this side may make, though none is in flight.
    fn is_needed(&self) -> bool {
        false
    }
    /// The peer answered a call of ours.
    fn answered(&mut self) {}
    /// The peer sent an item of a call of ours, or took of what calls of ours send.
    fn heard(&mut self) {}
    /// A call of ours was lost with the connection, whose end will be told next.
    fn lost(&mut self) {}
    /// A call of the peer came to this end, which it is about to be told.
    fn ended(&mut self, _end: &JobEnd) {}
    /// When a peer whose call is refused for load may try again, if that is known.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
    /// The connection is over, and this is what its machine counted.
    fn counted(&mut self, _stats: &Stats) {}
    /// The connection is over with so many calls of the peer under way.
    fn abandoned(&mut self, _calls: usize) {}
    /// The peer calls, as was found in the turn that began at `now`; the answer is how to cancel the job. It is
    /// begun after the next [`rouse`](Self::rouse). Its items, if it has any, go through `pipes`; what is
    /// `untaken` is so until it begins.
    fn opened(
        &mut self,
        now: Instant,
        call: IncomingCall,
        pipes: Option<CallPipes>,
        untaken: Option<Untaken>,
    ) -> JobHandle;
    /// Has calls begun; whether there are more, for which to come again once other tasks have had
    /// their turn.
    fn rouse(&mut self) -> bool;
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Why.
    pub(crate) cause: CloseCause,
    /// The error of the stream that broke.
    pub(crate) error: Option<io::Error>,
}
