//! Traces as other programs draw them.

use bowline_sim::host::{self, Family, Sleep};
use bowline_sim::net::{UdpOptions, UdpSocket};
use bowline_sim::{Builder, EventKind, Keep, Link, Sim, TraceLine, export};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn bind(port: u16) -> io::Result<UdpSocket> {
    let any = SocketAddr::from(([0, 0, 0, 0], port));
    UdpSocket::bind(any, UdpOptions::default())
}

/// One datagram from one host to another, and a note there.
fn world() -> Builder {
    let millisecond = Duration::from_millis(1);
    Sim::builder()
        .client("left; #1", || async {
            Sleep::new(SECOND).await;
            let to = (host::resolve("right", Family::V4).await?[0], 53).into();
            let socket = bind(0)?;
            poll_fn(|cx| socket.poll_send_to(cx, b"hello", to)).await?;
            Ok::<(), io::Error>(())
        })
        .client("right", || async {
            let socket = bind(53)?;
            poll_fn(|cx| socket.poll_recv(cx, 16)).await?;
            Sim::note("a \"note\"", 7);
            Ok::<(), io::Error>(())
        })
        .default_link(Link::lan().latency(millisecond..2 * millisecond))
        .at(Duration::from_millis(500), |world| {
            world.latency_spike("left; #1", "right", Duration::ZERO, Duration::from_nanos(1));
        })
        .trace(Keep::Full)
}

fn seconds(nanos: u64) -> String {
    format!("{}.{:09}s", nanos / SECOND, nanos % SECOND)
}

fn only(trace: &[TraceLine], kind: EventKind) -> &TraceLine {
    let mut lines = trace.iter().filter(|line| line.event().kind() == kind);
    let line = lines.next().expect("there is one");
    assert!(lines.next().is_none(), "there is no other");
    line
}

#[test]
fn a_sequence_chart_shows_who_told_whom() {
    let report = world().run().expect("it runs");
    let trace = report.trace();
    let at = |line: &TraceLine| seconds(line.event().time());
    let datagram = only(trace, EventKind::Datagram);
    assert_eq!(datagram.way(), Some(("left; #1", "right")));
    assert_eq!(datagram.event().way(), Some((0, 1)));
    let exits: Vec<_> = trace
        .iter()
        .filter(|line| line.event().kind() == EventKind::Exit)
        .map(at)
        .collect();
    let spikes: Vec<_> = trace
        .iter()
        .filter(|line| line.event().kind() == EventKind::Fault)
        .map(|line| line.event().values())
        .collect();
    assert_eq!(spikes.len(), 2, "one for each direction");
    let expected = format!(
        "sequenceDiagram
    participant h0 as left#59; #35;1
    participant h1 as right
    Note over h0,h1: fault spike {} {} at 0.500000000s
    Note over h0,h1: fault spike {} {} at 0.500000000s
    Note over h0: exit ended at {}
    h0->>h1: udp 5 at {}
    Note over h1: a \"note\" 7 at {}
    Note over h1: exit ended at {}
",
        spikes[0].0,
        spikes[0].1,
        spikes[1].0,
        spikes[1].1,
        exits[0],
        at(datagram),
        at(only(trace, EventKind::Note)),
        exits[1],
    );
    assert_eq!(export::mermaid(trace), expected);
    // What is left out before is not drawn; hosts that have no part are not there.
    let packets = trace.iter().filter(|line| line.way().is_some());
    assert_eq!(export::mermaid(packets).lines().count(), 4);
    assert_eq!(export::mermaid([]), "sequenceDiagram\n");
}

#[test]
fn perfetto_is_given_every_event_with_its_place_and_time() {
    let report = world().run().expect("it runs");
    let trace = report.trace();
    let parsed: Value = serde_json::from_str(&export::perfetto(trace)).expect("it is JSON");
    let events = parsed["traceEvents"].as_array().expect("a list");
    let of = |phase: &str| -> Vec<&Value> {
        let events = events.iter();
        events.filter(|event| event["ph"] == *phase).collect()
    };

    let processes: BTreeMap<_, _> = of("M")
        .into_iter()
        .filter(|event| event["name"] == "process_name")
        .map(|event| (event["pid"].as_u64(), event["args"]["name"].as_str()))
        .collect();
    let named = [
        (Some(0), Some("world")),
        (Some(1), Some("left; #1")),
        (Some(2), Some("right")),
    ];
    assert_eq!(processes, named.into());

    let slices = of("X");
    assert_eq!(slices.len(), trace.len());
    for (slice, line) in slices.iter().zip(trace) {
        let (event, (a, b)) = (line.event(), line.event().values());
        let args = json!({"index": event.index(), "cause": event.cause(), "a": a, "b": b});
        assert_eq!(slice["args"], args);
        let nanos = slice["ts"].as_f64().expect("a number") * 1e3;
        assert_eq!(nanos.round() as u64, event.time());
        let lasts = slice["dur"].as_f64().expect("a number");
        assert!((0.0..=0.5).contains(&lasts), "{slice}");
        assert!(event.kind() == EventKind::Poll || lasts == 0.0, "{slice}");
        if let Some(host) = event.host() {
            assert_eq!(slice["pid"].as_u64(), Some(host as u64 + 1));
            assert_eq!(slice["tid"].as_u64(), Some(u64::from(event.task())));
        }
    }
    let polls = slices.iter().filter(|slice| slice["name"] == "poll");
    assert!(polls.clone().count() > 3);
    assert!(polls.clone().any(|poll| poll["dur"].as_f64() > Some(0.05)));
    let note = slices.iter().find(|slice| slice["cat"] == "note");
    assert_eq!(note.expect("a note")["name"], "note a \"note\"");

    // The one packet: from the poll that sent it to its arrival outside tasks.
    let (starts, ends) = (of("s"), of("f"));
    let datagram = only(trace, EventKind::Datagram).event();
    assert_eq!((starts.len(), ends.len()), (1, 1));
    assert_eq!(starts[0]["id"], json!(datagram.index()));
    assert_eq!(ends[0]["id"], json!(datagram.index()));
    assert_eq!(
        (&starts[0]["pid"], &starts[0]["tid"]),
        (&json!(1), &json!(1))
    );
    assert_eq!((&ends[0]["pid"], &ends[0]["tid"]), (&json!(2), &json!(0)));
    let sent = &trace[datagram.cause() as usize];
    assert_eq!(sent.event().kind(), EventKind::Poll);
    let began = starts[0]["ts"].as_f64().expect("a number") * 1e3;
    assert_eq!(began.round() as u64, sent.event().time());

    // A part of a trace has no arrow from what it has not.
    let part = export::perfetto(trace.iter().filter(|line| line.way().is_some()));
    let part: Value = serde_json::from_str(&part).expect("it is JSON");
    let part = part["traceEvents"].as_array().expect("a list").iter();
    assert!(part.clone().all(|event| event["ph"] != "s"));
    assert_eq!(part.filter(|event| event["ph"] == "X").count(), 1);
}
