//! Random scripts, one for each seed.

use super::script::{Beside, Op, Place, Script, Step, With};

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// One of them, each as likely as its weight says.
    fn weigh<T: Copy>(&mut self, from: &[(u64, T)]) -> T {
        let all = from.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(all);
        for (weight, choice) in from {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *choice,
            }
        }
        from[0].1
    }
}

/// What a script is mostly about.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Theme {
    Tcp,
    UnixStreams,
    Udp,
    UnixDatagrams,
}

/// What a script is likely to have by now, so that most of it is not skipped.
#[derive(Debug)]
struct Author {
    dice: Dice,
    theme: Theme,
    listeners: Vec<(u8, Place)>,
    streams: Vec<u8>,
    datagrams: Vec<(u8, Place)>,
    /// Places that were bound at some time.
    known: Vec<Place>,
}

/// Slots that scripts use of each kind: two listeners, a handful of ends of three parties.
const LISTENERS: u8 = 2;
const STREAMS: u8 = 6;
const DATAGRAMS: u8 = 4;
const LENGTHS: &[usize] = &[1, 1, 2, 10, 100, 1_000, 2_000];

/// The script of a seed.
pub fn generate(seed: u64) -> Script {
    let mut dice = Dice(seed);
    let theme = dice.weigh(&[
        (40, Theme::Tcp),
        (25, Theme::UnixStreams),
        (15, Theme::Udp),
        (20, Theme::UnixDatagrams),
    ]);
    let races = dice.one_in(4);
    let length = 4 + dice.below(22);
    let mut author = Author {
        dice,
        theme,
        listeners: Vec::new(),
        streams: Vec::new(),
        datagrams: Vec::new(),
        known: Vec::new(),
    };
    let mut steps = Vec::new();
    while (steps.len() as u64) < length {
        // One in a dozen is about something else.
        author.theme = match author.dice.one_in(12) {
            true => author.dice.pick(&[
                Theme::Tcp,
                Theme::UnixStreams,
                Theme::Udp,
                Theme::UnixDatagrams,
            ]),
            false => theme,
        };
        let one = author.operation();
        if races && author.dice.one_in(3) {
            let other = author.operation();
            if can_race(one, other) {
                steps.push(Step::Two(one, other));
            } else {
                steps.extend([Step::One(one), Step::One(other)]);
            }
        } else {
            steps.push(Step::One(one));
        }
    }
    Script(steps)
}

/// Of two that want one slot the second one is skipped, and what makes something for one slot at
/// once loses one of them; what fills or floods would be written to while it is read.
fn can_race(one: Op, other: Op) -> bool {
    let bulk = |op| {
        matches!(
            op,
            Op::Fill(_) | Op::Drain(_) | Op::Flood(..) | Op::Empty(_)
        )
    };
    // On a kernel a reset may then come between the connect and the look at how it went, which in a
    // world are one.
    let unix = |op| matches!(op, Op::Connect(_, Place::Path(_) | Place::Name(_), _));
    let ends = |op| matches!(op, Op::Unlisten(_));
    if (unix(one) && ends(other)) || (ends(one) && unix(other)) {
        return false;
    }
    let theirs = other.slots();
    !bulk(one) && !bulk(other) && !one.slots().iter().any(|slot| theirs.contains(slot))
}

impl Author {
    fn operation(&mut self) -> Op {
        match self.theme {
            Theme::Tcp | Theme::UnixStreams => self.of_streams(),
            Theme::Udp | Theme::UnixDatagrams => self.of_datagrams(),
        }
    }

    fn place(&mut self) -> Place {
        let number = self.dice.below(2) as u8;
        match self.theme {
            Theme::Tcp => Place::Tcp(number),
            Theme::Udp => Place::Udp(number),
            _ if self.dice.one_in(3) => Place::Name(number),
            _ => Place::Path(number),
        }
    }

    /// A place of the theme at which something was, most of the time.
    fn target(&mut self) -> Place {
        let theme = self.theme;
        let fits = |place: &&Place| match theme {
            Theme::Tcp => matches!(place, Place::Tcp(_)),
            Theme::Udp => matches!(place, Place::Udp(_)),
            _ => matches!(place, Place::Path(_) | Place::Name(_)),
        };
        let known: Vec<Place> = self.known.iter().filter(fits).copied().collect();
        match known.is_empty() || self.dice.one_in(12) {
            true => self.place(),
            false => self.dice.pick(&known),
        }
    }

