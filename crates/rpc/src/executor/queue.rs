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
/// - Q2 `running` of a method is the number of its jobs that were taken and not given back, at most
///   its `most`. A job that waits for a place counts nowhere, so those of other levels and of higher
///   priorities go before it where they can.
/// - Q3 a method is in `methods` while jobs of it run or wait.
/// - Q4 `heads` of a level has the first job that waits there of every method with room for one more,
///   and nothing else.
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
    /// Those of methods that are not counted.
    waiting: BTreeMap<Turn, Job>,
    heads: BTreeMap<Turn, MethodKey>,
    /// How many wait, of all methods.
    queued: usize,
    /// Of those, the notifications of peers.
    notified: usize,
}

impl Level {
    /// Whose turn it is, of those whose methods have room.
    fn first(&self) -> Option<Turn> {
        let waiting = self.waiting.first_key_value().map(|(turn, _)| *turn);
        let head = self.heads.first_key_value().map(|(turn, _)| *turn);
        waiting.into_iter().chain(head).min()
    }
}

struct Counted {
    most: usize,
    running: usize,
    /// At each level.
    waiting: [BTreeMap<Turn, Job>; LEVELS],
}

impl Counted {
    fn has_room(&self) -> bool {
        self.running < self.most
    }

    fn head(&self, level: usize) -> Option<Turn> {
        let first = self.waiting[level].first_key_value();
        first.map(|(turn, _)| *turn)
    }
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

    /// Whether no more than `queue` jobs may wait at this hop level; deeper ones have an eighth. Notifications
    /// of peers, which have bounds of their own, keep no call out.
    pub(super) fn is_full(&self, hops: u8, queue: usize) -> bool {
        let most = match hops {
            0 => queue,
            _ => queue.div_ceil(8),
        };
        let level = &self.levels[index(hops)];
        level.queued - level.notified >= most
    }

    /// Whether a job of a program would have to wait, of whichever method.
    pub(super) fn is_busy(&self) -> bool {
        let level = &self.levels[0];
        level.running >= level.most || level.first().is_some()
    }

    /// Takes a place for `job`, unless it has to wait.
    pub(super) fn take(&mut self, job: &Job) -> Option<Spot> {
        let level = &self.levels[index(job.hops())];
        if level.running >= level.most || level.first().is_some() {
            return None;
        }
        let method = job.limit();
        if let Some((key, _)) = method
            && self.methods.get(&key).is_some_and(|it| !it.has_room())
        {
            return None;
        }
        let spot = Spot {
            level: job.hops(),
            turn: Turn { rank: 0, number: 0 },
            method,
        };
        self.count(spot);
        Some(spot)
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
        let at = index(spot.level);
        self.levels[at].queued += 1;
        self.levels[at].notified += usize::from(job.is_notification());
        match spot.method {
            Some(limit) => self.change(limit, at, |waiting| waiting.insert(turn, job)),
            None => self.levels[at].waiting.insert(turn, job),
        };
        spot
    }

    /// The next job that may run, the first of all levels with a free place; it has a place from now on.
    pub(super) fn next(&mut self) -> Option<(Job, Spot)> {
        if self.all_waiting == 0 {
            return None;
        }
        let levels = self.levels.iter().enumerate();
        let free = levels.filter(|(_, level)| level.running < level.most);
        let firsts = free.filter_map(|(at, level)| Some((level.first()?, at)));
        let (turn, at) = firsts.min()?;
        let method = self.levels[at].heads.get(&turn).copied();
        let limit = method.and_then(|key| Some((key, self.methods.get(&key)?.most)));
        let job = self.remove(limit, at, turn)?;
        let spot = Spot {
            level: job.hops(),
            turn,
            method: limit,
        };
        self.count(spot);
        Some((job, spot))
    }

    /// Gives back a place that was taken.
    pub(super) fn give_back(&mut self, spot: Spot) {
        self.levels[index(spot.level)].running -= 1;
        self.all_running -= 1;
        let Some((key, _)) = spot.method else { return };
        let Some(counted) = self.methods.get_mut(&key) else {
            return;
        };
        let was_full = !counted.has_room();
        counted.running -= 1;
        if was_full {
            for (at, level) in self.levels.iter_mut().enumerate() {
                level.heads.extend(counted.head(at).map(|turn| (turn, key)));
            }
        }
        self.forget(key);
    }

    /// Takes the job out that waits at `spot`.
    pub(super) fn withdraw(&mut self, spot: Spot) -> Option<Job> {
        let job = self.remove(spot.method, index(spot.level), spot.turn)?;
        if let Some((key, _)) = spot.method {
            self.forget(key);
        }
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
        let uncounted = self.levels.iter().map(|level| &level.waiting);
        let counted = self.methods.values().flat_map(|method| &method.waiting);
        let spots: Vec<_> = uncounted
            .chain(counted)
            .flatten()
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

    /// One more job runs at `spot`.
    fn count(&mut self, spot: Spot) {
        self.levels[index(spot.level)].running += 1;
        self.all_running += 1;
        let Some(limit) = spot.method else { return };
        let counted = counted(&mut self.methods, limit);
        counted.running += 1;
        if !counted.has_room() {
            for (at, level) in self.levels.iter_mut().enumerate() {
                if let Some(turn) = counted.head(at) {
                    level.heads.remove(&turn);
                }
            }
        }
    }

    /// Takes a job out that waits, if it does.
    fn remove(&mut self, method: Option<MethodLimit>, at: usize, turn: Turn) -> Option<Job> {
        let job = match method {
            Some(limit) => self.change(limit, at, |waiting| waiting.remove(&turn)),
            None => self.levels[at].waiting.remove(&turn),
        }?;
        self.levels[at].queued -= 1;
        self.levels[at].notified -= usize::from(job.is_notification());
        self.all_waiting -= 1;
        Some(job)
    }

    /// Changes which jobs of a method wait at a level. Invariant Q4.
    fn change<T>(
        &mut self,
        limit: MethodLimit,
        at: usize,
        change: impl FnOnce(&mut BTreeMap<Turn, Job>) -> T,
    ) -> T {
        let counted = counted(&mut self.methods, limit);
        let before = counted.head(at);
        let changed = change(&mut counted.waiting[at]);
        let after = counted.head(at);
        if counted.has_room() && before != after {
            let heads = &mut self.levels[at].heads;
            before.map(|turn| heads.remove(&turn));
            heads.extend(after.map(|turn| (turn, limit.0)));
        }
        changed
    }

    /// Invariant Q3.
    fn forget(&mut self, key: MethodKey) {
        let unused = |it: &Counted| it.running == 0 && it.waiting.iter().all(BTreeMap::is_empty);
        if self.methods.get(&key).is_some_and(unused) {
            self.methods.remove(&key);
        }
    }
}

fn counted(methods: &mut BTreeMap<MethodKey, Counted>, (key, most): MethodLimit) -> &mut Counted {
    methods.entry(key).or_insert_with(|| Counted {
        most,
        running: 0,
        waiting: Default::default(),
    })
}

fn index(hops: u8) -> usize {
    usize::from(hops).min(LEVELS - 1)
}
