//! What a poll of a task, scope or group does.

use super::super::event::{Cause, Due, Event};
use super::super::program::{Act, Body, Id, Ms, Region, Step};
use super::finalisers::Finalising;
use super::{Ended, Group, Host, Model, Pending, Place, Run, Task};

impl<'a> Model<'a> {
    pub(super) fn poll_task(&mut self, at: usize) {
        let node = self.tasks[at].node;
        let (mut id, mut ended) = (0, Ok(()));
        if let Some(mut body) = self.tasks[at].body.take() {
            id = body.body.id;
            match self.poll(&mut body, node) {
                Some(how) => ended = how,
                None if self.is_cut(node) && !self.holds(&body) => {
                    self.tasks[at].finalising = self.cut(node, body);
                }
                None => {
                    self.tasks[at].body = Some(body);
                    return;
                }
            }
        } else if self.tasks[at].finalising.is_none() {
            return;
        }
        let mut finalising = self.tasks[at].finalising.take();
        if !self.poll_finalising(&mut finalising) {
            self.tasks[at].finalising = finalising;
            return;
        }
        let Some(group) = self.tasks[at].group else {
            return self.say(Event::Returns);
        };
        self.changed = true;
        let group = self.groups.get_mut(&group).expect("it has begun");
        group.live -= 1;
        if let Err(error) = ended {
            group.errors.insert(error);
            let node = group.node;
            self.cancel(node, "SiblingFailed", id.to_string());
        }
    }

    pub(super) fn poll(&mut self, run: &mut Run<'a>, place: usize) -> Option<Ended> {
        if !run.begun {
            run.begun = true;
            self.say(Event::Begins(run.body.id));
        }
        while let Some(step) = run.body.steps.get(run.at) {
            if let Step::Finalise(id, span) = step {
                self.register(run, *id, *span);
                continue;
            }
            let pending = match run.step.take() {
                Some(pending) => Some(pending),
                None => self.begin(step, place).map(Box::new),
            };
            let ended = match pending {
                None => Ok(()),
                Some(mut pending) => match self.poll_step(&mut pending, place) {
                    Some(ended) => ended,
                    None => {
                        run.step = Some(pending);
                        return None;
                    }
                },
            };
            match (ended, step) {
                (Err(error), _) | (Ok(()), &Step::Fail(error)) => return Some(Err(error)),
                (Ok(()), _) => run.at += 1,
            }
        }
        Some(Ok(()))
    }

