//! Local ports of TCP: who has them, and who else may.

use crate::machine::Machine;
use std::net::{IpAddr, SocketAddr};

/// Who may listen at the port of a connection, at its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nobody.
    Kept,
    /// Who reuses addresses.
    Shared,
}

/// The sockets that use a local port.
#[derive(Debug, Default)]
pub(crate) struct PortUse {
    /// Those that have the port for themselves, as listeners, what they accepted, and streams that
    /// were bound.
    bound: usize,
    /// At which addresses how many of them are connections: of a listener without `reuse_address`, and
    /// others. There are few, however many connections.
    kept: Vec<(IpAddr, usize)>,
    shared: Vec<(IpAddr, usize)>,
    /// The peers of those that were given the port by a connect, in order, and their own addresses.
    /// Almost always it is one.
    flows: Vec<(SocketAddr, IpAddr)>,
}

impl PortUse {
    pub(crate) fn count(&self) -> usize {
        self.bound + self.flows.len()
    }

    /// The addresses at which nobody may listen at it, whatever options it has: who does not reuse
    /// does not let reuse, as on Linux, and a connect that was given a port does not.
    pub(crate) fn kept(&self) -> impl Iterator<Item = IpAddr> {
        let flows = self.flows.iter().map(|flow| flow.1);
        self.kept.iter().map(|kept| kept.0).chain(flows)
    }

    /// The addresses at which only who reuses addresses may listen at it.
    pub(crate) fn shared(&self) -> impl Iterator<Item = IpAddr> {
        self.shared.iter().map(|shared| shared.0)
    }

    fn at(&mut self, hold: Hold) -> &mut Vec<(IpAddr, usize)> {
        match hold {
            Hold::Kept => &mut self.kept,
            Hold::Shared => &mut self.shared,
        }
    }

    /// Where the flow with `peer` is, or belongs.
    fn flow(&self, peer: SocketAddr) -> Result<usize, usize> {
        self.flows.binary_search_by_key(&peer, |flow| flow.0)
    }
}

impl Machine {
    pub(crate) fn hold_port(&mut self, port: u16) {
        self.ports.entry(port).or_default().bound += 1;
    }

    pub(crate) fn release_port(&mut self, port: u16) {
        self.release(port, |port| port.bound -= 1);
    }

    /// A connection at `at` has the port, and lets nobody listen there, or none but who reuses.
    pub(crate) fn hold_port_at(&mut self, port: u16, at: IpAddr, hold: Hold) {
        self.hold_port(port);
        let held = self.ports.entry(port).or_default().at(hold);
        match held.iter_mut().find(|held| held.0 == at) {
            Some(held) => held.1 += 1,
            None => held.push((at, 1)),
        }
    }

    pub(crate) fn release_port_at(&mut self, port: u16, at: IpAddr, hold: Hold) {
        self.release(port, |port| {
            port.bound -= 1;
            let held = port.at(hold);
            if let Some(place) = held.iter().position(|held| held.0 == at) {
                held[place].1 -= 1;
                if held[place].1 == 0 {
                    held.swap_remove(place);
                }
            }
        });
    }

    /// Whether a connect to `peer` may be given the port.
    pub(crate) fn has_room_for(&self, port: u16, peer: SocketAddr) -> bool {
        let taken = self.ports.get(&port);
        taken.is_none_or(|port| port.bound == 0 && port.flow(peer).is_err())
    }

    pub(crate) fn hold_flow(&mut self, local: SocketAddr, peer: SocketAddr) {
        let port = self.ports.entry(local.port()).or_default();
        if let Err(place) = port.flow(peer) {
            if port.flows.is_empty() {
                port.flows.reserve_exact(1);
            }
            port.flows.insert(place, (peer, local.ip()));
        }
    }

    pub(crate) fn release_flow(&mut self, port: u16, peer: SocketAddr) {
        self.release(port, |port| {
            if let Ok(place) = port.flow(peer) {
                port.flows.remove(place);
            }
        });
    }

    fn release(&mut self, port: u16, release: impl FnOnce(&mut PortUse)) {
        if let Some(held) = self.ports.get_mut(&port) {
            release(held);
            if held.count() == 0 {
                self.ports.remove(&port);
            }
        }
    }
}
