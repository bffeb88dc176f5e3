//! Encoded items of one direction of a call, between who sends them and who takes them.

mod state;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::bunch::Bunch;
use crate::connection::Mailbox;
use crate::proto::CallId;
use state::{Port, Side, State, notify};

/// How the items of a pipe end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All were put in.
    Complete,
    /// Who put them in is gone, or cannot be reached any more.
    Broken,
}

/// Nobody takes items any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// What a writer goes on with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// All that is there was taken; how it ended, if it has.
    All(Option<End>),
    /// There is more, for later.
    Part,
}

/// What a reader has in hand.
pub(crate) struct InHand {
    pub(crate) items: Bunch,
    /// It reports what it has taken of them when it is so much, and when it wants others.
    pub(crate) reports_at: u64,
}

/// Taken while a driver has not looked at what was taken before, for it to look at together.
pub(crate) const BETWEEN_LOOKS: u64 = 1024;

/// Encoded items on their way, with one writer and one reader; at either end may be a driver.
///
/// Invariants:
/// - P1 no waker is woken or dropped and no mail is posted under the lock.
/// - P2 a writer that keeps to [`poll_room`](Self::poll_room) goes beyond `room` by one item at most;
///   a driver that puts in what a peer sent is bounded by the credit of the call.
/// - P3 the driver is told once until it has looked: `told` stands from a post to its look.
/// - P4 `charge` is of the items that wait and of those that a reader of the program has in hand and has
///   not reported as taken. It reports when that changes something for somebody: see `reports_at`.
pub(crate) struct Pipe {
    state: Mutex<State>,
    room: u64,
}

