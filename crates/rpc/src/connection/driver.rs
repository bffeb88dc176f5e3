//! The task of one connection: owns the stream and the machine, and moves what is between them.

mod ending;
mod flows;
mod host;
mod read_buffer;
mod requests;
#[cfg(test)]
mod tests;
mod timing;
mod transfer;
mod untaken;

pub(crate) use flows::{CallPipes, Flow};
pub(crate) use host::{Ended, Host};

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_backend::time::{self, Instant, Sleep};
use bowline_codec::OutputBatch;
use bowline_concurrency::timeout;
use bytes::Bytes;

use read_buffer::ReadBuffer;

use super::Mailbox;
use super::mailbox::Mail;
use crate::executor::JobHandle;
use crate::proto::{
    BrokenKind, CallId, CallKind, CloseCause, Command, Event, IdHash, Machine, charge,
};
use crate::span::Unnumbered;
use crate::stream::Bunch;
use crate::{Certainty, Code, Limits};

/// Most slices of one write.
const SLICES: usize = 64;
/// Bytes of frames made at once for a stream that takes less than there is: a part of a large message.
const LAGGING: usize = 32 * 1024;
/// Bytes written in one turn to a stream that takes them, after which what comes is read and other tasks
/// get their turn.
const WRITTEN: usize = 256 * 1024;
/// Turns in one poll, after which other tasks get theirs.
const TURNS: usize = 16;
/// Events of one turn, after which what they caused is written and other tasks get their turn: a
/// quarter of what is there, within these bounds. Both ends then work on some of many calls each,
/// instead of waiting for the other's whole batch.
const EVENTS: RangeInclusive<usize> = 16..=128;
/// How long the peer may take to read why the connection is over, and then to end its side.
const LINGER: Duration = Duration::from_secs(1);

/// How long a peer may take to read that it should open nothing new.
const SETTLING: Duration = Duration::from_millis(100);

/// The task of one connection.
///
/// Invariants:
/// - D1 a turn that leaves nothing to be written, and has looked for more to read since there was some,
///   sleeps: every waker is registered by then (stream both ways, timer, mailbox).
/// - D2 `tickets[call.slot()]` is the ticket of the call of ours that holds that place of the
///   machine, and its span until that has the number of the call.
/// - D3 `running` holds a peer's call from its event until its answer.
/// - D4 the machine hears of the end of the stream after every frame that came before it: while it
///   holds frames back nothing is read, and a broken stream waits in `broken`.
/// - D6 `flows` has an entry for each call with items from its beginning to its outcome, and until the
///   machine has all items of one of the peer's its answer waits there.
/// - D5 while `unbegun` it does not sleep, and its end has every call begun.
pub(crate) struct Driver<S: ByteStream, H: Host> {
    stream: S,
    machine: Machine,
    mailbox: Arc<Mailbox>,
    host: H,
    out: OutputBatch,
    read: ReadBuffer,
    write_buffer: usize,
    write_stall: Duration,
    /// The stream did not take all at once of what there was, and there has been more since.
    lags: bool,
    /// When the connection is broken if the transport takes nothing until then.
    stalls_at: Option<Instant>,
    /// What had gone out below a transport that holds some back, when it was last looked at.
    passed_on: u64,
    /// How often the peer had granted credit, when the host was told.
    credits: u64,
    /// Until when the peer may take what says why the connection is over.
    last_words: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    tickets: Vec<(usize, Unnumbered)>,
    running: HashMap<CallId, JobHandle, IdHash>,
    flows: BTreeMap<CallId, Flow>,
    /// Calls of the peer wait for somebody to begin them.
    unbegun: bool,
    /// When the peer that was asked for no new calls is told which was the last one taken, and how long
    /// calls may take then.
    leaving: Option<(Instant, Duration)>,
    /// The connection ends as soon as no call is in flight, which takes so long at most, and the host needs
    /// it no more.
    draining: Option<Duration>,
    /// The host was told that no call of the peer will come.
    left: bool,
    mail: Vec<Mail>,
    /// What the machine has not been told of what is offered.
    changes: VecDeque<Command>,
    /// What is offered has changed since the host was asked.
    stale: bool,
    wakers: Vec<Waker>,
    cause: Option<CloseCause>,
    /// How the stream broke, until the machine is told.
    broken: Option<BrokenKind>,
    error: Option<io::Error>,
    reading: bool,
    writing: bool,
}