    fn free(&mut self, taken: &[u8], most: u8) -> u8 {
        let free = (0..most).find(|slot| !taken.contains(slot));
        free.unwrap_or_else(|| self.dice.below(u64::from(most)) as u8)
    }

    fn of_streams(&mut self) -> Op {
        let unix = self.theme == Theme::UnixStreams;
        let what = match (self.listeners.is_empty(), self.streams.len()) {
            (true, 0) if unix && self.dice.one_in(5) => 12,
            (true, 0) if self.dice.one_in(6) => 2,
            (true, 0) => 0,
            (false, 0) => self.dice.weigh(&[(10, 1), (2, 3), (1, 0), (1, 4)]),
            (_, ends) if ends < 2 => self.dice.weigh(&[(10, 3), (5, 1), (3, 5), (1, 4), (1, 0)]),
            _ => self.dice.weigh(&[
                (3, 0),
                (8, 1),
                (2, 2),
                (10, 3),
                (3, 4),
                (22, 5),
                (26, 6),
                (7, 7),
                (12, 8),
                (5, 9),
                (6, 10),
                (14, 11),
                (2, 12),
            ]),
        };
        match what {
            0 => {
                let place = match self.dice.one_in(3) {
                    true => self.target(),
                    false => self.place(),
                };
                let taken: Vec<u8> = self.listeners.iter().map(|(slot, _)| *slot).collect();
                let slot = self.free(&taken, LISTENERS);
                self.listeners.push((slot, place));
                self.known.push(place);
                let with = self.dice.weigh(&[
                    (10, With::Plain),
                    (4, With::Short),
                    (3, With::NoReuse),
                    (2, With::Shared),
                    (3, With::Slow),
                    (2, With::Buffers),
                ]);
                Op::Listen(slot, place, with)
            }
            1 => {
                let place = self.target();
                self.connect(place)
            }
            2 => {
                let place = self.place();
                self.connect(place)
            }
            3 => {
                let into = self.free(&self.streams.clone(), STREAMS);
                self.keep(into);
                let at = match self.listeners.is_empty() {
                    true => 0,
                    false => self.dice.pick(&self.listeners).0,
                };
                Op::Accept(at, into)
            }
            4 if self.dice.one_in(2) => {
                let place = self.target();
                match place {
                    Place::Path(_) => Op::Unlink(place),
                    _ => self.unlisten(),
                }
            }
            4 => self.unlisten(),
            12 if unix => {
                let one = self.free(&self.streams.clone(), STREAMS);
                self.keep(one);
                let other = self.free(&self.streams.clone(), STREAMS);
                self.keep(other);
                Op::Pair(one, other)
            }
            other => self.of_a_stream(other),
        }
    }

    fn of_a_stream(&mut self, what: u8) -> Op {
        let at = match self.streams.is_empty() {
            true => 0,
            false => self.dice.pick(&self.streams.clone()),
        };
        match what {
            5 => Op::Write(at, self.dice.pick(LENGTHS)),
            6 => Op::Read(at, self.dice.pick(LENGTHS)),
            7 => Op::Shutdown(at),
            8 => {
                self.streams.retain(|slot| *slot != at);
                Op::Close(at)
            }
            9 => {
                self.streams.retain(|slot| *slot != at);
                Op::Abort(at)
            }
            10 if self.dice.one_in(4) => Op::Fill(at),
            10 => Op::Drain(at),
            // At a port that is, or was, a connection's.
            11 if self.theme == Theme::Tcp && self.dice.one_in(3) => {
                let places = [Beside::Own, Beside::Peer, Beside::Elsewhere];
                let options = [With::Plain, With::NoReuse, With::Shared];
                Op::ListenAt(at, self.dice.pick(&places), self.dice.pick(&options))
            }
            11 => self.dice.pick(&[
                Op::Linger(at),
                Op::Nodelay(at),
                Op::TakeError(at),
                Op::Addresses(at),
                Op::Read(at, 1),
                Op::Write(at, 1),
            ]),
            _ => Op::Read(at, 1),
        }
    }

