//! Peers that share a secret: the proofs, how they fail, and what nobody sees.

use std::sync::Arc;
use std::time::Duration;

use bowline_rpc::proto::{
    Advertised, CloseCause, Command, Config, Event, Machine, MethodId, Side, Violation,
};
use bowline_rpc::{Code, Right, Secret};

use crate::pair::{START, events, frame, hex, millis, open_frame, pump, receive, sent};

const PROOF_D: &str = "9c71e38e719c63f9cbcea8fd20387cb3dc7b3856b2ac5cccc6dbe67014149f4a";
const PROOF_L: &str = "230c7f2f35ae26f2dc2a3d4f7c97bb5b46874c6dd91b2bf50392ef60065724b8";
/// What every failed proof is answered with.
const REFUSED: &str = "00000000 04 00 000A 0000000000000000";

fn secret(n: u8) -> Secret {
    Secret::new([n; 32]).expect("it is long enough")
}

fn golden(instance: u8) -> Config {
    let bytes: Vec<u8> = (0..0x20).collect();
    Config::new("example", [instance; 16]).secret("k1", Secret::new(bytes).unwrap())
}

fn with(config: Config, side: Side, seed: u8) -> Machine {
    Machine::new(Arc::new(config), side, START, [seed; 32])
}

fn dialer() -> Machine {
    with(golden(0x0D), Side::Dialer, 0xD0)
}

fn listener() -> Machine {
    with(golden(0x07), Side::Listener, 0x70)
}

fn close_cause(machine: &mut Machine) -> CloseCause {
    match events(machine).pop() {
        Some(Event::Closed(cause)) => cause,
        other => panic!("not closed: {other:?}"),
    }
}

// R11
#[test]
fn the_handshake_has_the_golden_bytes() {
    let (mut dialer, mut listener) = (dialer(), listener());
    let hello = sent(&mut dialer, START);
    assert_eq!(hello.len(), 8 + 122);
    receive(&mut listener, START, &hello).unwrap();
    let answer = sent(&mut listener, START);
    assert_eq!(answer.len(), 8 + 122, "and no READY yet");
    receive(&mut dialer, START, &answer).unwrap();
    let proof = sent(&mut dialer, START);
    assert_eq!(proof, frame(0x02, 0, 0, 0, &hex(PROOF_D)));
    receive(&mut listener, START, &proof).unwrap();
    let both = sent(&mut listener, START);
    let ready = frame(0x03, 0, 0, 0, b"\x02k1");
    assert_eq!(
        both,
        [frame(0x02, 0, 0, 0, &hex(PROOF_L)), ready.clone()].concat()
    );
    receive(&mut dialer, START, &both).unwrap();
    assert!(sent(&mut dialer, START).starts_with(&ready));
    assert!(dialer.is_ready());
    let seen = events(&mut dialer);
    let [Event::Ready(hello)] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!((&*hello.principal, &*hello.proven), ("k1", "k1"));
}

// P1
#[test]
fn a_recorded_handshake_opens_nothing_a_second_time() {
    let (mut dialer, mut listener) = (dialer(), listener());
    let mut recorded = sent(&mut dialer, START);
    receive(&mut listener, START, &recorded).unwrap();
    loop {
        let bytes = sent(&mut listener, START);
        if bytes.is_empty() {
            break;
        }
        receive(&mut dialer, START, &bytes).unwrap();
        let bytes = sent(&mut dialer, START);
        receive(&mut listener, START, &bytes).unwrap();
        recorded.extend(bytes);
    }
    assert!(listener.is_ready());
    recorded.extend(open_frame(1, b"x"));
    let mut again = with(golden(0x07), Side::Listener, 0x71);
    assert_eq!(
        receive(&mut again, START, &recorded),
        Err(Violation::Unauthenticated)
    );
    assert_eq!(
        close_cause(&mut again),
        CloseCause::Violation(Violation::Unauthenticated)
    );
}

/// How a listener refuses: its bytes after its HELLO, and when they came.
fn refusal(mut machine: Machine, input: &[u8]) -> (Vec<u8>, Duration) {
    assert_eq!(
        receive(&mut machine, START, input),
        Err(Violation::Unauthenticated)
    );
    let due = machine.poll_timeout().expect("it will say something");
    let before = millis(0).max(due - START) - Duration::from_nanos(1).min(due - START);
    if due > START {
        assert!(sent(&mut machine, START + before).is_empty(), "it hurries");
        assert!(!machine.is_finished());
    }
    machine.handle_timeout(due);
    let bytes = sent(&mut machine, due);
    assert!(machine.is_finished());
    assert_eq!(machine.poll_timeout(), None);
    (bytes, due - START)
}