impl Pipe {
    /// A pipe whose writer waits while items of this charge or more wait.
    pub(crate) fn new(room: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                charge: 0,
                end: None,
                closed: false,
                discards: false,
                reader: None,
                writer: None,
                watcher: None,
                port: None,
                asked: false,
                awaited: false,
            }),
            room,
        })
    }

    /// A driver takes the items from now on, and looks once it is told that there are some. It looks
    /// first by itself.
    pub(crate) fn read_by(&self, mailbox: &Arc<Mailbox>, call: CallId) {
        self.attach(Side::Reads, mailbox, call, u64::MAX);
    }

    /// A driver puts the items in from now on, and looks once items of the charge `until` were taken.
    pub(crate) fn written_by(&self, mailbox: &Arc<Mailbox>, call: CallId, until: u64) {
        self.attach(Side::Writes, mailbox, call, until);
    }

    fn attach(&self, side: Side, mailbox: &Arc<Mailbox>, call: CallId, until: u64) {
        let port = Port {
            side,
            mailbox: mailbox.clone(),
            call,
            told: side == Side::Reads,
            taken: 0,
            until,
        };
        let former = self.state().port.replace(port);
        drop(former);
    }

    /// Whether the writer may put items in, and up to which charge.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<u64, Closed>> {
        let waker = cx.waker().clone();
        let mut state = self.state();
        let ready = state.room(self.room);
        let former = match ready {
            Some(_) => state.writer.take(),
            None => state.writer.replace(waker),
        };
        drop(state);
        drop(former);
        ready.map_or(Poll::Pending, Poll::Ready)
    }

    /// The same for a writer that does not wait: none while there is no room.
    pub(crate) fn room(&self) -> Option<Result<u64, Closed>> {
        self.state().room(self.room)
    }

    /// Puts items in, whether there is room or not.
    pub(crate) fn put(&self, items: Bunch) -> Result<(), Closed> {
        let mut state = self.state();
        if state.closed || state.end.is_some() {
            return Err(Closed);
        }
        if state.discards {
            let post = state.took(items.charge());
            drop(state);
            notify(None, post);
            return Ok(());
        }
        state.charge += items.charge();
        let apart = match state.items.back_mut() {
            Some(last) => last.join(items),
            None => Some(items),
        };
        state.items.extend(apart);
        let reader = state.reader.take();
        let post = state.came();
        drop(state);
        notify(reader, post);
        Ok(())
    }

    /// No more items come; the first word counts, and that nobody takes them is one.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.state();
        if state.end.is_some() || state.closed {
            return;
        }
        state.end = Some(end);
        let (reader, watcher) = (state.reader.take(), state.watcher.take());
        if end == End::Broken
            && let Some(port) = &mut state.port
        {
            // It need not wait for room.
            port.told = false;
        }
        let post = state.came();
        drop(state);
        notify(reader, post);
        notify(watcher, None);
    }

    /// How its writer ended it; for who is neither writer nor reader, and is woken then.
    pub(crate) fn watch(&self, cx: &Context<'_>) -> Option<End> {
        let waker = cx.waker().clone();
        let mut state = self.state();
        let end = state.end;
        let former = match end {
            None => state.watcher.replace(waker),
            Some(_) => None,
        };
        drop(state);
        drop(former);
        end
    }

    /// The next items; none at the end. Of what the reader was given before it has taken `taken`.
    pub(crate) fn poll_items(
        &self,
        cx: &mut Context<'_>,
        taken: &mut u64,
    ) -> Poll<Result<InHand, End>> {
        let waker = cx.waker().clone();
        if let Some(items) = self.try_items(taken) {
            return Poll::Ready(items);
        }
        let mut state = self.state();
        // Others may have come in between.
        let waits = state.items.is_empty() && state.end().is_none();
        let former = waits.then(|| state.reader.replace(waker));
        let post = if waits { state.answers() } else { None };
        drop(state);
        match former {
            Some(former) => {
                drop(former);
                notify(None, post);
                Poll::Pending
            }
            None => self.try_items(taken).map_or(Poll::Pending, Poll::Ready),
        }
    }

    /// The next items, if some are there, or how they ended.
    pub(crate) fn try_items(&self, taken: &mut u64) -> Option<Result<InHand, End>> {
        let mut state = self.state();
        let told = state.reported(mem::take(taken), self.room);
        let next = match state.items.pop_front() {
            Some(items) => Some(Ok(InHand {
                items,
                reports_at: state.reports_at(self.room),
            })),
            None => state.end().map(Err),
        };
        drop(state);
        notify(told.0, told.1);
        next
    }

    /// The reader has taken so much of what it has in hand; when it has to report again.
    pub(crate) fn report(&self, taken: u64) -> u64 {
        let mut state = self.state();
        let told = state.reported(taken, self.room);
        let reports_at = state.reports_at(self.room);
        drop(state);
        notify(told.0, told.1);
        reports_at
    }

    /// The reader wants no more items: those that wait are dropped, and those that come.
    pub(crate) fn discard(&self) {
        let mut state = self.state();
        state.discards = true;
        let items = mem::take(&mut state.items);
        let charge = mem::take(&mut state.charge);
        let writer = state.writer.take();
        let post = state.took(charge);
        drop(state);
        drop(items);
        notify(writer, post);
    }

    /// How its writer ended it.
    pub(crate) fn ended(&self) -> Option<End> {
        self.state().end
    }

    /// Nobody takes items any more; those that wait are dropped.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        if mem::replace(&mut state.closed, true) {
            return;
        }
        let items = mem::take(&mut state.items);
        let charge = mem::take(&mut state.charge);
        let wakers = (state.writer.take(), state.reader.take());
        let post = state.took(charge);
        drop(state);
        drop(items);
        notify(wakers.0, post);
        notify(wakers.1, None);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// The driver looks: gives the items to `take` while it takes all it is given.
    pub(crate) fn feed(
        &self,
        wakers: &mut Vec<Waker>,
        mut take: impl FnMut(&mut Bunch) -> bool,
    ) -> Fed {
        let mut state = self.state();
        let mut fed = None;
        while let Some(item) = state.items.front_mut() {
            let before = item.charge();
            let all = take(item);
            let left = if all { 0 } else { item.charge() };
            state.charge -= before - left;
            if !all {
                fed = Some(Fed::Part);
                break;
            }
            state.items.pop_front();
        }
        let end = state.end;
        wakers.extend(state.writer_with_room(self.room));
        if let Some(port) = &mut state.port {
            // Until there is room again it need not be told of more.
            port.told = fed.is_some();
        }
        drop(state);
        fed.unwrap_or(Fed::All(end))
    }

    /// The driver looks: what was taken since it last did.
    pub(crate) fn taken(&self) -> u64 {
        let mut state = self.state();
        match &mut state.port {
            Some(port) => mem::take(&mut port.taken),
            None => 0,
        }
    }

    /// The driver is to be told once items of the charge `until` were taken; false if they have been.
    pub(crate) fn tell_at(&self, until: u64) -> bool {
        let mut state = self.state();
        let Some(port) = &mut state.port else {
            return true;
        };
        port.until = until.max(1);
        port.told = port.taken >= port.until;
        !port.told
    }

    /// The driver asks whether the reader waits for more: it is told of that by the next look. Gives what
    /// wakes the reader, to do so.
    pub(crate) fn ask(&self) -> Option<Waker> {
        let mut state = self.state();
        state.asked = true;
        state.reader.take()
    }

    /// The driver looks: whether the reader has said that it waits, since it was asked.
    pub(crate) fn is_awaited(&self) -> bool {
        mem::take(&mut self.state().awaited)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Pipe")
            .field("items", &state.items.len())
            .field("charge", &state.charge)
            .field("end", &state.end)
            .finish_non_exhaustive()
    }
}
