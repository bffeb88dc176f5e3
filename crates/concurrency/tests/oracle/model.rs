//! The rules of scopes as a plain interpreter: the oracle.
//!
//! It has no wakers, no counts and nothing pushed. Whether code is cancelled is found by walking up
//! the tree (N1), whether a body is held by walking down what runs in it (N3), and at every moment
//! every task is polled until nothing changes any more. It polls as futures are polled, since the
//! rules speak of polls: cancelled is who is dropped at its next `Pending`.

mod crew;
mod finalisers;
mod steps;
mod tree;

use super::event::{Cause, Event, Log, Shown};
use super::program::{Body, Id, Ms, Program, Random};
use crew::Branches;
use finalisers::{Finalising, Left};
use std::collections::{BTreeMap, BTreeSet};

/// Why a program says nothing about the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unfit {
    /// Two things happen at almost the same time.
    Tie,
    /// Who comes first matters.
    Race,
    Hangs,
}

/// Moments closer than this may change places for what polls cost.
const CLOSE: Ms = 3;

/// What a program shows, whatever the order in which its tasks run.
pub(crate) fn expect(program: &Program) -> Result<Shown, Unfit> {
    let mut first = None;
    for (urgency, schedules) in URGENCIES {
        for schedule in 0..schedules {
            let backwards = schedule % 2 == 1;
            let shown = Model::run(program, |task| urgency(task, schedule), backwards)?;
            if *first.get_or_insert_with(|| shown.clone()) != shown {
                return Err(Unfit::Race);
            }
        }
    }
    first.ok_or(Unfit::Race)
}

/// Which task goes before all others, as long as it gets on: the lower the number.
type Urgency = fn(task: usize, schedule: u64) -> u64;

const URGENCIES: [(Urgency, u64); 3] = [
    (|task, _| task as u64, 1),
    (|task, _| u64::MAX - task as u64, 1),
    (
        |task, schedule| Random(schedule << 32 | task as u64).below(u64::MAX),
        12,
    ),
];

struct Model<'a> {
    program: &'a Program,
    now: Ms,
    nodes: Vec<Node>,
    tasks: Vec<Task<'a>>,
    groups: BTreeMap<Id, Group>,
    regions: BTreeMap<Id, usize>,
    log: Log,
    shields_dropped: usize,
    /// What foreign code dropped half-way and the root finishes.
    behind: Vec<Finalising>,
    finalisers: u64,
    changed: bool,
    /// The last branch of a task goes first.
    backwards: bool,
}

/// A root, scope, group or task. The root is the first.
struct Node {
    parent: Option<usize>,
    mask: bool,
    /// The cause of its own cancel, and when that is in force.
    own: Option<(Cause, Ms)>,
    deadline: Ms,
    grace: Ms,
    in_tree: bool,
}

struct Task<'a> {
    node: usize,
    body: Option<Run<'a>>,
    finalising: Option<Finalising>,
    group: Option<Id>,
}

#[derive(Default)]
struct Group {
    node: usize,
    live: usize,
    closed: bool,
    errors: BTreeSet<Id>,
}

/// A body that runs.
struct Run<'a> {
    body: &'a Body,
    begun: bool,
    at: usize,
    step: Option<Box<Pending<'a>>>,
    finalisers: Vec<Left>,
}

