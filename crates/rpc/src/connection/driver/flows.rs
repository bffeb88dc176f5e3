//! Items of calls, between the pipes of the program and the machine.

use std::fmt;
use std::sync::Arc;

use bowline_backend::stream::ByteStream;
use bowline_backend::time::Instant;
use bytes::Bytes;

use super::{Driver, Host};
use crate::Code;
use crate::executor::JobEnd;
use crate::proto::{CallId, CallKind, CancelReason, Command, Machine, Rejected};
use crate::stream::{Bunch, End, Fed, Pipe};

/// Charge of items that wait in a pipe for the machine to take them: enough that a writer is woken for
/// many at once.
const ROOM: u64 = 16 * 1024;

/// The pipes of one call.
#[derive(Debug, Default)]
pub(crate) struct CallPipes {
    /// Items that go to the peer.
    pub(crate) to_peer: Option<Arc<Pipe>>,
    /// Items that come from it.
    pub(crate) from_peer: Option<Arc<Pipe>>,
}

impl CallPipes {
    /// Those of a call, if it has any; `ours` is one of this side.
    pub(crate) fn of(kind: CallKind, ours: bool) -> Option<Self> {
        let caller = kind.contains(CallKind::CALLER_STREAMS);
        let executor = kind.contains(CallKind::EXECUTOR_STREAMS);
        let (out, back) = if ours {
            (caller, executor)
        } else {
            (executor, caller)
        };
        (out || back).then(|| Self {
            to_peer: out.then(|| Pipe::new(ROOM)),
            // As long as the credit of the call lets them come.
            from_peer: back.then(|| Pipe::new(u64::MAX)),
        })
    }

    pub(crate) fn share(&self) -> Self {
        Self {
            to_peer: self.to_peer.clone(),
            from_peer: self.from_peer.clone(),
        }
    }

    /// The call is over, or is being given up.
    fn end(&self) {
        if let Some(pipe) = &self.to_peer {
            pipe.close();
        }
        if let Some(pipe) = &self.from_peer {
            pipe.end(End::Broken);
        }
    }
}

/// A call with items; dropped, it ends its pipes.
pub(crate) struct Flow {
    pub(super) pipes: CallPipes,
    /// The answer to a call of the peer, which waits until the items before it have gone.
    answer: Option<JobEnd>,
}

impl Flow {
    pub(crate) fn new(pipes: CallPipes) -> Self {
        Self {
            pipes,
            answer: None,
        }
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flow").field(&self.pipes).finish()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.pipes.end();
    }
}

impl<S: ByteStream, H: Host> Driver<S, H> {
    /// The machine has this call, whose items are those of `flow`.
    pub(super) fn open_flow(&mut self, now: Instant, call: CallId, flow: Flow) {
        if let Some(pipe) = &flow.pipes.to_peer {
            pipe.read_by(&self.mailbox, call);
        }
        if let Some(pipe) = &flow.pipes.from_peer {
            pipe.written_by(&self.mailbox, call, self.machine.ungranted(call));
        }
        self.flows.insert(call, flow);
        self.feed(now, call);
    }

    /// The peer has opened a call with items, of whose arguments the program has got `taken`.
    pub(super) fn open_their_flow(
        &mut self,
        now: Instant,
        call: CallId,
        kind: CallKind,
        taken: u64,
    ) -> Option<CallPipes> {
        let pipes = CallPipes::of(kind, false)?;
        self.consumed(now, call, taken);
        let shared = pipes.share();
        self.open_flow(now, call, Flow::new(pipes));
        Some(shared)
    }

    /// Something has changed at the program's end of a pipe.
    pub(super) fn look_at(&mut self, now: Instant, call: CallId) {
        let Some(flow) = self.flows.get(&call) else {
            return;
        };
        if let Some(pipe) = flow.pipes.from_peer.clone() {
            loop {
                let taken = pipe.taken();
                self.consumed(now, call, taken);
                if pipe.tell_at(self.machine.ungranted(call)) {
                    break;
                }
            }
            if pipe.is_awaited() {
                self.machine.awaited(call);
            }
        }
        self.feed(now, call);
    }

    /// Items of `call` have come.
    pub(super) fn items_came(&mut self, now: Instant, call: CallId, items: Bunch) {
        let charge = items.charge();
        let pipe = self
            .flows
            .get(&call)
            .and_then(|it| it.pipes.from_peer.as_ref());
        let put = pipe.map(|pipe| pipe.put(items));
        if !matches!(put, Some(Ok(()))) {
            // Nobody wants them.
            self.consumed(now, call, charge);
        }
    }

