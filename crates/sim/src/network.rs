//! What is done to the network while a world turns: partitions, holds, clogs and what heals them.

use crate::World;
use crate::event::Event;
use crate::faults::Origin;
use crate::link::{Link, nanos};
use crate::oracle::{self, Scope};
use crate::setup::SetupError;
use crate::state::State;
use crate::tcp::Kind;
use crate::trace::EventKind;
use crate::wire::{Flapping, Way, Wire};
use std::time::Duration;

/// Acts on the network.
///
/// Each takes the names of hosts and clients, and ends nothing by itself: connections live as long
/// as their timeouts let them. What [drawn faults](crate::Builder::faults) do meanwhile comes on
/// top: neither side ends what the other did, but for [`heal`](World::heal), which ends everything. A name that no host has, a link from a host to itself and a value
/// that makes no sense fail the run with [`FailureKind::Setup`](crate::FailureKind::Setup).
///
/// ```
/// use bowline_sim::{Sim, host};
/// use std::time::Duration;
///
/// let seconds = Duration::from_secs;
/// let idle = || host::Sleep::new(10_000_000_000);
/// Sim::builder()
///     .client("a", idle)
///     .client("b", idle)
///     .at(seconds(1), |world| world.partition(&["a"], &["b"]))
///     .at(seconds(3), |world| world.heal())
///     .run()?;
/// # Ok::<(), bowline_sim::Failure>(())
/// ```
impl World {
    /// Cuts every link between a host of `some` and one of `others`, in both directions. What is
    /// under way still arrives; what is sent is lost.
    pub fn partition(&mut self, some: &[&str], others: &[&str]) {
        self.network("a partition", |state, by| {
            let ways = both(state.ways_between(by, some, others)?);
            state.cut(&ways, Origin::SCRIPT);
            Ok(())
        });
    }

    /// Cuts the links from hosts of `senders` to hosts of `receivers`, in this direction alone.
    pub fn partition_one_way(&mut self, senders: &[&str], receivers: &[&str]) {
        self.network("a partition", |state, by| {
            let ways = state.ways_between(by, senders, receivers)?;
            state.cut(&ways, Origin::SCRIPT);
            Ok(())
        });
    }

    /// Cuts every link of the host `name`.
    pub fn isolate(&mut self, name: &str) {
        self.network("an isolation", |state, by| {
            let host = state.host_named(by, name)?;
            let others = (0..state.machines.len() as u32).filter(|other| *other != host);
            let ways = both(others.map(|other| (host, other)).collect());
            state.cut(&ways, Origin::SCRIPT);
            Ok(())
        });
    }

    /// Cuts the hosts into two halves by draw, and every link between the halves.
    pub fn partition_halves(&mut self) {
        self.network("a partition", |state, _| {
            state.cut_halves();
            Ok(())
        });
    }

    /// Ends everything that was done to the network: cuts, holds, clogs, flapping, spikes. What was
    /// held goes on its way, in the order in which it was sent. What links are stays as it is, and
    /// what they forgot is forgotten.
    pub fn heal(&mut self) {
        self.network("a heal", |state, _| {
            state.heal_network();
            Ok(())
        });
    }

    /// Keeps what is sent between a host of `some` and one of `others`, in both directions, until
    /// [`release`](World::release) or [`heal`](World::heal). A link keeps 65 536 packets;
    /// beyond it datagrams are lost.
    pub fn hold(&mut self, some: &[&str], others: &[&str]) {
        self.network("a hold", |state, by| {
            for way in both(state.ways_between(by, some, others)?) {
                state.change_wire("hold", way, |wire| {
                    wire.holds.begin(Origin::SCRIPT, ());
                });
            }
            Ok(())
        });
    }

    /// Lets what was held between them by [`hold`](World::hold) go on its way, in the order in which
    /// it was sent.
    pub fn release(&mut self, some: &[&str], others: &[&str]) {
        self.network("a release", |state, by| {
            for way in both(state.ways_between(by, some, others)?) {
                state.change_wire("release", way, |wire| {
                    wire.holds.end(Origin::SCRIPT);
                });
            }
            Ok(())
        });
    }

