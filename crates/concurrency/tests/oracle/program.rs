//! Random programs of scopes, shields, groups, cancels, deadlines and foreign drops.

/// Names a body, a region, a call or a line of a program.
pub(crate) type Id = u32;

/// Milliseconds.
pub(crate) type Ms = u64;

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) main: Body,
    /// What can be cancelled by name.
    regions: Vec<Id>,
}

/// Steps that run one after the other; ends early with the first error.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) id: Id,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Says that it was reached, whether it is cancelled, and by when.
    Say(Id),
    Sleep(Ms),
    /// A finaliser that takes so long, for the rest of the body.
    Finalise(Id, Ms),
    /// `cancelled().await`, then says why.
    Notice(Id),
    Scope(Region, Body),
    /// Children and the host's own body.
    Group(Region, Vec<Body>, Body),
    /// Both, in one task.
    Join(Body, Body),
    /// Side by side in one task, each a branch.
    Crew(Crew, Id, Vec<Body>),
    /// Foreign code: the first to end drops the other.
    Select(Body, Body),
    /// One more child for a group around it.
    Spawn(Id, Body),
    /// Somebody's region, by a number of its own, which says whether it was the first call.
    Act(Id, usize, Act),
    /// Ends the task, or the host's body, with an error.
    Fail(Id),
}

/// What the end of one branch means to the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Crew {
    Gather,
    Race,
    /// The first is the scope's own body.
    Scope,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) id: Id,
    pub(crate) timeout: Option<Ms>,
    pub(crate) grace: Ms,
    pub(crate) shielded: bool,
    pub(crate) eager: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Cancel,
    Shutdown(Ms),
    Deadline(Ms),
    Raise,
    Lower,
}

impl Program {
    pub(crate) fn random(seed: u64) -> Program {
        let mut maker = Maker {
            random: Random(seed),
            next: 0,
            left: 6 + Random(!seed).below(42),
            regions: Vec::new(),
            around: Vec::new(),
            groups: Vec::new(),
        };
        let main = maker.body(0);
        Program {
            main,
            regions: maker.regions,
        }
    }

    pub(crate) fn target(&self, pick: usize) -> Option<Id> {
        let count = self.regions.len();
        (count > 0).then(|| self.regions[pick % count])
    }
}

/// SplitMix64 (Steele, Lea, Flood).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

struct Maker {
    random: Random,
    next: Id,
    /// Steps that may still be made.
    left: u64,
    regions: Vec<Id>,
    /// The regions around the place, by their numbers among all of them.
    around: Vec<usize>,
    /// The groups around the place.
    groups: Vec<Id>,
}

impl Maker {
    fn id(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    fn span(&mut self) -> Ms {
        1 + self.random.below(20_000)
    }

    fn body(&mut self, depth: u32) -> Body {
        let id = self.id();
        let wanted = 1 + self.random.below(5) + u64::from(depth == 0);
        let mut steps = Vec::new();
        // What begins at once has mostly the same to say, whoever comes first.
        if self.random.below(5) < 2 {
            steps.push(Step::Sleep(self.span()));
        }
        for _ in 0..wanted {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let step = self.step(depth);
            if matches!(step, Step::Act(..) | Step::Fail(_)) && self.random.below(4) < 3 {
                steps.push(Step::Sleep(self.span()));
            }
            steps.push(step);
        }
        Body { id, steps }
    }

    fn line(&mut self, step: impl FnOnce(Id) -> Step) -> Body {
        let id = self.id();
        let steps = vec![step(self.id())];
        Body { id, steps }
    }

    /// Mostly a region around the place or one that was opened before.
    fn pick(&mut self) -> usize {
        let around = self.around.len() as u64;
        let before = self.regions.len() as u64;
        let kind = self.random.below(8);
        if kind < 4 && around > 0 {
            return self.around[self.random.below(around) as usize];
        }
        let bound = if kind < 7 && before > 0 {
            before
        } else {
            1 << 16
        };
        self.random.below(bound) as usize
    }

    fn region(&mut self) -> Region {
        let id = self.id();
        self.regions.push(id);
        let one_in = |random: &mut Random, n| random.below(n) == 0;
        let timed = one_in(&mut self.random, 2);
        let at_once = one_in(&mut self.random, 12);
        Region {
            id,
            timeout: timed.then(|| if at_once { 0 } else { self.span() }),
            grace: if one_in(&mut self.random, 3) {
                self.span() / 2
            } else {
                0
            },
            shielded: one_in(&mut self.random, 4),
            eager: one_in(&mut self.random, 6),
        }
    }

    fn step(&mut self, depth: u32) -> Step {
        let kind = match depth {
            0 => 12 + self.random.below(15),
            1..5 => self.random.below(30),
            _ => self.random.below(12),
        };
        match kind {
            0 => Step::Say(self.id()),
            1..=3 => Step::Sleep(self.span()),
            4 | 5 => {
                let notices = self.line(Step::Notice);
                let span = self.span();
                Step::Select(notices, self.line(|_| Step::Sleep(span)))
            }
            6..=10 => {
                let act = match self.random.below(12) {
                    0..=3 => Act::Cancel,
                    4 => Act::Shutdown(0),
                    5 => Act::Shutdown(self.span() / 2),
                    6 => Act::Deadline(self.span()),
                    7..=9 => Act::Raise,
                    _ => Act::Lower,
                };
                let pick = self.pick();
                Step::Act(self.id(), pick, act)
            }
            11 if depth > 1 => Step::Fail(self.id()),
            11..=16 => {
                self.around.push(self.regions.len());
                let scope = Step::Scope(self.region(), self.body(depth + 1));
                self.around.pop();
                scope
            }
            17..=19 => {
                self.around.push(self.regions.len());
                let mut region = self.region();
                (region.shielded, region.eager) = (false, false);
                self.groups.push(region.id);
                let children = (0..self.random.below(4))
                    .map(|_| self.body(depth + 1))
                    .collect();
                let host = self.body(depth + 1);
                self.groups.pop();
                self.around.pop();
                Step::Group(region, children, host)
            }
            20 => Step::Join(self.body(depth + 1), self.body(depth + 1)),
            24..=26 => {
                let crew = [Crew::Gather, Crew::Race, Crew::Scope][kind as usize - 24];
                let id = self.id();
                let count = 1 + self.random.below(3);
                let bodies = (0..count).map(|_| self.body(depth + 1)).collect();
                Step::Crew(crew, id, bodies)
            }
            27.. => Step::Finalise(self.id(), 1 + self.random.below(4_000)),
            21 | 22 => Step::Select(self.body(depth + 1), self.body(depth + 1)),
            _ => match self.groups.is_empty() {
                true => Step::Say(self.id()),
                false => {
                    let at = self.random.below(self.groups.len() as u64) as usize;
                    Step::Spawn(self.groups[at], self.body(depth + 1))
                }
            },
        }
    }
}
