//! The end of all faults.

use super::Origin;
use crate::World;
use crate::machine::Role;
use crate::state::State;
use crate::strategy::Ready;
use crate::task::Task;
use crate::trace::EventKind;

impl State {
    /// Lets look-ups go as they did.
    fn mend_names(&mut self) {
        if let Some((before, after)) = self.plague.names.take()
            && self.names.names == after
        {
            self.names.names = before;
        }
    }

    /// Gives the hosts what they had, timers and tasks the order that the world says.
    fn lift_limits(&mut self) {
        self.plague.timer_jitter = None;
        for (limits, host) in std::mem::take(&mut self.plague.limits).into_iter().zip(0..) {
            self.machines[host as usize].limits = limits;
            self.share_memory(host);
            self.start_waiting_jobs(host);
        }
        if std::mem::take(&mut self.plague.picks) {
            self.starved_host = None;
            let (strategy, machines) = (self.config.strategy, &self.machines);
            let starves = |task: &Task| {
                let name = &machines[task.host as usize].name;
                strategy.starves(name, task.number, task.location)
            };
            self.tasks.pick_by(Ready::new(strategy), self.now, starves);
        }
    }

    /// Makes the links what they were, but for those that the script made others meanwhile.
    fn mend_links(&mut self) {
        let changed = std::mem::take(&mut self.plague.links);
        let wires = &mut self.net.wires;
        for (way, now) in wires.links() {
            // A wire that was not there yet began as the default.
            let of_way = changed.iter().find(|change| change.0 == way);
            let change = of_way.or_else(|| changed.iter().find(|change| change.0.is_none()));
            if let Some((_, before, after)) = change
                && *after == now
            {
                wires.set_link(way, *before);
            }
        }
    }
}

/// Ends every fault, whoever did it, and starts the hosts again that crashed. From now on the
/// clients have the time to settle.
pub(crate) fn heal(world: &mut World) {
    let crashed = world.act(|state| {
        state.cause = state.record(EventKind::Fault, "heal", 0, 0);
        state.plague.gaps.clear();
        for key in std::mem::take(&mut state.plague.pending) {
            state.events.cancel(key);
        }
        state.mend_links();
        state.mend_names();
        state.plague.close_sites();
        state.heal_network();
        for host in 0..state.machines.len() as u32 {
            state.go_on(host);
            state.unstall_jobs(host);
            let machine = &mut state.machines[host as usize];
            let (slow, drift) = (machine.slowness() > 1, machine.drift);
            machine.slowed.end_all();
            if slow {
                state.slow(host, 1, Origin::SCRIPT);
            }
            if state.machines[host as usize].clock.drift != drift {
                state.set_drift(host, drift);
            }
        }
        state.lift_limits();
        state.plague.settled_by = Some(state.now.saturating_add(state.config.settle));
        let hosts = state.machines.iter().zip(0..);
        let crashed = hosts.filter(|(machine, _)| {
            machine.crashed && (machine.role != Role::Client || machine.broken_off)
        });
        crashed.map(|(_, host)| host).collect::<Vec<u32>>()
    });
    for host in crashed {
        world.restart_host(host);
    }
}
