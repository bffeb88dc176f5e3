//! The same programs on the crate.

use super::event::{Cause, Due, Event, Log, Shown};
use super::program::{Act, Body, Crew, Id, Ms, Program, Region, Step};
use bowline_backend::Backend;
use bowline_backend::time::Instant;
use bowline_concurrency::{
    CancelHandle, CancelScope, Deadline, GroupError, Outcome, Root, Scope, TaskGroup, TaskStatus,
    cancelled, current_effective_deadline, gather, is_cancelled, now, on_cancel, race,
    scope as side_by_side, sleep,
};
use futures_util::future::{BoxFuture, FutureExt, join, select};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

thread_local! {
    static SHIELDS_DROPPED: Cell<usize> = const { Cell::new(0) };
}

/// What the program shows in the world of that seed.
pub(crate) fn play(program: &Program, seed: u64) -> Shown {
    SHIELDS_DROPPED.set(0);
    let program = Arc::new(program.clone());
    let root = Root::new().backend(Backend::Sim);
    let root = root.on_shield_dropped(|_| SHIELDS_DROPPED.set(SHIELDS_DROPPED.get() + 1));
    let log = Arc::new(Mutex::new(Log::new()));
    let kept = log.clone();
    let main = async move {
        let player = Arc::new(Player {
            start: now(),
            program: program.clone(),
            log: kept,
            regions: Mutex::default(),
            groups: Mutex::default(),
        });
        let _ = run(player.clone(), program.main.clone()).await;
        player.say(Event::Returns);
    };
    bowline_sim::block_on(seed, root.entered(main));
    let mut log = std::mem::take(&mut *log.lock().unwrap());
    log.sort();
    Shown {
        log,
        shields_dropped: SHIELDS_DROPPED.get(),
    }
}

struct Player {
    start: Instant,
    program: Arc<Program>,
    log: Arc<Mutex<Log>>,
    regions: Mutex<BTreeMap<Id, CancelHandle>>,
    groups: Mutex<BTreeMap<Id, TaskGroup<Id>>>,
}

impl Player {
    fn at(&self, instant: Instant) -> Ms {
        u64::try_from((instant - self.start).as_millis()).expect("a simulated time is short")
    }

    fn say(&self, event: Event) {
        let at = self.at(now());
        self.log.lock().unwrap().push((at, event));
    }

    fn cause(&self, cause: &bowline_concurrency::Cause) -> Cause {
        let kind = format!("{:?}", cause.kind());
        Cause(kind, cause.reason().to_owned(), self.at(cause.when()))
    }

    fn act(&self, id: Id, pick: usize, act: Act) {
        let target = self.program.target(pick);
        let handle = target.and_then(|region| self.regions.lock().unwrap().get(&region).cloned());
        let Some(handle) = handle else { return };
        let first = match act {
            Act::Cancel => handle.cancel(format!("call {id}")),
            Act::Shutdown(grace) => handle.shutdown(ms(grace)),
            Act::Deadline(span) => {
                handle.set_deadline(Deadline::At(now().saturating_add(ms(span))));
                false
            }
            Act::Raise => {
                handle.raise_shield();
                false
            }
            Act::Lower => {
                handle.lower_shield();
                false
            }
        };
        self.say(Event::Acts(id, first));
    }
}

fn ms(span: Ms) -> Duration {
    Duration::from_millis(span)
}

/// Says when a body is dropped before its end.
struct Guard {
    player: Arc<Player>,
    id: Id,
    ended: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.ended {
            self.player.say(Event::Dropped(self.id));
        }
    }
}

fn run(player: Arc<Player>, body: Body) -> BoxFuture<'static, Result<(), Id>> {
    async move {
        player.say(Event::Begins(body.id));
        let mut guard = Guard {
            player: player.clone(),
            id: body.id,
            ended: false,
        };
        let mut ended = Ok(());
        let mut finalisers: Vec<Box<dyn Send>> = Vec::new();
        for step in body.steps {
            if let Step::Finalise(id, span) = step {
                finalisers.push(Box::new(finaliser(player.clone(), id, span)));
                continue;
            }
            ended = take(&player, step).await;
            if ended.is_err() {
                break;
            }
        }
        guard.ended = true;
        ended
    }
    .boxed()
}

/// Guards what is cleaned up if the body is cut.
fn finaliser(player: Arc<Player>, id: Id, span: Ms) -> impl Send {
    on_cancel(move |cause| async move {
        player.say(Event::Cleans(id, player.cause(&cause)));
        let mut guard = Guard {
            player: player.clone(),
            id,
            ended: false,
        };
        sleep(ms(span)).await;
        guard.ended = true;
        player.say(Event::Cleaned(id));
    })
}

