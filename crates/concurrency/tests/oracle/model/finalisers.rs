//! Drops of bodies, and the finalisers that they leave behind.

use super::super::event::{Cause, Event};
use super::super::program::{Id, Ms};
use super::{Model, Pending, Run};

/// How long the finalisers of one body may take together.
const WITHIN: Ms = 5_000;

/// A finaliser: its number in the order in which they were made, its name, how long it takes.
pub(super) type Left = (u64, Id, Ms);

/// Those that a body left, one after the other.
pub(super) struct Finalising {
    /// The next one last.
    left: Vec<Left>,
    /// Which one runs, and until when.
    current: Option<(Id, Ms)>,
    /// When they are cut off.
    bound: Option<Ms>,
    cause: Cause,
}

impl Finalising {
    fn new(mut left: Vec<Left>, cause: Cause) -> Option<Finalising> {
        left.sort_unstable();
        (!left.is_empty()).then_some(Finalising {
            left,
            current: None,
            bound: None,
            cause,
        })
    }

    pub(super) fn sleeps(&self, moments: &mut Vec<Ms>) {
        moments.extend(self.current.map(|current| current.1));
        moments.extend(self.bound);
    }
}

impl<'a> Model<'a> {
    pub(super) fn register(&mut self, run: &mut Run<'a>, id: Id, span: Ms) {
        self.changed = true;
        self.finalisers += 1;
        run.finalisers.push((self.finalisers, id, span));
        run.at += 1;
    }

    /// Drops a body whose owner obeys a cancel; what it leaves is the owner's.
    pub(super) fn cut(&mut self, at: usize, run: Run<'a>) -> Option<Finalising> {
        let mut left = Some(Vec::new());
        self.drop_run(run, &mut left);
        Finalising::new(left.unwrap_or_default(), self.cause_of_drop(at))
    }

    fn cause_of_drop(&self, at: usize) -> Cause {
        let dropped = || Cause("Dropped".to_owned(), String::new(), self.now);
        self.cause(at).unwrap_or_else(dropped)
    }

    /// Whether they are over.
    pub(super) fn poll_finalising(&mut self, finalising: &mut Option<Finalising>) -> bool {
        let Some(some) = finalising else { return true };
        let bound = *some.bound.get_or_insert(self.now + WITHIN);
        loop {
            match some.current {
                Some((id, _)) if bound <= self.now => {
                    self.say(Event::Dropped(id));
                    break;
                }
                Some((_, due)) if due > self.now => return false,
                Some((id, _)) => self.say(Event::Cleaned(id)),
                None => {}
            }
            let Some((_, id, span)) = some.left.pop() else {
                break;
            };
            some.current = Some((id, self.now + span));
            let cause = some.cause.clone();
            self.say(Event::Cleans(id, cause));
        }
        self.changed = true;
        *finalising = None;
        true
    }

    /// Whether the root's got on.
    pub(super) fn poll_behind(&mut self) -> bool {
        for finalising in std::mem::take(&mut self.behind) {
            let mut finalising = Some(finalising);
            self.poll_finalising(&mut finalising);
            self.behind.extend(finalising);
        }
        self.changed
    }

    /// A drop by who cuts a body around it, who takes what is left, or by foreign code. Children of
    /// a group go on.
    pub(super) fn drop_run(&mut self, run: Run<'a>, taker: &mut Option<Vec<Left>>) {
        if run.begun {
            self.say(Event::Dropped(run.body.id));
        }
        // Foreign code that drops a body of its own makes it forget them.
        if let Some(left) = taker {
            left.extend(run.finalisers);
        }
        match run.step.map(|step| *step) {
            Some(Pending::Join(runs, _) | Pending::Select(runs)) => {
                for run in runs.into_iter().flatten() {
                    self.drop_run(run, taker);
                }
            }
            Some(Pending::Crew(branches)) => self.drop_crew(branches, taker),
            Some(Pending::Scope(place, body, finalising)) => {
                self.behind.extend(finalising);
                if let Some(body) = body {
                    self.shields_dropped += usize::from(self.nodes[place.node].mask);
                    self.lose(place.node, vec![body], taker);
                }
                self.nodes[place.node].in_tree = false;
            }
            Some(Pending::Group(place, body, _, finalising)) if self.nodes[place.node].in_tree => {
                self.cancel_within(place.node, 0, "Dropped", String::new());
                self.behind.extend(finalising);
                self.lose(place.node, body.into_iter().collect(), taker);
                self.nodes[place.node].parent = None;
                self.nodes[place.node].in_tree = false;
                let group = self.groups.get_mut(&place.id).expect("it has begun");
                group.closed = true;
            }
            _ => {}
        }
    }

    /// Drops what an owner has because the owner is dropped: if nobody takes what is left, the root
    /// does.
    pub(super) fn lose(&mut self, at: usize, runs: Vec<Run<'a>>, taker: &mut Option<Vec<Left>>) {
        let mut own = Some(Vec::new());
        let left = if taker.is_some() { taker } else { &mut own };
        for run in runs {
            self.drop_run(run, left);
        }
        let cause = self.cause_of_drop(at);
        let finalising = Finalising::new(own.unwrap_or_default(), cause);
        self.behind.extend(finalising);
    }
}
