//! The places of an executor: who runs, who waits, and what happens when it shuts down.

use std::any::Any;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::job::JobSight;
use super::queue::{Queue, Spot};
use super::{Attachment, Capacity, Job, Refusal, Ticket};
use crate::Code;
use crate::context::{DRAINED, SHUT_DOWN};
use crate::sys::RunningCall;

/// Begins jobs that have a place.
pub(super) trait Begin: Send + Sync {
    /// Begins `job` where its caller stands, or hands it on.
    fn begin(&self, job: Job, place: Place);

    /// Begins a job that waited: the caller stands anywhere.
    fn begin_later(&self, job: Job, place: Place);
}

/// What an executor does with jobs; the order is that of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// It takes jobs.
    Open,
    /// It refuses new ones and waits for those that run.
    Closing,
    /// Those that run are cancelled.
    Cancelling,
    /// Those that run nevertheless are answered.
    GivingUp,
    /// The shutdown is over; the next broker opens it again.
    Closed,
}

const PHASES: [Phase; 5] = [
    Phase::Open,
    Phase::Closing,
    Phase::Cancelling,
    Phase::GivingUp,
    Phase::Closed,
];

/// A handler that waits for something.
struct Asleep {
    sight: JobSight,
    /// Of the task it waits in.
    waker: Waker,
}

/// The places of one executor, shared by its clones.
///
/// Invariants:
/// - E1 a [`Place`] is one handler that counts in `queue`, of its hop level and of its method.
/// - E2 a job waits only while the places of its level or of its method are taken, or somebody
///   hands on: who gives up a place or leaves the queue hands on what is free, unless one who has
///   set `handing` does, and looks again before it goes.
/// - E3 nothing is started, answered, woken or dropped under the lock.
/// - E4 a job leaves the queue when its caller gives up or its broker ends, so those beyond the
///   limit are as many as callers that wait in this process, and notifications of peers that their broker
///   lets in.
/// - E5 `phase` changes under the lock alone, and is copied to `shown` at once.
pub(super) struct Places {
    begin: Box<dyn Begin>,
    shown: AtomicU8,
    state: Mutex<State>,
}

struct State {
    queue: Queue,
    phase: Phase,
    /// A broker started meanwhile, so the end of the shutdown opens it.
    wanted: bool,
    handing: bool,
    /// Handlers that wait for something.
    asleep: slab::Slab<Asleep>,
    /// Places whose callers were answered and whose handlers go on.
    abandoned: usize,
    /// Those who wait until fewer run.
    watching: Vec<Waker>,
}

impl Places {
    /// At most `max_workers` at hop level 0, and an eighth of that at each deeper one.
    pub(super) fn new(max_workers: usize, begin: impl Begin + 'static) -> Arc<Self> {
        Arc::new(Self {
            begin: Box::new(begin),
            shown: AtomicU8::new(Phase::Open as u8),
            state: Mutex::new(State {
                queue: Queue::new(max_workers),
                phase: Phase::Open,
                wanted: false,
                handing: false,
                asleep: slab::Slab::new(),
                abandoned: 0,
                watching: Vec::new(),
            }),
        })
    }

    /// At most `queue` jobs of peers wait at hop level 0, and an eighth of that at deeper ones.
    pub(super) fn capacity(&self, queue: usize) -> Capacity {
        let state = self.state();
        Capacity {
            max_workers: state.queue.max_workers(),
            queue,
            running: state.queue.running(),
            waiting: state.queue.waiting(),
            abandoned: state.abandoned,
            is_full: state.queue.is_busy() && state.queue.is_full(0, queue),
        }
    }

    pub(super) fn admit(self: &Arc<Self>, job: Job, queue: usize) -> Result<Ticket, Refusal> {
        let mut state = self.state();
        if state.phase != Phase::Open {
            drop(state);
            job.refuse(Code::Draining);
            return Err(Refusal);
        }
        if let Some(spot) = state.queue.take(&job) {
            drop(state);
            self.begin.begin(job, Place::new(self, spot));
            return Ok(Ticket::new());
        }
        if !job.is_patient() && state.queue.is_full(job.hops(), queue) {
            drop(state);
            job.refuse(Code::Overloaded);
            return Err(Refusal);
        }
        let spot = state.queue.wait(job);
        drop(state);
        Ok(Ticket::waiting(self.clone(), spot))
    }

    /// Drops the job that waits at `spot`; false if none does any more.
    pub(super) fn withdraw(self: &Arc<Self>, spot: Spot) -> bool {
        let mut state = self.state();
        let withdrawn = state.queue.withdraw(spot);
        self.hand_on(state);
        withdrawn.is_some()
    }

    /// Drops the waiting jobs that nobody waits for.
    pub(super) fn purge(self: &Arc<Self>) {
        let mut state = self.state();
        let dropped = state.queue.purge();
        self.hand_on(state);
        drop(dropped);
    }

    /// A broker starts.
    pub(super) fn open(&self) {
        let mut state = self.state();
        match state.phase {
            Phase::Open => {}
            Phase::Closed => self.enter(&mut state, Phase::Open),
            _ => state.wanted = true,
        }
    }

    fn phase(&self) -> Phase {
        PHASES[usize::from(self.shown.load(Ordering::Acquire))]
    }

    /// Takes new jobs no more; those that waited are returned, and how many run.
    pub(super) fn close(&self) -> (Vec<Job>, usize) {
        let mut state = self.state();
        if state.phase == Phase::Open || state.phase == Phase::Closed {
            self.enter(&mut state, Phase::Closing);
        }
        (state.queue.clear(), state.queue.running())
    }