    /// Does what takes no time.
    fn begin(&mut self, step: &'a Step, place: usize) -> Option<Pending<'a>> {
        self.changed = true;
        match step {
            Step::Say(id) => {
                let due = match self.deadline(place) {
                    _ if self.is_cut(place) => Due::Cancelled,
                    Ms::MAX => Due::Never,
                    at => Due::At(at),
                };
                self.say(Event::Says(*id, self.cause(place).is_some(), due));
                None
            }
            Step::Act(id, pick, act) => {
                self.act(*id, *pick, *act);
                None
            }
            Step::Spawn(group, body) => {
                self.spawn(*group, body);
                None
            }
            Step::Fail(_) | Step::Finalise(..) => None,
            Step::Sleep(span) => Some(Pending::Sleep(*span, None)),
            Step::Notice(id) => Some(Pending::Notice(*id)),
            Step::Join(a, b) => {
                let runs = [Some(Run::of(a)), Some(Run::of(b))];
                Some(Pending::Join(runs, [None, None]))
            }
            Step::Select(a, b) => Some(Pending::Select([Some(Run::of(a)), Some(Run::of(b))])),
            Step::Scope(region, body) => {
                let node = self.open(region, place);
                let place = Place::at(node, region);
                Some(Pending::Scope(place, Some(Run::of(body)), None))
            }
            Step::Crew(crew, id, bodies) => {
                Some(Pending::Crew(self.open_crew(*crew, *id, bodies, place)))
            }
            Step::Group(region, children, host) => {
                let node = self.open(region, place);
                let group = Group {
                    node,
                    ..Group::default()
                };
                self.groups.insert(region.id, group);
                for child in children {
                    self.spawn(region.id, child);
                }
                let place = Place::at(node, region);
                Some(Pending::Group(place, Some(Run::of(host)), None, None))
            }
        }
    }

    fn open(&mut self, region: &Region, place: usize) -> usize {
        let at = self.node(Some(place), region.grace);
        self.nodes[at].mask = region.shielded;
        if let Some(timeout) = region.timeout {
            self.nodes[at].deadline = self.now + timeout;
        }
        self.regions.insert(region.id, at);
        self.expire();
        at
    }

    fn spawn(&mut self, group: Id, body: &'a Body) {
        let state = self.groups.get_mut(&group).expect("it is around");
        if state.closed {
            return self.say(Event::Refused(body.id));
        }
        state.live += 1;
        let parent = state.node;
        let node = self.node(Some(parent), 0);
        self.tasks.push(Task {
            node,
            body: Some(Run::of(body)),
            finalising: None,
            group: Some(group),
        });
    }

    fn act(&mut self, id: Id, pick: usize, act: Act) {
        let target = self.program.target(pick);
        let Some(&at) = target.and_then(|region| self.regions.get(&region)) else {
            return;
        };
        let reason = format!("call {id}");
        let first = match act {
            Act::Cancel => self.cancel(at, "Explicit", reason),
            Act::Shutdown(grace) => self.cancel_within(at, grace, "Shutdown", String::new()),
            Act::Deadline(span) => {
                self.nodes[at].deadline = self.now + span;
                false
            }
            Act::Raise | Act::Lower => {
                self.nodes[at].mask = matches!(act, Act::Raise);
                false
            }
        };
        self.say(Event::Acts(id, first));
    }

    fn poll_step(&mut self, step: &mut Pending<'a>, place: usize) -> Option<Ended> {
        match step {
            Pending::Sleep(span, due) => {
                // Frozen, and then it has not even begun.
                if self.is_cut(place) {
                    return None;
                }
                let due = *due.get_or_insert(self.now + *span);
                (due <= self.now).then_some(Ok(()))
            }
            Pending::Notice(id) => {
                let cause = self.cause(place)?;
                self.say(Event::Notices(*id, cause));
                Some(Ok(()))
            }
            Pending::Scope(place, body, finalising) => self.poll_scope(place, body, finalising),
            Pending::Group(place, body, host, finalising) => {
                self.poll_group(place, body, host, finalising)
            }
            Pending::Crew(branches) => self.poll_crew(branches),
            Pending::Join(runs, ended) => {
                for (run, ended) in runs.iter_mut().zip(ended.iter_mut()) {
                    if let Some(running) = run {
                        *ended = self.poll(running, place);
                        if ended.is_some() {
                            *run = None;
                        }
                    }
                }
                let [Some(a), Some(b)] = *ended else {
                    return None;
                };
                Some(a.and(b))
            }
            Pending::Select(runs) => {
                for at in 0..2 {
                    let running = runs[at].as_mut()?;
                    if let Some(ended) = self.poll(running, place) {
                        if let Some(loser) = runs[1 - at].take() {
                            self.drop_run(loser, &mut None);
                        }
                        return Some(ended);
                    }
                }
                None
            }
        }
    }

    /// Law 2: polled at least once, and completion wins.
    fn poll_scope(
        &mut self,
        place: &mut Place,
        body: &mut Option<Run<'a>>,
        finalising: &mut Option<Finalising>,
    ) -> Option<Ended> {
        let at = place.node;
        if finalising.is_none() {
            let mut running = body.take()?;
            let cut_now =
                |model: &Self, running: &Run<'a>| model.is_cut(at) && !model.holds(running);
            let started = std::mem::replace(&mut place.started, true);
            if !(started && place.eager && cut_now(self, &running)) {
                if let Some(ended) = self.poll(&mut running, at) {
                    self.nodes[at].in_tree = false;
                    if ended.is_ok() {
                        self.say(Event::Done(place.id));
                    }
                    return Some(ended);
                }
                if !cut_now(self, &running) {
                    *body = Some(running);
                    return None;
                }
            }
            *finalising = self.cut(at, running);
        }
        if !self.poll_finalising(finalising) {
            return None;
        }
        self.nodes[at].in_tree = false;
        self.outcome(at).map(|cause| {
            self.say(Event::Cancelled(place.id, cause));
            Ok(())
        })
    }

    /// The own cause of who was cut; none if it is for an outer scope to return.
    fn outcome(&self, at: usize) -> Option<Cause> {
        let own = self.nodes[at].own.as_ref()?;
        (!self.is_cut_outside(at)).then(|| own.0.clone())
    }

    /// Law 1: returns when nothing runs in it any more.
    fn poll_group(
        &mut self,
        place: &mut Place,
        body: &mut Option<Run<'a>>,
        host: &mut Option<Host>,
        finalising: &mut Option<Finalising>,
    ) -> Option<Ended> {
        let at = place.node;
        if let Some(mut running) = body.take() {
            place.started = true;
            *host = Some(match self.poll(&mut running, at) {
                Some(Ok(())) => Host::Done,
                Some(Err(error)) => {
                    self.cancel(at, "HostFailed", String::new());
                    Host::Failed(error)
                }
                None if self.is_cut(at) && !self.holds(&running) => {
                    *finalising = self.cut(at, running);
                    Host::Cut
                }
                None => {
                    *body = Some(running);
                    return None;
                }
            });
            self.changed = true;
            if finalising.is_none() {
                // With nothing to wait for it is a schedule point all the same, if it returns.
                let returns = *host != Some(Host::Cut)
                    || (self.nodes[at].own.is_some() && !self.is_cut_outside(at));
                let group = self.groups.get_mut(&place.id).expect("it has begun");
                group.closed = group.live == 0;
                if returns {
                    return None;
                }
            }
        }
        if !self.poll_finalising(finalising) {
            return None;
        }
        let group = self.groups.get_mut(&place.id).expect("it has begun");
        let host = host.take_if(|_| group.live == 0)?;
        group.closed = true;
        let errors = std::mem::take(&mut group.errors);
        self.changed = true;
        self.nodes[at].in_tree = false;
        let own = self.nodes[at].own.as_ref().map(|own| own.0.clone());
        if self.is_cut_outside(at) || (host == Host::Cut && own.is_none()) {
            return None;
        }
        let failed = match host {
            Host::Failed(error) => Some(error),
            Host::Done if errors.is_empty() => {
                self.say(Event::GroupDone(place.id));
                return Some(Ok(()));
            }
            Host::Done | Host::Cut => None,
        };
        self.say(Event::GroupFailed(place.id, failed, errors, own));
        Some(Ok(()))
    }
}

impl Place {
    fn at(node: usize, region: &Region) -> Place {
        Place {
            id: region.id,
            eager: region.eager,
            node,
            started: false,
        }
    }
}
