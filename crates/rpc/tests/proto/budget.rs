//! Long messages that the application has not taken: they hold back others, and what is held is what the
//! limits say.

use bowline_rpc::Limits;
use bowline_rpc::proto::{CallKind, Command, Event, Machine, charge};
use bytes::Bytes;

use crate::pair::{
    START, call, cancel, consumed, ends, events, frame, open, opened, pump, ready, receive, reply,
    sent,
};

const MIB: usize = 1024 * 1024;

/// Two of a MiB are within its budget.
fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.max_message, limits.reassembly) = (MIB as u32, 2 * MIB);
    limits
}

fn body() -> Vec<u8> {
    vec![7; MIB]
}

/// The machine holds so many bodies, and little else.
fn holds(machine: &Machine, bodies: usize) {
    let held = machine.memory_in_use();
    // A window of each counts as taken, where items are not to be counted.
    let least = (bodies * (MIB - 64 * 1024)).saturating_sub(1);
    assert!(
        (least..(bodies + 1) * MIB).contains(&held),
        "{bodies}: {held}"
    );
    assert!(held < limits().report().connection());
}

// R28
#[test]
fn arguments_that_nobody_has_taken_hold_back_others() {
    let (mut dialer, mut listener) = ready(&limits());
    for _ in 0..6 {
        open(&mut dialer, call(&body()));
    }
    let came = |dialer: &mut Machine, listener: &mut Machine| {
        pump(dialer, listener, START);
        let calls = opened(events(listener)).into_iter();
        calls.map(|it| (it.hops, it.call)).collect::<Vec<_>>()
    };
    let first = came(&mut dialer, &mut listener);
    // Two, and one beyond, as it might be what the program waits for.
    assert_eq!(first.len(), 3);
    holds(&listener, 3);
    // A call that others may wait for has a place of its own, and so has the next level.
    for hops in [1, 1, 8] {
        open(&mut dialer, call(&body()).hops(hops));
    }
    let mut deeper = came(&mut dialer, &mut listener);
    deeper.sort();
    assert!(matches!(deeper[..], [(1, _), (8, _)]), "{deeper:?}");
    holds(&listener, 5);
    // Small ones need none.
    open(&mut dialer, call(b"small"));
    assert_eq!(came(&mut dialer, &mut listener).len(), 1);
    // The answer says that they were taken, if nothing else did; and so does the end of the call.
    reply(&mut listener, deeper[0].1, b"").unwrap();
    let next = came(&mut dialer, &mut listener);
    assert!(matches!(next[..], [(1, _)]), "{next:?}");
    for (_, call) in [first, next, vec![deeper[1]]].concat() {
        consumed(&mut listener, call, charge(MIB));
    }
    let mut rest = 0;
    loop {
        let came = came(&mut dialer, &mut listener);
        if came.is_empty() {
            break;
        }
        holds(&listener, came.len());
        rest += came.len();
        for (_, call) in came {
            consumed(&mut listener, call, u64::MAX);
        }
    }
    assert_eq!(rest, 3);
    holds(&listener, 0);
    assert_eq!(ends(&mut dialer).len(), 1, "no other has failed");
}

// R28
#[test]
fn replies_that_nobody_has_taken_hold_back_others() {
    let (mut dialer, mut listener) = ready(&limits());
    for _ in 0..5 {
        open(&mut dialer, call(b""));
    }
    pump(&mut dialer, &mut listener, START);
    for call in opened(events(&mut listener)) {
        reply(&mut listener, call.call, &body()).unwrap();
    }
    let mut came = |dialer: &mut Machine| {
        pump(dialer, &mut listener, START);
        ends(dialer)
    };
    let replied = came(&mut dialer);
    assert_eq!(replied.len(), 2);
    holds(&dialer, 2);
    assert_eq!(came(&mut dialer), []);
    consumed(&mut dialer, replied[0].0, charge(MIB));
    let third = came(&mut dialer);
    assert_eq!(third.len(), 1);
    holds(&dialer, 2);
    // Twice is once.
    let again = Command::Consumed {
        call: replied[0].0,
        amount: u64::MAX,
    };
    dialer.command(START, again).unwrap_err();
    assert_eq!(came(&mut dialer), []);
    for call in [replied[1].0, third[0].0] {
        consumed(&mut dialer, call, u64::MAX);
    }
    let rest = came(&mut dialer);
    assert_eq!(rest.len(), 2);
    for (call, _) in rest {
        consumed(&mut dialer, call, u64::MAX);
    }
    holds(&dialer, 0);
}

