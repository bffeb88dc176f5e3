//! Letting an event happen: what it does to the state at once, and what is left to be done with the
//! state free.

use super::message_of;
use crate::current::Shared;
use crate::ending::{Exit, end_host};
use crate::event::Event;
use crate::failure::FailureKind;
use crate::faults::{self, FaultKind, Undo};
use crate::host::Signal;
use crate::jobs::Job;
use crate::machine::Role;
use crate::script::{self, Act};
use crate::signals::Delivery;
use crate::state::{Running, State};
use crate::table::SocketRef;
use crate::tcp::Kind;
use crate::trace::EventKind;
use crate::watchdog::Code;
use crate::wire::Way;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What an event leaves to be done with the state free.
enum Left {
    Job(Job),
    Act(Act),
    Fault(FaultKind),
    Undo(Undo),
    Heal,
    /// The host was killed by this signal.
    Killed(u32, Signal),
}

/// Lets the next event happen.
pub(super) fn fire(shared: &Shared) {
    let left = shared.act(|state| {
        let (key, scheduled) = state.events.pop()?;
        state.streak = 0;
        let scheduled = state.put_off(scheduled)?;
        state.cause = scheduled.cause;
        match scheduled.event {
            Event::Timer(slot) => {
                let timer = &mut state.timers[slot];
                timer.key = None;
                let waker = timer.waker.clone();
                state.running = Some(timer.running);
                state.woken.push(waker);
                state.cause = state.record(EventKind::Timer, "", 0, 0);
            }
            Event::Syn(syn) => {
                state.arriving = Some((syn.host, syn.to_host));
                state.syn(syn);
            }
            Event::Segment { from, to, segment } => {
                state.arriving = state.way_of(from, to);
                state.deliver(from, to, segment);
            }
            Event::Datagram(packet) => {
                state.arriving = Some((packet.from_host, packet.to_host));
                state.deliver_datagram(*packet);
            }
            Event::Unreachable { to, peer } => state.was_unreachable(to, peer),
            Event::ConnectRetry(socket) => {
                state.cause = state.record(EventKind::Timer, "connect", u64::from(socket.slot), 0);
                state.request(socket);
            }
            Event::HandshakeRetry(socket) => state.retry_handshake(socket),
            Event::Retransmit(socket) => state.retransmit(socket),
            Event::DelayedAck(socket) => state.delayed_ack(socket),
            Event::Keepalive(socket) => state.keep_alive(socket),
            Event::Persist(socket) => state.persist(socket),
            Event::Unclog { way, heals } => state.unclog(way, heals),
            Event::Job(slot) => {
                let job = state.finish_job(slot);
                state.running = Some(Running {
                    host: job.host,
                    task: None,
                    number: 0,
                });
                state.cause = state.record(EventKind::Job, "", 0, 0);
                return Some(Left::Job(job));
            }
            Event::Signal { host, signal } => {
                if let Delivery::Fatal = state.deliver_signal(host, signal) {
                    return Some(Left::Killed(host, signal));
                }
            }
            Event::Unsettled(host) => state.unsettled(host),
            Event::Unstopped => state.unstopped(),
            Event::Fault(kind) => {
                state.plague.comes(key);
                return Some(Left::Fault(kind));
            }
            Event::Undo(undo) => {
                state.plague.comes(key);
                return Some(Left::Undo(undo));
            }
            Event::Heal => return Some(Left::Heal),
            Event::Act(act) => return Some(Left::Act(act)),
            Event::Look => {}
        }
        state.arriving = None;
        state.running = None;
        None
    });
    match left {
        None => {}
        Some(Left::Job(job)) => run_job(shared, job),
        Some(Left::Act(act)) => run_act(shared, &act),
        Some(Left::Fault(kind)) => script::act(|world| faults::strike(world, kind)),
        Some(Left::Undo(undo)) => script::act(|world| faults::undo(world, undo)),
        Some(Left::Heal) => script::act(faults::heal),
        Some(Left::Killed(host, signal)) => killed(shared, host, signal),
    }
}

/// Ends a host by a signal that it never listened for.
fn killed(shared: &Shared, host: u32, signal: Signal) {
    shared.act(|state| {
        let message = format!("killed by {signal}, for which it never listened");
        match state.machines[host as usize].role {
            Role::Main => state.fail(FailureKind::ClientError, message),
            _ => state.host_failed(host, FailureKind::ClientError, message),
        }
        state.running = None;
    });
    end_host(shared, host, Exit::Signal);
}

/// Lets the script act. Where it panics, the run fails: nobody else knows its seed.
fn run_act(shared: &Shared, act: &Act) {
    let watching = shared.watch_now(Code::Act);
    let ran = catch_unwind(AssertUnwindSafe(|| act.run()));
    drop(watching);
    if let Err(payload) = ran {
        let at = Duration::from_nanos(act.at);
        let text = message_of(&payload);
        let message = format!("{text} in an act of the script at t={at:?}");
        shared.act(|state| state.fail(FailureKind::Panic, message));
    }
}

fn run_job(shared: &Shared, job: Job) {
    let watching = shared.watch_now(Code::Job(job.location));
    let ran = catch_unwind(AssertUnwindSafe(job.closure));
    drop(watching);
    let crashed = shared.act(|state| {
        let Err(payload) = &ran else {
            state.running = None;
            return false;
        };
        let text = format!(
            "{} in the blocking job submitted at {}",
            message_of(payload),
            job.location
        );
        state.host_failed(job.host, FailureKind::Panic, text);
        state.running = None;
        state.machines[job.host as usize].role != Role::Main
    });
    if crashed {
        end_host(shared, job.host, Exit::Panic);
    }
}

impl State {
    /// The hosts between which a segment goes, as far as one of its sockets still knows.
    fn way_of(&mut self, from: SocketRef, to: SocketRef) -> Option<Way> {
        let mut ends = |socket| {
            let found = self.net.find(socket)?;
            match &found.kind {
                Kind::Stream(stream) => Some((stream.remote_host, found.host)),
                Kind::Listener(_) => None,
            }
        };
        ends(to).or_else(|| ends(from).map(|(to, from)| (from, to)))
    }
}
