//! Which job is next: by hop level, by priority, by method, and then in the order they came.

use std::any::TypeId;
use std::collections::BTreeMap;

use super::Job;

/// Hop levels: that of calls of programs, and 8 of calls by handlers.
const LEVELS: usize = 9;

/// A method whose handlers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MethodKey {
    /// By its call type.
    Call(TypeId),
    /// By the address of its entry in the locked registry.
    Entry(usize),
}

/// At most so many handlers of one method at once.
pub(crate) type MethodLimit = (MethodKey, usize);

/// Place in the order of waiting jobs: higher priorities first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    rank: u8,
    number: u64,
}

/// Where a job counts, waiting or running.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    level: u8,
    turn: Turn,
    method: Option<MethodLimit>,
}

/// The jobs of an executor that run, by number, and those that wait.
///
/// Invariants:
/// - Q1 `running` of a level is the number of its jobs that were taken and not given back, at most
///   its `most`; `all_running` and `all_waiting` are the sums.
/// - Q2 `claimed` of a method is the number of its jobs that run, or wait for a place of their level
///   alone; it is at most its limit. Only while it is equal to that are jobs of it `parked`.
/// - Q3 a method is in `methods` while it has claims.
pub(super) struct Queue {
    levels: [Level; LEVELS],
    methods: BTreeMap<MethodKey, Counted>,
    next: u64,
    all_running: usize,
    all_waiting: usize,
}

#[derive(Default)]
struct Level {
    most: usize,
    running: usize,
    waiting: BTreeMap<Turn, Job>,
    /// How many wait, those that wait for their method included.
    queued: usize,
}

#[derive(Default)]
struct Counted {
    claimed: usize,
    /// Those that wait for others of their method to end, with their levels.
    parked: BTreeMap<Turn, Job>,
}

impl Queue {
    pub(super) fn new(max_workers: usize) -> Self {
        let mut levels: [Level; LEVELS] = Default::default();
        let deeper = (max_workers / 8).max(1);
        for level in &mut levels {
            level.most = deeper;
        }
        levels[0].most = max_workers;
        Self {
            levels,
            methods: BTreeMap::new(),
            next: 0,
            all_running: 0,
            all_waiting: 0,
        }
    }

    pub(super) fn max_workers(&self) -> usize {
        self.levels[0].most
    }

    pub(super) fn running(&self) -> usize {
        self.all_running
    }

    pub(super) fn waiting(&self) -> usize {
        self.all_waiting
    }

    /// Whether no more than `queue` jobs may wait at this hop level; deeper ones have an eighth.
    pub(super) fn is_full(&self, hops: u8, queue: usize) -> bool {
        let most = match hops {
            0 => queue,
            _ => queue.div_ceil(8),
        };
        self.levels[index(hops)].queued >= most
    }

    /// Takes a place for `job`, unless it has to wait.
    pub(super) fn take(&mut self, job: &Job) -> Option<Spot> {
        let level = &mut self.levels[index(job.hops())];
        if level.running >= level.most || !level.waiting.is_empty() {
            return None;
        }
        let method = job.limit();
        if let Some(limit) = method
            && !claim(&mut self.methods, limit)
        {
            return None;
        }
        level.running += 1;
        self.all_running += 1;
        Some(Spot {
            level: job.hops(),
            turn: Turn { rank: 0, number: 0 },
            method,
        })
    }

    /// Has `job` wait for its turn.
    pub(super) fn wait(&mut self, job: Job) -> Spot {
        let turn = Turn {
            rank: 7 - job.priority().min(7),
            number: self.next,
        };
        self.next += 1;
        let spot = Spot {
            level: job.hops(),
            turn,
            method: job.limit(),
        };
        self.all_waiting += 1;
        let level = &mut self.levels[index(spot.level)];
        level.queued += 1;
        match spot.method {
            Some(limit) if !claim(&mut self.methods, limit) => {
                let method = self.methods.entry(limit.0).or_default();
                method.parked.insert(turn, job);
            }
            _ => {
                level.waiting.insert(turn, job);
            }
        }
        spot
    }

    /// The next job that may run; it has a place from now on.
    pub(super) fn next(&mut self) -> Option<(Job, Spot)> {
        if self.all_waiting == 0 {
            return None;
        }
        let free = |level: &&mut Level| level.running < level.most && !level.waiting.is_empty();
        let level = self.levels.iter_mut().find(free)?;
        let (turn, job) = level.waiting.pop_first()?;
        level.running += 1;
        level.queued -= 1;
        self.all_running += 1;
        self.all_waiting -= 1;
        let spot = Spot {
            level: job.hops(),
            turn,
            method: job.limit(),
        };
        Some((job, spot))
    }

    /// Gives back a place that was taken.
    pub(super) fn give_back(&mut self, spot: Spot) {
        self.levels[index(spot.level)].running -= 1;
        self.all_running -= 1;
        self.release(spot.method);
    }

    /// Takes the job out that waits at `spot`.
    pub(super) fn withdraw(&mut self, spot: Spot) -> Option<Job> {
        let level = &mut self.levels[index(spot.level)];
        if let Some(job) = level.waiting.remove(&spot.turn) {
            level.queued -= 1;
            self.all_waiting -= 1;
            self.release(spot.method);
            return Some(job);
        }
        let method = self.methods.get_mut(&spot.method?.0)?;
        let job = method.parked.remove(&spot.turn)?;
        level.queued -= 1;
        self.all_waiting -= 1;
        Some(job)
    }

    /// Takes out the jobs that nobody waits for.
    pub(super) fn purge(&mut self) -> Vec<Job> {
        self.take_out(Job::is_cancelled)
    }

    /// Takes out all jobs that wait.
    pub(super) fn clear(&mut self) -> Vec<Job> {
        self.take_out(|_| true)
    }

    fn take_out(&mut self, which: impl Fn(&Job) -> bool) -> Vec<Job> {
        let waiting = self.levels.iter().flat_map(|level| &level.waiting);
        let parked = self.methods.values().flat_map(|method| &method.parked);
        // Those that are parked first: none of them gets a claim that is given up next.
        let spots: Vec<_> = parked
            .chain(waiting)
            .filter(|(_, job)| which(job))
            .map(|(turn, job)| Spot {
                level: job.hops(),
                turn: *turn,
                method: job.limit(),
            })
            .collect();
        let taken = spots.into_iter().filter_map(|spot| self.withdraw(spot));
        taken.collect()
    }

    /// A job of the method gives up its claim; the first that is parked gets it.
    fn release(&mut self, method: Option<MethodLimit>) {
        let Some((key, _)) = method else { return };
        let Some(counted) = self.methods.get_mut(&key) else {
            return;
        };
        match counted.parked.pop_first() {
            Some((turn, job)) => {
                let level = &mut self.levels[index(job.hops())];
                level.waiting.insert(turn, job);
            }
            None => {
                counted.claimed -= 1;
                if counted.claimed == 0 {
                    self.methods.remove(&key);
                }
            }
        }
    }
}

fn index(hops: u8) -> usize {
    usize::from(hops).min(LEVELS - 1)
}

/// One more job of the method; false if there are enough.
fn claim(methods: &mut BTreeMap<MethodKey, Counted>, (key, most): MethodLimit) -> bool {
    let counted = methods.entry(key).or_default();
    if counted.claimed >= most {
        return false;
    }
    counted.claimed += 1;
    true
}
