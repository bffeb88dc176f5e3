//! The task of one connection: owns the stream and the machine, and moves what is between them.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_backend::time::{self, Instant, Sleep};
use bowline_codec::OutputBatch;
use bowline_concurrency::timeout;
use bytes::{Bytes, BytesMut};

use super::Mailbox;
use super::mailbox::Mail;
use crate::context::Cancel;
use crate::executor::JobEnd;
use crate::proto::{
    BrokenKind, CallId, CloseCause, Command, Event, Failure, IncomingCall, Machine, StreamEnd,
};
use crate::{Code, Limits};

/// Most slices of one write.
const SLICES: usize = 64;
/// Bytes asked of one read.
const READ: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();
/// Bytes of frames made before they are written.
const FLUSH: usize = 64 * 1024;
/// Turns in one poll, after which other tasks get theirs.
const TURNS: usize = 16;
/// Events of one turn, after which what they caused is written and other tasks get their turn: both
/// ends then work on one half of many calls each, instead of waiting for the other's whole batch.
const EVENTS: usize = 32;
/// How long the peer may take to end its side after a close.
const LINGER: Duration = Duration::from_secs(1);

/// What a driver tells the broker.
pub(crate) trait Host: Send + Sync {
    /// Something about the connection or the peer's methods.
    fn event(&mut self, event: Event);
    /// The peer calls; the answer is how to cancel the job.
    fn opened(&mut self, call: IncomingCall) -> Cancel;
}