/// A dialer's HELLO and PROOF against `listener`, whose answer went through `change`.
fn attempt(
    mut dialer: Machine,
    mut listener: Machine,
    change: impl Fn(&mut Vec<u8>),
) -> (Machine, Vec<u8>) {
    let mut hello = sent(&mut dialer, START);
    change(&mut hello);
    receive(&mut listener, START, &hello).unwrap();
    let answer = sent(&mut listener, START);
    receive(&mut dialer, START, &answer).unwrap();
    (listener, sent(&mut dialer, START))
}

// A1: the machine's part of what makes all failures alike.
#[test]
fn every_failed_proof_is_refused_with_the_same_bytes_after_a_while() {
    let other = |id: &str, n| Config::new("example", [0x0D; 16]).secret(id.to_owned(), secret(n));
    let attempts = [
        // A wrong key, and an id nobody knows.
        attempt(with(other("k1", 9), Side::Dialer, 1), listener(), |_| ()),
        attempt(with(other("k2", 9), Side::Dialer, 2), listener(), |_| ()),
        // Somebody in between changed a limit in the HELLO.
        attempt(dialer(), listener(), |hello| hello[8 + 16 + 75] += 1),
        // The two are ends of different channels.
        attempt(
            dialer().bound_to(&[1; 32]),
            listener().bound_to(&[2; 32]),
            |_| (),
        ),
        attempt(dialer().bound_to(&[1; 32]), listener(), |_| ()),
    ];
    let mut pauses = Vec::new();
    for (listener, proof) in attempts {
        assert_eq!(proof.len(), 16 + 32);
        let (bytes, pause) = refusal(listener, &proof);
        assert_eq!(bytes, hex(REFUSED));
        pauses.push(pause);
    }
    // A listener that sends the dialer's own proof back.
    let (mut dialer, mut honest) = (dialer(), listener());
    let hello = sent(&mut dialer, START);
    receive(&mut honest, START, &hello).unwrap();
    let answer = sent(&mut honest, START);
    receive(&mut dialer, START, &answer).unwrap();
    let reflected = sent(&mut dialer, START);
    let (bytes, pause) = refusal(dialer, &reflected);
    assert_eq!(bytes, hex(REFUSED));
    pauses.push(pause);
    assert!(
        pauses.iter().all(|pause| *pause <= millis(50)),
        "{pauses:?}"
    );
}

#[test]
fn the_pause_before_a_refusal_is_drawn_anew_for_each_connection() {
    let stranger = |seed| {
        let config = Config::new("example", [1; 16]).secret("k1", secret(9));
        let listener = with(golden(7), Side::Listener, seed);
        let (listener, proof) = attempt(with(config, Side::Dialer, 1), listener, |_| ());
        refusal(listener, &proof).1
    };
    let pauses: Vec<Duration> = (0..64).map(stranger).collect();
    let (shortest, longest) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
    assert!(*shortest < millis(10) && *longest > millis(40) && *longest <= millis(50));
}

// P3: the part about the wrong secret of a listener.
#[test]
fn a_dialer_does_not_talk_to_a_listener_with_another_secret_or_none() {
    let wrong = Config::new("example", [7; 16]).secret("k1", secret(3));
    let (mut impostor, mut dialer) = (with(wrong, Side::Listener, 0x70), dialer());
    let hello = sent(&mut dialer, START);
    receive(&mut impostor, START, &hello).unwrap();
    let answer = sent(&mut impostor, START);
    receive(&mut dialer, START, &answer).unwrap();
    sent(&mut dialer, START);
    // It lets everybody in, but has nothing to prove it with.
    let forged = [
        frame(0x02, 0, 0, 0, &[5; 32]),
        frame(0x03, 0, 0, 0, b"\x02k1"),
    ]
    .concat();
    assert_eq!(
        receive(&mut dialer, START, &forged),
        Err(Violation::Unauthenticated)
    );
    assert!(!dialer.is_ready());
    // One that wants no proof, and one that sends READY where the proof is due.
    let mut dialer = self::dialer();
    let open = Config::new("example", [7; 16]);
    let mut naive = with(open, Side::Listener, 0x70);
    let hello = sent(&mut dialer, START);
    assert_eq!(
        receive(&mut naive, START, &hello),
        Err(Violation::Unauthenticated)
    );
    let mut dialer = self::dialer();
    let mut early = listener();
    let hello = sent(&mut dialer, START);
    receive(&mut early, START, &hello).unwrap();
    let answer = sent(&mut early, START);
    let bytes = [answer, frame(0x03, 0, 0, 0, b"\x02k1")].concat();
    assert_eq!(
        receive(&mut dialer, START, &bytes),
        Err(Violation::Rule("handshake-order"))
    );
}