async fn take(player: &Arc<Player>, step: Step) -> Result<(), Id> {
    match step {
        Step::Say(id) => {
            let due = match current_effective_deadline() {
                Deadline::Never => Due::Never,
                Deadline::At(at) => Due::At(player.at(at)),
                Deadline::Cancelled => Due::Cancelled,
            };
            player.say(Event::Says(id, is_cancelled(), due));
        }
        Step::Sleep(span) => sleep(ms(span)).await,
        Step::Notice(id) => {
            let cause = player.cause(&cancelled().await);
            player.say(Event::Notices(id, cause));
        }
        Step::Scope(region, body) => return scope(player, region, body).await,
        Step::Group(region, children, host) => group(player, region, children, host).await,
        Step::Crew(crew, id, bodies) => branches(player, crew, id, bodies).await,
        Step::Join(a, b) => {
            let (a, b) = join(run(player.clone(), a), run(player.clone(), b)).await;
            return a.and(b);
        }
        Step::Select(a, b) => {
            let both = select(run(player.clone(), a), run(player.clone(), b));
            let (ended, loser) = both.await.factor_first();
            drop(loser);
            return ended;
        }
        Step::Spawn(group, body) => {
            let group = player.groups.lock().unwrap().get(&group).cloned();
            spawn(player, &group.expect("it is around"), body);
        }
        Step::Act(id, pick, act) => player.act(id, pick, act),
        Step::Finalise(..) => unreachable!("it is for the whole body"),
        Step::Fail(id) => return Err(id),
    }
    Ok(())
}

fn spawn(player: &Arc<Player>, group: &TaskGroup<Id>, body: Body) {
    let id = body.id;
    let child = group.named(id.to_string()).spawn(run(player.clone(), body));
    if child.status() == TaskStatus::Refused {
        player.say(Event::Refused(id));
    }
}

async fn scope(player: &Arc<Player>, region: Region, body: Body) -> Result<(), Id> {
    let mut scope = CancelScope::new().grace(ms(region.grace));
    if let Some(timeout) = region.timeout {
        scope = scope.timeout(ms(timeout));
    }
    if region.shielded {
        scope = scope.shielded();
    }
    if region.eager {
        scope = scope.eager_drop();
    }
    player
        .regions
        .lock()
        .unwrap()
        .insert(region.id, scope.handle());
    match scope.run(run(player.clone(), body)).await {
        Outcome::Done(ended) => {
            ended?;
            player.say(Event::Done(region.id));
        }
        Outcome::Cancelled(cause) => {
            player.say(Event::Cancelled(region.id, player.cause(&cause)));
        }
    }
    Ok(())
}

async fn group(player: &Arc<Player>, region: Region, children: Vec<Body>, host: Body) {
    let mut builder = TaskGroup::builder().grace(ms(region.grace));
    if let Some(timeout) = region.timeout {
        builder = builder.timeout(ms(timeout));
    }
    let inside = player.clone();
    let result = builder.run(|group: TaskGroup<Id>| async move {
        inside
            .regions
            .lock()
            .unwrap()
            .insert(region.id, group.handle());
        inside
            .groups
            .lock()
            .unwrap()
            .insert(region.id, group.clone());
        for child in children {
            spawn(&inside, &group, child);
        }
        run(inside.clone(), host).await
    });
    player.say(match result.await {
        Ok(()) => Event::GroupDone(region.id),
        Err(error) => {
            let (host, children, cause) = told(player, &error);
            Event::GroupFailed(region.id, host, children, cause)
        }
    });
}

/// The errors of the body and of the others, and the cause.
fn told(player: &Player, error: &GroupError<Id>) -> (Option<Id>, BTreeSet<Id>, Option<Cause>) {
    let children = error.children().iter();
    let children = children.filter_map(|child| child.error().copied());
    let cause = error.cause().map(|cause| player.cause(cause));
    (error.host().copied(), children.collect(), cause)
}

async fn branches(player: &Arc<Player>, crew: Crew, id: Id, bodies: Vec<Body>) {
    let mut bodies = bodies.into_iter();
    let runs = |bodies: std::vec::IntoIter<Body>| {
        let player = player.clone();
        bodies.map(move |body| run(player.clone(), body))
    };
    let result = match crew {
        Crew::Gather => gather(runs(bodies)).await.map(drop),
        Crew::Race => race(runs(bodies)).await,
        Crew::Scope => {
            let host = bodies.next().expect("there is one");
            let running = side_by_side(|scope: Scope<'_, Id>| {
                for body in bodies {
                    let child = scope.named(body.id.to_string());
                    drop(child.spawn(run(player.clone(), body)));
                }
                run(player.clone(), host)
            });
            running.await
        }
    };
    player.say(match result {
        Ok(()) => Event::CrewDone(id),
        Err(error) => {
            let (host, others, cause) = told(player, &error);
            Event::CrewFailed(id, host, others, cause)
        }
    });
}