impl<S: ByteStream, H: Host> Driver<S, H> {
    pub(crate) fn new(
        stream: S,
        machine: Machine,
        mailbox: Arc<Mailbox>,
        host: H,
        limits: &Limits,
    ) -> Self {
        Self {
            stream,
            machine,
            mailbox,
            host,
            out: OutputBatch::new(),
            read: ReadBuffer::new(),
            write_buffer: limits.write_buffer,
            write_stall: limits.write_stall,
            lags: false,
            stalls_at: None,
            passed_on: 0,
            credits: 0,
            last_words: None,
            timer: None,
            tickets: Vec::new(),
            running: HashMap::default(),
            flows: BTreeMap::new(),
            unbegun: false,
            leaving: None,
            draining: None,
            left: false,
            mail: Vec::new(),
            changes: VecDeque::new(),
            stale: false,
            wakers: Vec::new(),
            cause: None,
            broken: None,
            error: None,
            reading: true,
            writing: true,
        }
    }

    /// Drives the connection to its end and says why it ended.
    ///
    /// # Cancel safety
    /// *Value lost*: dropped, it drops the stream, and calls in flight end as lost.
    pub(crate) async fn run(mut self) -> Ended {
        poll_fn(|cx| self.poll(cx)).await;
        self.stop();
        self.host.counted(&self.machine.stats());
        if self.writing
            && self.stream.shutdown().await.is_ok()
            && self.reading
            && !self.is_of_a_stranger_cut_off()
        {
            // What the peer has sent meanwhile would turn our close into a reset.
            let _ = timeout(LINGER, async {
                loop {
                    self.read.bytes.clear();
                    let (read, stream) = (&mut self.read, &mut self.stream);
                    match poll_fn(|cx| read.poll_fill(Pin::new(stream), cx)).await {
                        Ok(0) | Err(_) => break,
                        Ok(_) => {}
                    }
                }
            })
            .await;
        }
        let cause = self.cause.take();
        Ended {
            cause: cause.unwrap_or(CloseCause::Closed(Code::Cancelled)),
            error: self.error.take(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unbegun {
            self.unbegun = self.host.rouse();
        }
        for _ in 0..TURNS {
            let now = time::now();
            let mut moved = self.take_mail(now);
            let read = self.poll_read(cx, now);
            moved |= read;
            let batch = (self.machine.events() / 4).clamp(*EVENTS.start(), *EVENTS.end());
            let events = self.take_events(now, batch);
            moved |= self.take_mail(now);
            // What came by mail is younger than this turn, and what remains of its time is written.
            let now = if moved { time::now() } else { now };
            let unwritten = self.poll_write(cx, now);
            // From here on what is done leaves something to write or to read.
            let mut again = self.broken.is_some() || self.machine.is_holding();
            if (self.stale || !self.changes.is_empty()) && self.machine.has_told() {
                again |= self.tell_changes(now);
            }
            again |= self.poll_timer(cx, now);
            // After a whole batch the rest waits for the next turn, once this batch is dealt with.
            let more = if events < batch {
                self.take_events(now, batch)
            } else {
                batch
            };
            again |= more > 0;
            // With fewer events than asked for none is left: every call that came is in `running`.
            if self.draining.is_some() && more < batch {
                again |= self.close_if_idle(now);
            }
            self.ask();
            self.wakers.drain(..).for_each(Waker::wake);
            let nothing_to_write = self.machine.is_finished() && self.out.is_empty();
            if self.cause.is_some() && (nothing_to_write || !self.writing) {
                return Poll::Ready(());
            }
            if events == batch || self.unbegun || unwritten {
                break;
            }
            // A stream that gave something has no waker yet.
            again = again || read && self.poll_read(cx, now);
            if again {
                continue;
            }
            self.mailbox.gauges().write(&self.machine.gauges());
            if self.mailbox.sleep(cx) {
                return Poll::Pending;
            }
        }
        self.mailbox.gauges().write(&self.machine.gauges());
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_mail(&mut self, now: Instant) -> bool {
        let mut mail = std::mem::take(&mut self.mail);
        self.mailbox.collect(&mut mail);
        let moved = !mail.is_empty();
        for item in mail.drain(..) {
            self.handle(now, item);
        }
        self.mail = mail;
        moved
    }

    /// At most `batch`; how many there were.
    fn take_events(&mut self, now: Instant, batch: usize) -> usize {
        let mut opened = false;
        let mut taken = 0;
        while taken < batch
            && let Some(event) = self.machine.poll_event()
        {
            taken += 1;
            match event {
                Event::Replied { call, body } => {
                    self.host.answered();
                    self.settle(now, call, Ok(body));
                }
                Event::Failed { call, error } => {
                    match (error.code(), error.certainty()) {
                        (Code::ConnectionLost, Certainty::MaybeExecuted) => self.host.lost(),
                        (_, Certainty::Refused | Certainty::Executed) => self.host.answered(),
                        _ => {}
                    }
                    self.settle(now, call, Err(error));
                }
                // Nobody waits for it, so it runs on whatever becomes of the connection.
                Event::Opened(incoming) if incoming.kind.contains(CallKind::NOTIFY) => {
                    opened = true;
                    self.host.opened(now, incoming, None, None);
                }
                Event::Opened(incoming) => {
                    let call = incoming.call;
                    opened = true;
                    let untaken = self.untaken(&incoming);
                    let taken = match untaken {
                        None => charge(incoming.body.len()),
                        Some(_) => 0,
                    };
                    let pipes = self.open_their_flow(now, call, incoming.kind, taken);
                    let job = self.host.opened(now, incoming, pipes, untaken);
                    self.running.insert(call, job);
                }
                Event::Cancelled { call, .. } => {
                    if let Some(job) = self.running.get(&call) {
                        job.request("the caller gave up");
                    }
                    self.give_up_items(now, call);
                }
                Event::Item { call, body } => {
                    self.item_came(call);
                    self.items_came(now, call, Bunch::One(body));
                }
                Event::Items { call, items } => {
                    self.item_came(call);
                    self.items_came(now, call, Bunch::Several(items));
                }
                Event::Ended { call } => self.items_ended(call),
                Event::Room { call } => self.feed(now, call),
                Event::Notified { call } => self.settle(now, call, Ok(Bytes::new())),
                Event::Ready(hello) => {
                    self.mailbox.ready(hello.max_calls, hello.max_body as usize);
                    self.host.event(Event::Ready(hello));
                    let first = self.host.introduce();
                    // Rejected if the connection is over already.
                    let _ = self.machine.command(now, first);
                    if let Some(within) = self.draining {
                        self.leave(now, within);
                    }
                }
                // Now it can be told which call was the last one taken, and none is refused.
                Event::Quiet => {
                    if let Some((_, within)) = self.leaving.take() {
                        self.leave(time::now(), within);
                    }
                }
                Event::Closed(cause) => self.over(now, cause),
                other => self.host.event(other),
            }
        }
        if opened {
            self.unbegun = self.host.rouse();
        }
        taken
    }

    fn item_came(&mut self, call: CallId) {
        if call.is_ours() {
            self.host.heard();
        }
    }

    fn settle(&mut self, now: Instant, call: CallId, outcome: Result<Bytes, crate::CallError>) {
        if !self.flows.is_empty() {
            self.flows.remove(&call);
        }
        // Invariant D2.
        if let Some((ticket, span)) = self.tickets.get_mut(call.slot()) {
            span.number(self.machine.number_of(call));
            let untaken = self.machine.is_untaken(call).then_some(call);
            let wakers = &mut self.wakers;
            let taken = self
                .mailbox
                .settle_ticket(*ticket, outcome, untaken, wakers);
            if untaken.is_some() && !taken {
                self.consumed(now, call, u64::MAX);
            }
        }
    }
}