    fn keep(&mut self, slot: u8) {
        if !self.streams.contains(&slot) {
            self.streams.push(slot);
        }
    }

    fn connect(&mut self, place: Place) -> Op {
        let slot = self.free(&self.streams.clone(), STREAMS);
        self.keep(slot);
        let with = self
            .dice
            .weigh(&[(10, With::Plain), (3, With::Slow), (2, With::Buffers)]);
        Op::Connect(slot, place, with)
    }

    fn unlisten(&mut self) -> Op {
        let at = match self.listeners.is_empty() {
            true => 0,
            false => self.dice.pick(&self.listeners).0,
        };
        self.listeners.retain(|(slot, _)| *slot != at);
        Op::Unlisten(at)
    }

    fn of_datagrams(&mut self) -> Op {
        let unix = self.theme == Theme::UnixDatagrams;
        let what = match self.datagrams.len() {
            0 => self.dice.weigh(&[(10, 0), (2, 1), (1, 3)]),
            1 => self
                .dice
                .weigh(&[(4, 0), (6, 1), (2, 2), (2, 3), (2, 5), (1, 6)]),
            _ => self.dice.weigh(&[
                (3, 0),
                (4, 1),
                (2, 2),
                (2, 3),
                (20, 4),
                (14, 5),
                (26, 6),
                (3, 7),
                (8, 8),
                (4, 9),
            ]),
        };
        let at = match self.datagrams.is_empty() {
            true => 0,
            false => self.dice.pick(&self.datagrams).0,
        };
        let lengths: &[usize] = match unix {
            true => &[0, 1, 5, 100, 1_000, 131_040, 131_041, 212_960, 212_961],
            false => &[0, 1, 5, 100, 1_000, 65_507, 65_508],
        };
        match what {
            0 => {
                let place = match self.dice.one_in(3) {
                    true => self.target(),
                    false => self.place(),
                };
                let with = self.dice.weigh(&[
                    (10, With::Plain),
                    (2, With::Shared),
                    (2, With::Buffers),
                    (2, With::Slow),
                ]);
                Op::Bind(self.another(place), place, with)
            }
            1 => {
                let place = self.target();
                Op::Point(self.another(place), place)
            }
            2 => {
                let (from, to) = (self.place(), self.target());
                Op::PointFrom(self.another(from), from, to)
            }
            3 if unix && self.dice.one_in(2) => {
                let place = self.place();
                Op::PairUp(self.another(place), self.another(place))
            }
            3 if unix => {
                let place = self.place();
                Op::Unbound(self.another(place))
            }
            // Kernels differ in what they say first of one that is too long and has no peer.
            4 if unix => Op::Send(at, self.dice.pick(&lengths[..5])),
            4 => Op::Send(at, self.length(lengths)),
            5 => {
                let place = self.target();
                Op::SendTo(at, place, self.length(lengths))
            }
            7 if unix && self.dice.one_in(2) => {
                let place = self.target();
                let to = self.dice.pick(&[None, Some(place)]);
                Op::Flood(at, to)
            }
            7 => Op::Empty(at),
            8 if unix && self.dice.one_in(3) => Op::Unlink(self.target()),
            8 => {
                self.datagrams.retain(|(slot, _)| *slot != at);
                Op::Hush(at)
            }
            9 => self.dice.pick(&[Op::AskError(at), Op::Names(at)]),
            _ => {
                let most = self.dice.pick(&[1, 4, 100, 1_000, 65_536]);
                Op::Recv(at, most)
            }
        }
    }

    /// Short most of the time.
    fn length(&mut self, lengths: &[usize]) -> usize {
        match self.dice.one_in(4) {
            true => self.dice.pick(lengths),
            false => self.dice.pick(&lengths[..5]),
        }
    }

    fn another(&mut self, place: Place) -> u8 {
        let taken: Vec<u8> = self.datagrams.iter().map(|(slot, _)| *slot).collect();
        let slot = self.free(&taken, DATAGRAMS);
        self.datagrams.retain(|(other, _)| *other != slot);
        self.datagrams.push((slot, place));
        self.known.push(place);
        slot
    }
}
