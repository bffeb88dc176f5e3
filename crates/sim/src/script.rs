//! What is done to a world at given times.

use crate::World;
use crate::current;
use crate::host::Signal;
use std::fmt;
use std::rc::Rc;

/// One act of a script.
#[derive(Clone)]
pub(crate) struct Act {
    pub(crate) at: u64,
    act: Rc<dyn Fn(&mut World)>,
}

impl Act {
    pub(crate) fn new(at: u64, act: impl Fn(&mut World) + 'static) -> Act {
        let act = Rc::new(act);
        Act { at, act }
    }

    /// Does it to the world that turns on this thread, whose state is free.
    pub(crate) fn run(&self) {
        if let Some(mut world) = current::shared().map(World::borrowed) {
            (self.act)(&mut world);
        }
    }
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Act").field("at", &self.at).finish()
    }
}

impl World {
    /// Sends `signal` to the host or client `name`. It is delivered at the present time; a host
    /// that never listened for it ends as if killed, and a client fails the run.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn signal(&mut self, name: &str, signal: Signal) {
        self.act(|state| {
            let mut machines = state.machines.iter();
            match machines.position(|machine| *machine.name == *name) {
                Some(host) => state.send_signal(host as u32, signal),
                None => panic!("there is no host {name:?}"),
            }
        });
    }
}