    /// Clogs the link between two hosts, in both directions: what is sent waits until the time is
    /// over.
    pub fn clog(&mut self, one: &str, other: &str, span: Duration) {
        self.network("a clog", |state, by| {
            for way in both(state.ways_between(by, &[one], &[other])?) {
                state.clog_wire(way, nanos(span));
            }
            Ok(())
        });
    }

    /// Clogs every link between these hosts, each direction for a drawn time up to `within`: they
    /// come free in random order.
    pub fn swizzle_clog(&mut self, names: &[&str], within: Duration) {
        self.network("a swizzle-clog", |state, by| {
            let mut ways = state.ways_between(by, names, names)?;
            ways.sort_unstable();
            ways.dedup();
            for way in ways {
                let scope = Scope::Link(way.0, way.1);
                let most = nanos(within).max(1);
                let span = 1 + state.oracle.choose(oracle::SWIZZLE, scope, most);
                state.clog_wire(way, span);
            }
            Ok(())
        });
    }

    /// Lets the link between two hosts be up for a time and down for a time, over and over, from
    /// now until [`heal`](World::heal). No time at all for both fails the run: it would be neither.
    pub fn flap(&mut self, one: &str, other: &str, up: Duration, down: Duration) {
        self.network("flapping", |state, by| {
            if up.is_zero() && down.is_zero() {
                let of = format!("time up and down of flapping between {one:?} and {other:?}");
                return Err(SetupError::no_value(&of));
            }
            let flapping = Flapping {
                since: state.now,
                up: nanos(up),
                down: nanos(down),
            };
            for way in both(state.ways_between(by, &[one], &[other])?) {
                state.change_wire("flap", way, |wire| {
                    wire.flapping.begin(Origin::SCRIPT, flapping);
                });
            }
            Ok(())
        });
    }

    /// Makes every packet between two hosts that is sent within `span` take `longer`.
    pub fn latency_spike(&mut self, one: &str, other: &str, longer: Duration, span: Duration) {
        self.network("a latency spike", |state, by| {
            let now = state.now;
            let until = now.saturating_add(nanos(span));
            for way in both(state.ways_between(by, &[one], &[other])?) {
                state.change_wire("spike", way, |wire| {
                    wire.spike(Origin::SCRIPT, now, until, nanos(longer));
                });
            }
            Ok(())
        });
    }

    /// Makes the link between two hosts another one, in both directions. What was done to it, such
    /// as a cut, stays.
    pub fn set_link(&mut self, one: &str, other: &str, link: Link) {
        self.set_link_one_way(one, other, link);
        self.set_link_one_way(other, one, link);
    }

    /// Makes the link from one host to another another one; the way back is not concerned.
    pub fn set_link_one_way(&mut self, from: &str, to: &str, link: Link) {
        self.network("a link", |state, by| {
            if let Some(wrong) = link.wrong {
                let place = format!("the link from {from:?} to {to:?}");
                return Err(SetupError::wrong(wrong, &place));
            }
            for way in state.ways_between(by, &[from], &[to])? {
                state.record_network("link", way);
                state.net.wires.set_link(Some(way), link);
            }
            Ok(())
        });
    }

    /// Lets translators between two hosts forget every TCP connection there is: what is sent through
    /// them vanishes, and neither end is told. New ones are not concerned.
    pub fn forget_flows(&mut self, one: &str, other: &str) {
        self.network("forgetting", |state, by| {
            for way in both(state.ways_between(by, &[one], &[other])?) {
                state.record_network("forget", way);
                state.forget_flows(way);
            }
            Ok(())
        });
    }

    fn network(&mut self, by: &str, act: impl FnOnce(&mut State, &str) -> Result<(), SetupError>) {
        self.act(|state| {
            if let Err(error) = act(state, by) {
                state.fail(crate::FailureKind::Setup, error.to_string());
            }
        });
    }
}