    /// All items of a call of the peer have come.
    pub(super) fn items_ended(&mut self, call: CallId) {
        let pipe = self
            .flows
            .get(&call)
            .and_then(|it| it.pipes.from_peer.as_ref());
        if let Some(pipe) = pipe {
            pipe.end(End::Complete);
        }
    }

    /// Gives the machine what it takes of the items to the peer, and what follows them.
    pub(super) fn feed(&mut self, now: Instant, call: CallId) {
        let Some(flow) = self.flows.get_mut(&call) else {
            return;
        };
        if call.is_ours()
            && let Some(pipe) = &flow.pipes.to_peer
            && pipe.ended() == Some(End::Broken)
        {
            flow.pipes.to_peer = None;
            return self.cancel(now, call, CancelReason::Dropped);
        }
        if let Some(pipe) = &flow.pipes.to_peer {
            let machine = &mut self.machine;
            let mut over = false;
            let fed = pipe.feed(&mut self.wakers, |items| {
                match give(machine, now, call, items) {
                    Ok(()) => true,
                    Err(Rejected::NoRoom) => false,
                    Err(_) => {
                        over = true;
                        false
                    }
                }
            });
            match fed {
                // Its outcome is on the way.
                Fed::Part if over => pipe.close(),
                // The machine says when there is room again.
                Fed::Part => return,
                Fed::All(None) => {}
                Fed::All(Some(_)) if !call.is_ours() => {}
                Fed::All(Some(End::Complete)) => {
                    match machine.command(now, Command::End { call }) {
                        Err(Rejected::NoRoom) => return,
                        _ => flow.pipes.to_peer = None,
                    }
                }
                // Looked at above, or the next time.
                Fed::All(Some(End::Broken)) => return,
            }
        }
        if let Some(end) = self.flows.get_mut(&call).and_then(|it| it.answer.take()) {
            self.flows.remove(&call);
            self.answer(now, call, end);
        }
    }

    /// A handler has ended; its answer goes out behind its items.
    pub(super) fn answer_behind_items(&mut self, now: Instant, call: CallId, end: JobEnd) {
        match self.flows.get_mut(&call) {
            None => self.answer(now, call, end),
            Some(flow) => {
                let given_up = matches!(
                    end,
                    JobEnd::Failed {
                        code: Code::Cancelled | Code::DeadlineExceeded,
                        ..
                    }
                );
                flow.answer = Some(end);
                if given_up {
                    // It does not wait for a peer that takes nothing.
                    self.give_up_items(now, call);
                } else {
                    self.feed(now, call);
                }
            }
        }
    }

    /// Answers that wait behind items do so no longer.
    pub(super) fn give_up_answered(&mut self, now: Instant) {
        let answered = self.flows.iter().filter(|(_, flow)| flow.answer.is_some());
        let calls: Vec<_> = answered.map(|(call, _)| *call).collect();
        for call in calls {
            self.give_up_items(now, call);
        }
    }

    /// The peer gave `call` up: its items go nowhere.
    pub(super) fn give_up_items(&mut self, now: Instant, call: CallId) {
        if let Some(flow) = self.flows.get_mut(&call) {
            flow.pipes.end();
            flow.pipes.to_peer = None;
            self.feed(now, call);
        }
    }
}

/// Gives the machine as many of these items as it has room for; `NoRoom` if some are left.
fn give(
    machine: &mut Machine,
    now: Instant,
    call: CallId,
    bunch: &mut Bunch,
) -> Result<(), Rejected> {
    let items = match bunch {
        Bunch::One(item) => {
            let body = item.clone();
            return machine.command(now, Command::Item { call, body }).map(drop);
        }
        Bunch::Several(items) => items,
    };
    while let Some((first, charge)) = items.item_at(0) {
        let room = machine.room_for_items(call);
        if room < charge as u64 {
            // Alone it may go in parts, with credit that comes later; if not, the machine says when to
            // come again.
            let body = Bytes::copy_from_slice(first);
            machine.command(now, Command::Item { call, body })?;
            items.drop_first();
            continue;
        }
        let items = items.split_front(room);
        machine.command(now, Command::Items { call, items })?;
    }
    Ok(())
}