    /// Cancels every handler that waits or will.
    pub(super) fn cancel(&self) {
        let mut state = self.state();
        if state.phase < Phase::Cancelling {
            self.enter(&mut state, Phase::Cancelling);
        }
        let asleep: Vec<_> = state
            .asleep
            .iter()
            .map(|(_, it)| it.sight.cancel.clone())
            .collect();
        drop(state);
        for cancel in asleep {
            cancel.request(SHUT_DOWN);
        }
    }

    /// Cancels the handlers of the broker with this number that wait.
    pub(super) fn cancel_of(&self, origin: u64) {
        for sight in self.sights_of(origin) {
            sight.cancel.request(DRAINED);
        }
    }

    /// Has every handler that waits answered for.
    pub(super) fn give_up(&self) {
        let mut state = self.state();
        if state.phase < Phase::GivingUp {
            self.enter(&mut state, Phase::GivingUp);
        }
        let asleep: Vec<_> = state
            .asleep
            .iter()
            .map(|(_, it)| it.waker.clone())
            .collect();
        drop(state);
        asleep.into_iter().for_each(Waker::wake);
    }

    /// The calls of the broker with this number whose handlers wait for something.
    pub(super) fn calls(&self, origin: u64) -> Vec<RunningCall> {
        let sights = self.sights_of(origin);
        sights.iter().map(JobSight::describe).collect()
    }

    fn sights_of(&self, origin: u64) -> Vec<JobSight> {
        let state = self.state();
        let asleep = state.asleep.iter().map(|(_, it)| &it.sight);
        let of_it = asleep.filter(|sight| sight.origin == origin);
        of_it.cloned().collect()
    }

    /// The shutdown is over.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        let next = if std::mem::take(&mut state.wanted) {
            Phase::Open
        } else {
            Phase::Closed
        };
        self.enter(&mut state, next);
        let watching = std::mem::take(&mut state.watching);
        drop(state);
        watching.into_iter().for_each(Waker::wake);
    }

    /// How many run, and how many of them were not answered for; `waker` is woken when fewer are.
    pub(super) fn running(&self, waker: Waker) -> (usize, usize) {
        let mut state = self.state();
        let seen = (state.queue.running(), state.asleep.len());
        if seen.0 > 0 {
            state.watching.push(waker);
        }
        seen
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        state.phase = phase;
        self.shown.store(phase as u8, Ordering::Release);
    }

    /// Invariant E2.
    fn hand_on<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        if state.handing {
            return;
        }
        // A broker that is over drops its job and gives up the place in here, once per waiting job:
        // the one loop hands them all on, instead of as many nested drops.
        state.handing = true;
        while let Some((job, spot)) = state.queue.next() {
            drop(state);
            self.begin.begin_later(job, Place::new(self, spot));
            state = self.state();
        }
        state.handing = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for one handler; given up by dropping it.
pub(crate) struct Place {
    places: Arc<Places>,
    spot: Spot,
    /// Where it is in `asleep`.
    asleep: Option<usize>,
    /// It counts in `abandoned`.
    goes_on: bool,
    /// What ends with it.
    held: Option<Box<dyn Any + Send>>,
}

impl Place {
    fn new(places: &Arc<Places>, spot: Spot) -> Self {
        Self {
            places: places.clone(),
            spot,
            asleep: None,
            goes_on: false,
            held: None,
        }
    }

    /// Drops `held` when the place is given up.
    #[cfg(unix)]
    pub(super) fn hold(&mut self, held: impl Any + Send) {
        self.held = Some(Box::new(held));
    }

    /// The handler of this job waits for something, in a task that `waker` wakes.
    pub(super) fn sleeps(&mut self, sight: JobSight, attachment: &Attachment, waker: Waker) {
        let cancel = sight.cancel.clone();
        let mut state = self.places.state();
        let cut = state.phase >= Phase::Cancelling;
        self.asleep = Some(state.asleep.insert(Asleep { sight, waker }));
        drop(state);
        if cut {
            cancel.request(SHUT_DOWN);
        } else if attachment.is_cut() {
            // Now that it is found among those that sleep.
            cancel.request(DRAINED);
        }
    }

    /// Whether its caller is to be answered, whatever the handler does.
    pub(super) fn is_given_up(&self) -> bool {
        self.places.phase() == Phase::GivingUp
    }

    /// Its caller was answered though its handler goes on; again is fine.
    pub(crate) fn goes_on(&mut self) {
        if !std::mem::replace(&mut self.goes_on, true) {
            self.places.state().abandoned += 1;
        }
    }

    /// The same, and nobody waits for its end.
    pub(super) fn answered(&mut self) {
        self.goes_on();
        let Some(place) = self.asleep.take() else {
            return;
        };
        let mut state = self.places.state();
        let entry = state.asleep.remove(place);
        let watching = std::mem::take(&mut state.watching);
        drop(state);
        drop(entry);
        watching.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut state = self.places.state();
        let entry = self.asleep.map(|place| state.asleep.remove(place));
        state.abandoned -= usize::from(self.goes_on);
        state.queue.give_back(self.spot);
        let watching = std::mem::take(&mut state.watching);
        self.places.hand_on(state);
        drop(entry);
        watching.into_iter().for_each(Waker::wake);
    }
}
