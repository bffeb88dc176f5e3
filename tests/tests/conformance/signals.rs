//! Signals: B55 to B57. Each is raised in this process, or by the simulated host's own.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bowline::sim::host;
use bowline_backend::Backend;
use bowline_backend::signal::{Signal, SignalStream, listen};
use bowline_backend::task::{RunOptions, spawn_detached};
use bowline_tests::latch::Latch;
use rustix::process::{Signal as Raw, getpid, kill_process};

use crate::conformance;

conformance! {
    all: [
        every_stream_hears_a_signal,
        a_burst_is_heard_at_least_once,
        dropping_one_stream_keeps_the_other,
        each_signal_is_its_own,
        a_dropped_wait_loses_no_signal,
    ]
    real: []
    dropping: []
    real_dropping: []
}

fn raise(backend: Backend, signal: Signal) {
    if backend == Backend::Sim {
        return host::raise(match signal {
            Signal::Interrupt => host::Signal::Interrupt,
            Signal::Terminate => host::Signal::Terminate,
            Signal::Hangup => host::Signal::Hangup,
            Signal::Quit => host::Signal::Quit,
            Signal::User1 => host::Signal::User1,
            Signal::User2 => host::Signal::User2,
            Signal::WindowChange => host::Signal::WindowChange,
            other => panic!("{other:?} is no signal of the simulator"),
        });
    }
    let raw = match signal {
        Signal::Interrupt => Raw::INT,
        Signal::Terminate => Raw::TERM,
        Signal::Hangup => Raw::HUP,
        Signal::Quit => Raw::QUIT,
        Signal::User1 => Raw::USR1,
        Signal::User2 => Raw::USR2,
        Signal::WindowChange => Raw::WINCH,
        other => panic!("{other:?} is no signal of this system"),
    };
    kill_process(getpid(), raw).unwrap();
}

// B55
fn every_stream_hears_a_signal(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let mut one = listen(Signal::User1).unwrap();
        let mut two = listen(Signal::User1).unwrap();
        assert_eq!((one.backend(), one.signal()), (backend, Signal::User1));
        let heard = Latch::new(1);
        let in_task = heard.clone();
        spawn_detached(async move {
            two.recv().await.unwrap();
            in_task.count_down();
        });
        raise(backend, Signal::User1);
        one.recv().await.unwrap();
        heard.wait().await;
    });
}

// B56
fn a_burst_is_heard_at_least_once(backend: Backend, options: RunOptions) {
    const BURST: usize = 1_000;
    backend.block_on_with(options, async {
        let mut stream = listen(Signal::User2).unwrap();
        for _ in 0..BURST {
            raise(backend, Signal::User2);
        }
        stream.recv().await.unwrap();
        // What is left of the burst, if anything, ends; and what comes after it is heard.
        let mut heard = 1;
        while heard_now(&mut stream) {
            heard += 1;
        }
        assert!(heard <= BURST, "{heard} of {BURST}");
        raise(backend, Signal::User2);
        stream.recv().await.unwrap();
    });
}

/// Takes a delivery that is there already.
fn heard_now(stream: &mut SignalStream) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    match stream.poll_recv(&mut cx) {
        Poll::Ready(heard) => heard.is_ok(),
        Poll::Pending => false,
    }
}

// B57
fn dropping_one_stream_keeps_the_other(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let one = listen(Signal::Hangup).unwrap();
        let mut two = listen(Signal::Hangup).unwrap();
        drop(one);
        raise(backend, Signal::Hangup);
        two.recv().await.unwrap();
        // Nor does the default action come back with the last one: this process lives on.
        drop(two);
        raise(backend, Signal::Hangup);
        let mut three = listen(Signal::Hangup).unwrap();
        raise(backend, Signal::Hangup);
        three.recv().await.unwrap();
    });
}

// B55
fn each_signal_is_its_own(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let signals = [
            Signal::Interrupt,
            Signal::Terminate,
            Signal::Hangup,
            Signal::Quit,
            Signal::User1,
            Signal::User2,
            Signal::WindowChange,
        ];
        let mut streams = signals.map(|signal| listen(signal).unwrap());
        for (stream, signal) in streams.iter_mut().zip(signals) {
            raise(backend, signal);
            stream.recv().await.unwrap();
        }
    });
}

// B55
fn a_dropped_wait_loses_no_signal(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let mut stream = listen(Signal::WindowChange).unwrap();
        for _ in 0..20 {
            // A neighbour in this process may have raised it too.
            while heard_now(&mut stream) {}
            let mut waiting = Box::pin(stream.recv());
            let polled = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
            raise(backend, Signal::WindowChange);
            drop(waiting);
            if polled.is_pending() {
                stream.recv().await.unwrap();
            }
        }
    });
}