// R17, R28
#[test]
fn an_item_that_is_given_up_amid_its_parts_holds_back_nobody() {
    let (mut dialer, mut listener) = ready(&limits());
    let streams = call(b"").kind(CallKind::CALLER_STREAMS);
    let given_up = open(&mut dialer, streams);
    pump(&mut dialer, &mut listener, START);
    let handled = opened(events(&mut listener))[0].call;
    let mut give = |dialer: &mut Machine, body: Vec<u8>| {
        let (call, body) = (given_up, Bytes::from(body));
        dialer.command(START, Command::Item { call, body }).unwrap();
        let parts = sent(dialer, START);
        receive(&mut listener, START, &parts).unwrap();
        events(&mut listener)
    };
    let came = give(&mut dialer, vec![7; 20_000]);
    assert!(matches!(came[..], [Event::Item { .. }]), "{came:?}");
    // Of this one there is as much as the window has, and the rest is let in.
    assert!(give(&mut dialer, body()).is_empty());
    holds(&listener, 1);
    let granted = sent(&mut listener, START);
    assert!(!granted.is_empty());
    // There is room for one more, and others wait.
    for _ in 0..6 {
        open(&mut dialer, call(&body()));
    }
    pump(&mut dialer, &mut listener, START);
    let mut calls = opened(events(&mut listener));
    assert_eq!(calls.len(), 1);
    holds(&listener, 2);
    cancel(&mut dialer, given_up).unwrap();
    receive(&mut dialer, START, &granted).unwrap();
    // Its handler goes on, and others have all that there is: two, and one beyond.
    let bytes = sent(&mut dialer, START);
    receive(&mut listener, START, &bytes).unwrap();
    let told = events(&mut listener);
    assert!(matches!(told[..], [Event::Cancelled { .. }]), "{told:?}");
    pump(&mut dialer, &mut listener, START);
    calls.extend(opened(events(&mut listener)));
    assert_eq!(calls.len(), 3);
    holds(&listener, 3);
    // What is sent of it all the same is no item, and no message that is begun.
    let late = listener.stats().late_frames;
    let id = handled.as_u64();
    for bytes in [
        frame(0x11, 1, 0, id, &[0, 0, 1, 0, 7]),
        frame(0x11, 0, 0, id, b"whole"),
        frame(0x17, 0, 0, id, b""),
    ] {
        receive(&mut listener, START, &bytes).unwrap();
    }
    assert_eq!(listener.stats().late_frames, late + 3);
    assert!(events(&mut listener).is_empty());
    holds(&listener, 3);
    // The whole item is taken by a handler that was told, which has its end as ever.
    consumed(&mut listener, handled, u64::MAX);
    reply(&mut listener, handled, b"").unwrap();
    for call in calls {
        consumed(&mut listener, call.call, u64::MAX);
    }
    pump(&mut dialer, &mut listener, START);
    assert_eq!(opened(events(&mut listener)).len(), 3);
}

// R17, R28
#[test]
fn items_that_nobody_has_taken_hold_back_others_after_the_end_of_their_call() {
    let (mut dialer, mut listener) = ready(&limits());
    let calls: Vec<_> = (0..3)
        .map(|_| open(&mut dialer, call(b"").kind(CallKind::EXECUTOR_STREAMS)))
        .collect();
    pump(&mut dialer, &mut listener, START);
    for call in opened(events(&mut listener)) {
        let (call, body) = (call.call, Bytes::from(body()));
        listener
            .command(START, Command::Item { call, body })
            .unwrap();
        pump(&mut dialer, &mut listener, START);
        if call.as_u64() == 1 {
            reply(&mut listener, call, b"").unwrap();
        }
    }
    let mut items = |dialer: &mut Machine| {
        pump(dialer, &mut listener, START);
        let items = events(dialer).into_iter();
        items
            .filter(|event| matches!(event, Event::Item { .. }))
            .count()
    };
    assert_eq!(items(&mut dialer), 2);
    holds(&dialer, 2);
    // One call is over, and its item lies there; the other is given up, and so is its item.
    cancel(&mut dialer, calls[1]).unwrap();
    assert_eq!(items(&mut dialer), 0);
    holds(&dialer, 2);
    consumed(&mut dialer, calls[1], u64::MAX);
    assert_eq!(items(&mut dialer), 1);
    consumed(&mut dialer, calls[0], charge(MIB));
    holds(&dialer, 1);
    consumed(&mut dialer, calls[2], charge(MIB));
    holds(&dialer, 0);
}
