//! Notifications: a window of their own, and no answer.

use bowline_rpc::proto::{CallId, CallKind, Command, Event, Rejected, StreamEnd, Violation};
use bowline_rpc::{Certainty, Code, Limits};

use crate::pair::{
    START, call, ends, events, frames, open, open_frame, opened, pump, ready, receive, reply, sent,
};

#[test]
fn notifications_wait_for_their_window_and_none_is_lost() {
    let mut limits = Limits::default();
    limits.notify_window = 4;
    let (mut dialer, mut listener) = ready(&limits);
    for n in 0..20u8 {
        open(&mut dialer, call(&[n]).kind(CallKind::NOTIFY));
    }
    let mut seen = Vec::new();
    let mut notified = 0;
    while seen.len() < 20 {
        pump(&mut dialer, &mut listener, START);
        notified += events(&mut dialer)
            .iter()
            .filter(|event| matches!(event, Event::Notified { .. }))
            .count();
        let calls = opened(events(&mut listener));
        assert!(!calls.is_empty() && calls.len() <= 4, "{}", calls.len());
        for call in calls {
            assert_eq!(call.kind, CallKind::NOTIFY);
            assert_eq!(
                reply(&mut listener, call.call, b""),
                Err(Rejected::NoSuchCall),
                "nobody waits for an answer"
            );
            seen.push(call.body[0]);
            let taken = Command::Consumed {
                call: CallId::CONNECTION,
                amount: 1,
            };
            listener.command(START, taken).unwrap();
        }
    }
    assert_eq!(seen, (0..20).collect::<Vec<u8>>());
    assert_eq!(notified, 20);
    // A peer that sends more than its window.
    let (_, mut listener) = ready(&limits);
    let notifications: Vec<u8> = (0..5)
        .flat_map(|n| {
            let mut bytes = open_frame(2 * n + 1, b"");
            bytes[20] = 4;
            bytes
        })
        .collect();
    assert_eq!(
        receive(&mut listener, START, &notifications),
        Err(Violation::Rule("notify-window"))
    );
    // One that is not sent when the connection is lost was not sent.
    let (mut dialer, _) = ready(&limits);
    for n in 0..5u8 {
        open(&mut dialer, call(&[n]).kind(CallKind::NOTIFY));
    }
    assert_eq!(frames(&sent(&mut dialer, START)).len(), 4);
    events(&mut dialer);
    dialer.handle_end(START, StreamEnd::Ended);
    let lost = ends(&mut dialer);
    assert!(
        matches!(
            &lost[..],
            [(_, Err((Code::ConnectionLost, Certainty::NeverSent)))]
        ),
        "{lost:?}"
    );
}