#[test]
fn whoever_offers_no_proof_is_refused_by_a_listener_with_a_secret() {
    let mut stranger = with(Config::new("example", [1; 16]), Side::Dialer, 1);
    let hello = sent(&mut stranger, START);
    let (bytes, _) = refusal(listener(), &hello);
    // The preface first, so that the stranger can read it.
    assert_eq!(bytes[8..], hex(REFUSED));
    receive(&mut stranger, START, &bytes).unwrap();
    let expected = CloseCause::ClosedByPeer {
        code: Code::Unauthenticated,
        message: "".into(),
    };
    assert_eq!(close_cause(&mut stranger), expected);
    assert!(expected.is_permanent());
}

// A2
#[test]
fn without_a_proof_bytes_and_time_are_bounded() {
    let waiting = || {
        let (mut dialer, mut listener) = (dialer(), listener());
        let hello = sent(&mut dialer, START);
        receive(&mut listener, START, &hello).unwrap();
        sent(&mut listener, START);
        (listener, 4096 - hello.len())
    };
    let (mut listener, room) = waiting();
    // The header alone says that it will be too much.
    let header = &frame(0x02, 0, 0, 0, &vec![0; room - 15])[..16];
    assert_eq!(
        receive(&mut listener, START, header),
        Err(Violation::HandshakeTooLong { limit: 4096 })
    );
    let (mut listener, room) = waiting();
    let longest = frame(0x02, 0, 0, 0, &vec![0; room - 16]);
    assert_eq!(
        receive(&mut listener, START, &longest),
        Err(Violation::Rule("proof-length"))
    );
    let (mut listener, _) = waiting();
    let deadline = START + Duration::from_secs(5);
    assert_eq!(listener.poll_timeout(), Some(deadline));
    listener.handle_timeout(deadline - Duration::from_nanos(1));
    assert!(!listener.is_finished());
    listener.handle_timeout(deadline);
    assert_eq!(close_cause(&mut listener), CloseCause::HandshakeTimeout);
    assert!(listener.is_finished());
}

#[test]
fn each_peer_is_known_by_the_key_it_proved_itself_by() {
    let keys = Config::new("example", [7; 16])
        .key("old", secret(1))
        .key("new", secret(2));
    let keys = keys.allow("new", "admin.*", Right::Call);
    let keys = keys.allow("*", "f", Right::Call);
    for (id, n, methods) in [("old", 1, 1), ("new", 2, 2)] {
        let config = Config::new("example", [1; 16]).secret(id, secret(n));
        let mut dialer = with(config, Side::Dialer, n);
        let mut listener = with(keys.clone(), Side::Listener, 0x70);
        let offered = ["f", "admin.stop"].iter().zip(1..);
        let offered = offered.map(|(name, id)| Advertised::new(MethodId(id), *name));
        let offered = Command::Advertise(offered.collect());
        listener.command(START, offered).unwrap();
        pump(&mut dialer, &mut listener, START);
        let seen = events(&mut listener);
        assert!(
            matches!(&seen[0], Event::Ready(hello) if &*hello.proven == id),
            "{seen:?}"
        );
        let seen = events(&mut dialer);
        let seen = seen.iter().find_map(|event| match event {
            Event::Advertised(methods) => Some(methods.len()),
            _ => None,
        });
        assert_eq!(seen, Some(methods), "what it may call");
        // The same for what comes later.
        let more = ["admin.more", "f"].iter().zip(3..);
        let more = more.map(|(name, id)| Advertised::new(MethodId(id), *name));
        listener
            .command(START, Command::Withdraw(vec![MethodId(1)]))
            .unwrap();
        listener
            .command(START, Command::Advertise(more.collect()))
            .unwrap();
        pump(&mut dialer, &mut listener, START);
        let seen = events(&mut dialer);
        assert!(
            matches!(&seen[1], Event::Advertised(new) if new.len() == methods),
            "{seen:?}"
        );
    }
}

// A6: what the machine shows.
#[test]
fn a_secret_is_in_no_debug_text() {
    let secret = Secret::new(*b"an unmistakable secret of 32 by.").unwrap();
    let config = Config::new("example", [7; 16])
        .key("k2", secret.clone())
        .passes(*b"an unmistakable secret of 32 by.")
        .secret("k1", secret.clone());
    let machine = Machine::new(Arc::new(config.clone()), Side::Dialer, START, [1; 32]);
    let bytes = format!("{:?}", b"an unmistakable secret of 32 by.");
    for text in [
        format!("{secret:?} {secret:#?}"),
        format!("{config:?} {config:#?}"),
        format!("{machine:?} {machine:#?}"),
    ] {
        assert!(!text.contains("unmistakable"), "{text}");
        assert!(
            !text.contains("97, 110, 32") && !text.contains(&bytes),
            "{text}"
        );
    }
    assert!(format!("{config:?}").contains("k1"));
}