fn both(ways: Vec<Way>) -> Vec<Way> {
    let back = |way: &Way| [*way, (way.1, way.0)];
    ways.iter().flat_map(back).collect()
}

impl State {
    /// From each of `some` to each of `others`; nothing leads from a host to itself.
    fn ways_between(
        &self,
        by: &str,
        some: &[&str],
        others: &[&str],
    ) -> Result<Vec<Way>, SetupError> {
        if let ([one], [other]) = (some, others)
            && one == other
        {
            let name = (*one).to_owned();
            return Err(SetupError::LinkToItself { name });
        }
        let mut ways = Vec::new();
        for one in some {
            let from = self.host_named(by, one)?;
            for other in others {
                let to = self.host_named(by, other)?;
                if from != to {
                    ways.push((from, to));
                }
            }
        }
        Ok(ways)
    }

    pub(crate) fn cut(&mut self, ways: &[Way], origin: Origin) {
        for way in ways {
            self.change_wire("cut", *way, |wire| wire.cuts.begin(origin, ()));
        }
    }

    pub(crate) fn cut_halves(&mut self) {
        let count = self.machines.len() as u32;
        // Choice 0 leaves all of them in one half.
        let side: Vec<u64> = (0..count)
            .map(|_| self.oracle.choose(oracle::HALVES, Scope::World, 2))
            .collect();
        let hosts = || 0..count;
        let ways = hosts().flat_map(|from| hosts().map(move |to| (from, to)));
        let apart = ways.filter(|way| side[way.0 as usize] != side[way.1 as usize]);
        let apart: Vec<Way> = apart.collect();
        self.cut(&apart, Origin::SCRIPT);
    }

    pub(crate) fn heal_network(&mut self) {
        for way in self.net.wires.ways() {
            self.change_wire("heal", way, Wire::heal);
        }
    }

    pub(crate) fn clog_wire(&mut self, way: Way, span: u64) {
        self.record_network("clog", way);
        let heals = self.net.wires.wire(way).clog();
        let at = self.now.saturating_add(span);
        let event = Event::Unclog { way, heals };
        self.events.push(at, 0, event, self.cause);
    }

    pub(crate) fn unclog(&mut self, way: Way, heals: u32) {
        self.cause = self.record_network("unclog", way);
        self.net.wires.wire(way).unclog(heals);
        self.let_go_of_kept(way);
    }

    pub(crate) fn change_wire(
        &mut self,
        label: &'static str,
        way: Way,
        change: impl FnOnce(&mut Wire),
    ) {
        self.record_network(label, way);
        change(self.net.wires.wire(way));
        self.let_go_of_kept(way);
    }

    fn record_network(&mut self, label: &'static str, way: Way) -> u64 {
        self.record(EventKind::Fault, label, way.0.into(), way.1.into())
    }

    /// Puts on their way what a wire no longer keeps, none before the one that was sent before it.
    fn let_go_of_kept(&mut self, way: Way) {
        let kept = self.net.wires.wire(way).let_go();
        let cause = self.cause;
        let mut earliest = 0;
        for (event, sent_by) in kept {
            self.cause = sent_by;
            earliest = earliest.max(
                match event {
                    Event::Syn(syn) => self.launch_syn(syn, earliest),
                    Event::Segment { from, to, segment } => {
                        self.launch(way, from, to, segment, earliest)
                    }
                    Event::Datagram(packet) => self.launch_datagram(*packet, earliest),
                    Event::Unreachable { to, peer } => {
                        self.launch_unreachable(way, to, peer, earliest)
                    }
                    _ => None,
                }
                .unwrap_or(0),
            );
        }
        self.cause = cause;
    }

    fn forget_flows(&mut self, way: Way) {
        for socket in self.net.of_host(way.0) {
            let found = self.net.find(socket).map(|found| &found.kind);
            if let Some(Kind::Stream(stream)) = found
                && stream.remote_host == way.1
                && let Some(remote) = stream.remote
            {
                self.forget_flow(socket, remote);
            }
        }
    }
}
