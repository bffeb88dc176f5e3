//! What a poll of several branches of one task does.

use super::super::event::Event;
use super::super::program::{Body, Crew, Id};
use super::finalisers::{Finalising, Left};
use super::{Ended, Model, Run};
use std::collections::BTreeSet;

/// A gather, a race, or a scope with its children.
pub(super) struct Branches<'a> {
    crew: Crew,
    id: Id,
    node: usize,
    branches: Vec<Branch<'a>>,
    host_failed: Option<Id>,
    errors: BTreeSet<Id>,
    won: bool,
    /// A cancel dropped one of them.
    cut: bool,
    over: bool,
}

struct Branch<'a> {
    node: usize,
    run: Option<Run<'a>>,
    finalising: Option<Finalising>,
}

impl<'a> Branches<'a> {
    pub(super) fn finalising(&self) -> impl Iterator<Item = &Finalising> {
        self.branches
            .iter()
            .filter_map(|branch| branch.finalising.as_ref())
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &Run<'a>> {
        self.branches
            .iter()
            .filter_map(|branch| branch.run.as_ref())
    }
}

impl<'a> Model<'a> {
    pub(super) fn open_crew(
        &mut self,
        crew: Crew,
        id: Id,
        bodies: &'a [Body],
        place: usize,
    ) -> Branches<'a> {
        let node = self.node(Some(place), 0);
        let branches = bodies.iter().map(|body| Branch {
            node: self.node(Some(node), 0),
            run: Some(Run::of(body)),
            finalising: None,
        });
        Branches {
            crew,
            id,
            node,
            branches: branches.collect(),
            host_failed: None,
            errors: BTreeSet::new(),
            won: false,
            cut: false,
            over: false,
        }
    }

    /// Each is polled at least once, and once more behind a cancel of them all; then it is cut by
    /// itself, whatever the others hold.
    pub(super) fn poll_crew(&mut self, crew: &mut Branches<'a>) -> Option<Ended> {
        if crew.over {
            return None;
        }
        loop {
            let told = self.is_cut(crew.node);
            for at in 0..crew.branches.len() {
                let at = match self.backwards {
                    true => crew.branches.len() - 1 - at,
                    false => at,
                };
                self.poll_branch(crew, at);
            }
            if self.is_cut(crew.node) == told {
                break;
            }
        }
        if crew.runs().next().is_some() || crew.finalising().next().is_some() {
            return None;
        }
        crew.over = true;
        self.changed = true;
        self.nodes[crew.node].in_tree = false;
        let own = self.nodes[crew.node].own.as_ref().map(|own| own.0.clone());
        let cut_outside = crew.cut && (self.is_cut_outside(crew.node) || own.is_none());
        let is_race = crew.crew == Crew::Race;
        if cut_outside && !(is_race && crew.won) {
            return None;
        }
        let errors = std::mem::take(&mut crew.errors);
        let done = match is_race {
            true => crew.won,
            false => errors.is_empty() && crew.host_failed.is_none(),
        };
        self.say(match done {
            true => Event::CrewDone(crew.id),
            false => Event::CrewFailed(crew.id, crew.host_failed, errors, own.filter(|_| !is_race)),
        });
        Some(Ok(()))
    }

    fn poll_branch(&mut self, crew: &mut Branches<'a>, at: usize) {
        let node = crew.branches[at].node;
        if crew.branches[at].finalising.is_some()
            && self.poll_finalising(&mut crew.branches[at].finalising)
        {
            self.nodes[node].in_tree = false;
        }
        let Some(mut run) = crew.branches[at].run.take() else {
            return;
        };
        let body = run.body.id;
        let ended = self.poll(&mut run, node);
        let is_cut = self.is_cut(node) && !self.holds(&run);
        if ended.is_none() && !is_cut {
            crew.branches[at].run = Some(run);
            return;
        }
        self.changed = true;
        let is_host = crew.crew == Crew::Scope && at == 0;
        match (ended, crew.crew) {
            (None, _) => {
                crew.cut = true;
                let mut finalising = self.cut(node, run);
                self.poll_finalising(&mut finalising);
                crew.branches[at].finalising = finalising;
            }
            (Some(_), Crew::Race) if crew.won => {}
            (Some(Ok(())), Crew::Race) => {
                crew.won = true;
                self.cancel(crew.node, "Satisfied", at.to_string());
            }
            (Some(Ok(())), _) => {}
            (Some(Err(error)), Crew::Scope) if is_host => {
                crew.host_failed = Some(error);
                self.cancel(crew.node, "HostFailed", String::new());
            }
            (Some(Err(error)), kind) => {
                crew.errors.insert(error);
                match kind {
                    Crew::Race => false,
                    Crew::Gather => self.cancel(crew.node, "SiblingFailed", at.to_string()),
                    Crew::Scope => self.cancel(crew.node, "SiblingFailed", body.to_string()),
                };
            }
        }
        self.nodes[node].in_tree = crew.branches[at].finalising.is_some();
    }

    pub(super) fn drop_crew(&mut self, crew: Branches<'a>, taker: &mut Option<Vec<Left>>) {
        let mut runs = Vec::new();
        for branch in crew.branches {
            runs.extend(branch.run);
            self.behind.extend(branch.finalising);
        }
        self.lose(crew.node, runs, taker);
        self.nodes[crew.node].in_tree = false;
    }
}