/// A step that may take time.
enum Pending<'a> {
    /// How long, and, once it has begun, until when.
    Sleep(Ms, Option<Ms>),
    Notice(Id),
    Scope(Place, Option<Run<'a>>, Option<Finalising>),
    /// The host's body, or how that ended.
    Group(Place, Option<Run<'a>>, Option<Host>, Option<Finalising>),
    Crew(Branches<'a>),
    Join([Option<Run<'a>>; 2], [Option<Ended>; 2]),
    Select([Option<Run<'a>>; 2]),
}

/// A region that runs; one that returned nothing and has no body is frozen for ever.
struct Place {
    id: Id,
    eager: bool,
    node: usize,
    started: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Host {
    Done,
    Failed(Id),
    Cut,
}

type Ended = Result<(), Id>;

impl<'a> Model<'a> {
    fn run(
        program: &'a Program,
        urgency: impl Fn(usize) -> u64,
        backwards: bool,
    ) -> Result<Shown, Unfit> {
        let mut model = Model {
            program,
            now: 0,
            nodes: Vec::new(),
            tasks: Vec::new(),
            groups: BTreeMap::new(),
            regions: BTreeMap::new(),
            log: Log::new(),
            shields_dropped: 0,
            behind: Vec::new(),
            finalisers: 0,
            changed: false,
            backwards,
        };
        let root = model.node(None, 0);
        model.tasks.push(Task {
            node: root,
            body: Some(Run::of(&program.main)),
            finalising: None,
            group: None,
        });
        loop {
            model.settle(&urgency);
            let Some(next) = model.next_moment()? else {
                break;
            };
            model.now = next;
            model.expire();
        }
        let is_alive = |task: &Task<'_>| task.body.is_some() || task.finalising.is_some();
        if model.tasks.iter().any(is_alive) || !model.behind.is_empty() {
            return Err(Unfit::Hangs);
        }
        model.log.sort();
        Ok(Shown {
            log: model.log,
            shields_dropped: model.shields_dropped,
        })
    }

    /// Polls every task until nothing changes.
    fn settle(&mut self, urgency: impl Fn(usize) -> u64) {
        loop {
            let mut order: Vec<usize> = (0..self.tasks.len()).collect();
            order.sort_by_key(|&task| urgency(task));
            self.changed = false;
            let mut order = order.into_iter();
            let gets_on = order.any(|task| {
                self.poll_task(task);
                self.changed
            });
            if !gets_on && !self.poll_behind() {
                return;
            }
        }
    }

    /// The next sleep, deadline or end of a grace.
    fn next_moment(&self) -> Result<Option<Ms>, Unfit> {
        let mut moments = Vec::new();
        for node in self.nodes.iter().filter(|node| node.in_tree) {
            moments.push(node.due());
        }
        for task in &self.tasks {
            if let Some(body) = &task.body {
                body.sleeps(&mut moments);
            }
        }
        let tasks = self
            .tasks
            .iter()
            .filter_map(|task| task.finalising.as_ref());
        for finalising in self.behind.iter().chain(tasks) {
            finalising.sleeps(&mut moments);
        }
        moments.retain(|&moment| moment > self.now && moment != Ms::MAX);
        moments.sort_unstable();
        match moments[..] {
            [first, second, ..] if second - first < CLOSE => Err(Unfit::Tie),
            [first, ..] => Ok(Some(first)),
            [] => Ok(None),
        }
    }

    /// Cancels what has reached its deadline.
    fn expire(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            if node.in_tree && node.own.is_none() && node.deadline <= self.now {
                self.cancel(at, "Deadline", String::new());
            }
        }
    }

    fn node(&mut self, parent: Option<usize>, grace: Ms) -> usize {
        self.changed = true;
        self.nodes.push(Node {
            parent,
            mask: false,
            own: None,
            deadline: Ms::MAX,
            grace,
            in_tree: true,
        });
        self.nodes.len() - 1
    }

    fn say(&mut self, event: Event) {
        self.changed = true;
        self.log.push((self.now, event));
    }
}

impl<'a> Run<'a> {
    fn of(body: &'a Body) -> Run<'a> {
        Run {
            body,
            begun: false,
            at: 0,
            step: None,
            finalisers: Vec::new(),
        }
    }

    /// When its sleeps are over.
    fn sleeps(&self, moments: &mut Vec<Ms>) {
        match self.step.as_deref() {
            Some(Pending::Sleep(_, due)) => moments.extend(due),
            Some(Pending::Scope(_, body, finalising) | Pending::Group(_, body, _, finalising)) => {
                body.iter().for_each(|body| body.sleeps(moments));
                finalising.iter().for_each(|f| f.sleeps(moments));
            }
            Some(Pending::Crew(branches)) => {
                branches.runs().for_each(|run| run.sleeps(moments));
                branches.finalising().for_each(|f| f.sleeps(moments));
            }
            Some(Pending::Join(runs, _) | Pending::Select(runs)) => {
                runs.iter().flatten().for_each(|run| run.sleeps(moments));
            }
            Some(Pending::Notice(_)) | None => {}
        }
    }
}
