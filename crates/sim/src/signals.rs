//! Signals: from the script, or a program's own, to whoever on the host listens.
//!
//! Invariants
//! 1. A signal is an event at the time it was sent: those of one time come in the order sent.
//! 2. Every listener of its kind hears it; several between two looks are one.
//! 3. A host that ever listened for a kind in its present life is not ended by it.

use crate::by_host::OfHost;
use crate::event::Event;
use crate::host::Signal;
use crate::machine::Life;
use crate::state::{Running, State};
use crate::table::SocketRef;
use crate::task::Waits;
use crate::trace::EventKind;
use std::task::{Poll, Waker};

pub(crate) struct SignalListener {
    pub(crate) host: u32,
    signal: Signal,
    delivered: bool,
    waker: Option<Waker>,
}

impl OfHost for SignalListener {
    fn host(&self) -> u32 {
        self.host
    }
}

/// What a delivered signal did.
pub(crate) enum Delivery {
    Heard,
    /// Nobody ever listened for it: it ends the host, as its default action does.
    Fatal,
}

impl State {
    pub(crate) fn send_signal(&mut self, host: u32, signal: Signal) {
        if self.machines[host as usize].life == Life::Void {
            return;
        }
        let event = Event::Signal { host, signal };
        self.events.push(self.now, 0, event, self.cause);
    }

    pub(crate) fn listen_signal(&mut self, signal: Signal) -> SocketRef {
        let host = self.host();
        let handled = &mut self.machine().handled_signals;
        if !handled.contains(&signal) {
            handled.push(signal);
        }
        self.signals.insert(SignalListener {
            host,
            signal,
            delivered: false,
            waker: None,
        })
    }

    /// A signal arrives at `host`; from here on code runs in its name.
    pub(crate) fn deliver_signal(&mut self, host: u32, signal: Signal) -> Delivery {
        let machine = &self.machines[host as usize];
        if !machine.life.is_alive() {
            return Delivery::Heard;
        }
        let handled = machine.handles(signal);
        self.running = Some(Running {
            host,
            task: None,
            number: 0,
        });
        self.cause = self.record(EventKind::Signal, signal.name(), 0, 0);
        for listener in self.signals.refs_of(host) {
            let found = self.signals.find(listener);
            if let Some(listener) = found.filter(|found| found.signal == signal) {
                listener.delivered = true;
                let waker = listener.waker.take();
                self.wake(waker);
            }
        }
        match handled || signal == Signal::WindowChange {
            true => Delivery::Heard,
            false => Delivery::Fatal,
        }
    }

    pub(crate) fn poll_signal(&mut self, listener: SocketRef, waker: &Waker) -> Poll<()> {
        let State {
            signals, dropped, ..
        } = self;
        let Some(found) = signals.find(listener) else {
            return Poll::Pending;
        };
        if std::mem::take(&mut found.delivered) {
            return Poll::Ready(());
        }
        State::keep_waker(dropped, &mut found.waker, waker);
        let signal = found.signal;
        self.waits(Waits::Signal(signal));
        Poll::Pending
    }

    pub(crate) fn drop_signal(&mut self, listener: SocketRef) {
        if let Some(gone) = self.signals.remove(listener) {
            self.dropped.extend(gone.waker);
        }
    }
}