/// The task of one connection.
///
/// Invariants:
/// - D1 nothing is polled twice in a turn, and a turn that moved nothing sleeps: every waker is
///   registered by then (stream both ways, timer, mailbox).
/// - D2 `tickets[call.slot()]` is the ticket of the call of ours that holds that place of the
///   machine.
/// - D3 `running` holds a peer's call from its event until its answer.
pub(crate) struct Driver<S: ByteStream, H: Host> {
    stream: S,
    machine: Machine,
    mailbox: Arc<Mailbox>,
    host: H,
    out: OutputBatch,
    read: BytesMut,
    write_buffer: usize,
    write_stall: Duration,
    /// When the connection is broken if the transport takes nothing until then.
    stalls_at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    tickets: Vec<usize>,
    running: BTreeMap<CallId, Cancel>,
    mail: Vec<Mail>,
    wakers: Vec<Waker>,
    cause: Option<CloseCause>,
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
            read: BytesMut::new(),
            write_buffer: limits.write_buffer,
            write_stall: limits.write_stall,
            stalls_at: None,
            timer: None,
            tickets: Vec::new(),
            running: BTreeMap::new(),
            mail: Vec::new(),
            wakers: Vec::new(),
            cause: None,
            reading: true,
            writing: true,
        }
    }

    /// Drives the connection to its end and says why it ended.
    ///
    /// # Cancel safety
    /// *Value lost*: dropped, it drops the stream, and calls in flight end as lost.
    pub(crate) async fn run(mut self) -> CloseCause {
        std::future::poll_fn(|cx| self.poll(cx)).await;
        self.stop();
        if self.writing && self.stream.shutdown().await.is_ok() && self.reading {
            // What the peer has sent meanwhile would turn our close into a reset.
            let _ = timeout(LINGER, async {
                loop {
                    self.read.clear();
                    match self.stream.read_into(&mut self.read, READ).await {
                        Ok(0) | Err(_) => break,
                        Ok(_) => {}
                    }
                }
            })
            .await;
        }
        self.cause
            .take()
            .unwrap_or(CloseCause::Closed(Code::Cancelled))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let now = time::now();
            let mut moved = self.take_mail(now);
            moved |= self.poll_read(cx, now);
            let events = self.take_events();
            moved |= self.take_mail(now);
            moved |= self.poll_write(cx, now);
            moved |= self.poll_timer(cx, now);
            moved |= self.take_events() + events > 0;
            self.wakers.drain(..).for_each(Waker::wake);
            // The cause comes with the last event, so no outcome is left behind.
            let nothing_to_write = self.machine.is_finished() && self.out.is_empty();
            if self.cause.is_some() && (nothing_to_write || !self.writing) {
                return Poll::Ready(());
            }
            if events == EVENTS {
                break;
            }
            if !moved && self.mailbox.sleep(cx) {
                return Poll::Pending;
            }
        }
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

    fn handle(&mut self, now: Instant, mail: Mail) {
        match mail {
            Mail::Open { ticket, open } => {
                if !self.mailbox.is_wanted(ticket) {
                    return;
                }
                match self.machine.command(now, Command::Open(open)) {
                    Ok(call) => {
                        let slot = call.slot();
                        if self.tickets.len() <= slot {
                            self.tickets.resize(slot + 1, usize::MAX);
                        }
                        self.tickets[slot] = ticket;
                        if !self.mailbox.sent(ticket, call) {
                            self.cancel(now, call);
                        }
                    }
                    Err(rejected) => {
                        self.mailbox
                            .settle_ticket(ticket, Err(rejected.into()), &mut self.wakers)
                    }
                }
            }
            Mail::Cancel(call) => self.cancel(now, call),
            Mail::Answer { call, end } => {
                self.running.remove(&call);
                let command = match end {
                    JobEnd::Reply(body) => Command::Reply { call, body },
                    JobEnd::Application(body) => Command::Fail {
                        call,
                        failure: Failure::application(body),
                    },
                    JobEnd::Failed {
                        code,
                        certainty,
                        message,
                    } => Command::Fail {
                        call,
                        failure: Failure::new(code).certainty(certainty).message(message),
                    },
                };
                // Rejected only if the connection is over: then the peer waits no more.
                let _ = self.machine.command(now, command);
            }
            Mail::Close { code, message } => {
                let _ = self.machine.command(
                    now,
                    Command::Close {
                        code,
                        message: message.into(),
                    },
                );
            }
        }
    }

    fn cancel(&mut self, now: Instant, call: CallId) {
        // Rejected if the outcome was faster.
        let _ = self.machine.command(
            now,
            Command::Cancel {
                call,
                reason: crate::proto::CancelReason::Dropped,
            },
        );
    }

    /// At most [`EVENTS`]; how many there were.
    fn take_events(&mut self) -> usize {
        for taken in 0..EVENTS {
            let Some(event) = self.machine.poll_event() else {
                return taken;
            };
            match event {
                Event::Replied { call, body } => self.settle(call, Ok(body)),
                Event::Failed { call, error } => self.settle(call, Err(error)),
                Event::Opened(incoming) => {
                    let call = incoming.call;
                    let cancel = self.host.opened(incoming);
                    self.running.insert(call, cancel);
                }
                Event::Cancelled { call, .. } => {
                    if let Some(cancel) = self.running.get(&call) {
                        cancel.request("the caller gave up");
                    }
                }
                Event::Closed(cause) => {
                    self.cause = Some(cause.clone());
                    self.host.event(Event::Closed(cause));
                }
                other => self.host.event(other),
            }
        }
        EVENTS
    }

    fn settle(&mut self, call: CallId, outcome: Result<Bytes, crate::CallError>) {
        // Invariant D2.
        if let Some(ticket) = self.tickets.get(call.slot()) {
            self.mailbox
                .settle_ticket(*ticket, outcome, &mut self.wakers);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if !self.reading || self.cause.is_some() {
            return false;
        }
        match Pin::new(&mut self.stream).poll_read_into(cx, &mut self.read, READ) {
            Poll::Pending => false,
            Poll::Ready(Ok(0)) => {
                // What is not written by now was reported as never sent, so it stays unwritten.
                self.reading = false;
                self.writing = false;
                self.machine.handle_end(now, StreamEnd::Ended);
                true
            }
            Poll::Ready(Ok(_)) => {
                // The machine turns a violation into a CLOSE and its last event.
                let _ = self.machine.handle_bytes(now, &mut self.read);
                true
            }
            Poll::Ready(Err(error)) => {
                self.broken(now, &error);
                true
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = false;
        while self.writing {
            if self.out.len() < self.write_buffer.min(FLUSH) {
                moved |= self.machine.poll_transmit(now, &mut self.out, FLUSH);
            }
            if self.out.is_empty() {
                break;
            }
            match self.poll_write_once(cx) {
                Poll::Pending => {
                    self.stalls_at.get_or_insert(now + self.write_stall);
                    break;
                }
                Poll::Ready(Ok(n)) => {
                    self.stalls_at = None;
                    self.out.advance(n);
                    self.machine.on_transmitted(n);
                    moved = true;
                }
                Poll::Ready(Err(error)) => {
                    self.broken(now, &error);
                    moved = true;
                }
            }
        }
        moved
    }

    fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let written = if stream.is_write_vectored() && self.out.segments() > 1 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (place, slice) in slices.iter_mut().zip(self.out.slices()) {
                *place = IoSlice::new(slice);
                count += 1;
            }
            ready!(stream.poll_write_vectored(cx, &slices[..count]))?
        } else {
            ready!(stream.poll_write(cx, self.out.coalesce(16 * 1024)))?
        };
        if written == 0 {
            Poll::Ready(Err(io::ErrorKind::WriteZero.into()))
        } else {
            Poll::Ready(Ok(written))
        }
    }

    fn broken(&mut self, now: Instant, error: &io::Error) {
        self.reading = false;
        self.writing = false;
        self.machine
            .handle_end(now, StreamEnd::Broken(BrokenKind::Io(error.kind())));
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let due = self.machine.poll_timeout().unwrap_or(Instant::NEVER);
        let deadline = due.min(self.stalls_at.unwrap_or(Instant::NEVER));
        if deadline == Instant::NEVER {
            return false;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(time::sleep_until(deadline)));
        // A timer that is early costs one look; moving it for every call would cost more.
        if timer.deadline() > deadline || timer.deadline() <= now {
            timer.as_mut().reset(deadline);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = time::now();
        if due <= now {
            self.machine.handle_timeout(now);
        } else if deadline <= now {
            self.writing = false;
            self.reading = false;
            self.machine
                .handle_end(now, StreamEnd::Broken(BrokenKind::Stalled));
        }
        true
    }

    /// Ends what others wait for here; again is fine.
    fn stop(&mut self) {
        for (_, cancel) in std::mem::take(&mut self.running) {
            cancel.request("the connection to the caller was lost");
        }
        self.mailbox.end();
    }
}

impl<S: ByteStream, H: Host> Drop for Driver<S, H> {
    fn drop(&mut self) {
        self.stop();
    }
}
