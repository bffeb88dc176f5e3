//! A trace in forms that other programs draw.
//!
//! Both take the lines of a trace, as [`Report::trace`](crate::Report::trace),
//! [`World::trace`](crate::World::trace) and [`Failure::tail`](crate::Failure::tail) give them; what
//! is not wanted in the picture can be left out before. How far back they go is what the world was
//! told to [keep](crate::Builder::trace).
//!
//! ```
//! use bowline_sim::net::{UdpOptions, UdpSocket};
//! use bowline_sim::{Keep, Sim, export, host};
//! use std::future::poll_fn;
//!
//! let report = Sim::builder()
//!     .client("a", || async {
//!         let to = (host::resolve("b", host::Family::V4).await?[0], 53).into();
//!         let socket = UdpSocket::bind(([0, 0, 0, 0], 0).into(), UdpOptions::default())?;
//!         poll_fn(|cx| socket.poll_send_to(cx, b"hello", to)).await?;
//!         host::Sleep::new(host::now() + 1_000_000_000).await;
//!         Ok::<(), std::io::Error>(())
//!     })
//!     .client("b", || async {
//!         let socket = UdpSocket::bind(([0, 0, 0, 0], 53).into(), UdpOptions::default());
//!         host::Sleep::new(1_000_000_000).await;
//!         socket.map(drop)
//!     })
//!     .trace(Keep::Full)
//!     .run()?;
//! let chart = export::mermaid(report.trace());
//! assert!(chart.starts_with("sequenceDiagram\n"));
//! assert!(chart.contains("h0->>h1: udp 5 at 0."));
//! # Ok::<(), bowline_sim::Failure>(())
//! ```

use crate::trace::{EventKind, TraceLine};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// The number by which the world itself is shown.
const WORLD: usize = 0;

/// Longest time for which a poll is shown, in nanoseconds: what a poll takes at most on a host that
/// is not slow.
const POLL: u64 = 500;

/// A sequence chart in the notation of Mermaid: hosts as participants, packets that arrived as
/// arrows, and what was noted, signalled or done to a host above its line.
///
/// Each arrow says what arrived, its size and when. Polls, timers and what sockets do by themselves
/// are left out.
pub fn mermaid<'a>(trace: impl IntoIterator<Item = &'a TraceLine>) -> String {
    let trace: Vec<_> = trace.into_iter().collect();
    let mut chart = String::from("sequenceDiagram\n");
    let hosts = names(&trace);
    for (host, name) in &hosts {
        let name = Plain(name);
        line(&mut chart, format_args!("participant h{host} as {name}"));
    }
    for shown in trace {
        let event = shown.event();
        let (kind, label, at) = (
            event.kind().name(),
            Plain(event.label()),
            Seconds(event.time),
        );
        let (a, b) = event.values();
        match (event.kind(), event.way(), event.host()) {
            (EventKind::Segment | EventKind::Datagram, Some((from, to)), _) => {
                let arrow = format_args!("h{from}->>h{to}: {label} {b} at {at}");
                line(&mut chart, arrow);
            }
            (EventKind::Note, _, Some(host)) => {
                let note = format_args!("Note over h{host}: {label} {a} at {at}");
                line(&mut chart, note);
            }
            (EventKind::Signal | EventKind::Exit | EventKind::Check, _, Some(host)) => {
                let note = format_args!("Note over h{host}: {kind} {label} at {at}");
                line(&mut chart, note);
            }
            (EventKind::Fault, ..) => {
                // It is nobody's own: it goes over all of them.
                if let (Some((first, _)), Some((last, _))) =
                    (hosts.first_key_value(), hosts.last_key_value())
                {
                    let over =
                        format_args!("Note over h{first},h{last}: {kind} {label} {a} {b} at {at}");
                    line(&mut chart, over);
                }
            }
            _ => {}
        }
    }
    chart
}

/// The hosts that have a part in the trace, by number, with their names.
fn names<'a>(trace: &[&'a TraceLine]) -> BTreeMap<usize, &'a str> {
    let mut names = BTreeMap::new();
    for line in trace {
        if let Some(host) = line.event().host() {
            names.entry(host).or_insert(line.host());
        }
        if let (Some(numbers), Some(hosts)) = (line.event().way(), line.way()) {
            names.entry(numbers.0).or_insert(hosts.0);
            names.entry(numbers.1).or_insert(hosts.1);
        }
    }
    names
}

fn line(chart: &mut String, text: fmt::Arguments<'_>) {
    let written = writeln!(chart, "    {text}");
    debug_assert!(written.is_ok(), "strings take text");
}

/// Text without what ends a statement or begins an entity in Mermaid.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                ';' => f.write_str("#59;")?,
                '#' => f.write_str("#35;")?,
                ':' => f.write_str("#58;")?,
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Nanoseconds as seconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

/// The trace as JSON in the event format that Perfetto and the tracing page of Chrome open.
///
/// A host is a process and a task a thread of it; task 0 is what happens on a host outside tasks,
/// such as the arrival of packets, and process 0 is the world. Every event of the trace is one slice
/// with its two values, its index and its cause as arguments. Polls last until the next event, but
/// 500 ns at most, everything else no time. An arrow leads from what sent a packet to its arrival,
/// where both are in the trace.
pub fn perfetto<'a>(trace: impl IntoIterator<Item = &'a TraceLine>) -> String {
    let trace: Vec<_> = trace.into_iter().collect();
    let mut events = Vec::new();
    let hosts = names(&trace);
    let processes = hosts.iter().map(|(host, name)| (host + 1, *name));
    for (process, name) in processes.chain([(WORLD, "world")]) {
        events.push(format!(
            r#"{{"name":"process_name","ph":"M","pid":{process},"args":{{"name":{}}}}}"#,
            Quoted(name)
        ));
    }
    let threads: BTreeSet<_> = trace.iter().map(|line| place(line)).collect();
    for (process, thread) in threads {
        let name = match (process, thread) {
            (WORLD, _) => "world".to_owned(),
            (_, 0) => "host".to_owned(),
            (_, task) => format!("task {task}"),
        };
        events.push(format!(
            r#"{{"name":"thread_name","ph":"M","pid":{process},"tid":{thread},"args":{{"name":{}}}}}"#,
            Quoted(&name)
        ));
    }
    let places: BTreeMap<u64, &TraceLine> = trace
        .iter()
        .map(|line| (line.event().index(), *line))
        .collect();
    let ends = trace.iter().skip(1).map(|line| Some(line.event().time));
    for (line, next) in trace.iter().zip(ends.chain([None])) {
        let event = line.event();
        let (kind, (process, thread), (a, b)) = (event.kind(), place(line), event.values());
        let lasts = match (kind, next) {
            (EventKind::Poll, Some(next)) => next.saturating_sub(event.time).min(POLL),
            _ => 0,
        };
        let name = match event.label() {
            "" => kind.name().to_owned(),
            label => format!("{} {label}", kind.name()),
        };
        let (name, category) = (Quoted(&name), Quoted(kind.name()));
        let (at, lasts) = (Micros(event.time), Micros(lasts));
        let (index, cause) = (event.index(), event.cause());
        events.push(format!(
            r#"{{"name":{name},"cat":{category},"ph":"X","ts":{at},"dur":{lasts},"pid":{process},"tid":{thread},"args":{{"index":{index},"cause":{cause},"a":{a},"b":{b}}}}}"#
        ));
        let sent = places
            .get(&cause)
            .filter(|sent| sent.event().index() < index);
        if let (true, Some(sent)) = (kind.arrives(), sent) {
            let (from, task) = place(sent);
            let began = Micros(sent.event().time);
            events.push(format!(
                r#"{{"name":"packet","cat":"packet","ph":"s","id":{index},"ts":{began},"pid":{from},"tid":{task}}}"#
            ));
            events.push(format!(
                r#"{{"name":"packet","cat":"packet","ph":"f","bp":"e","id":{index},"ts":{at},"pid":{process},"tid":{thread}}}"#
            ));
        }
    }
    format!(
        "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{}\n]}}\n",
        events.join(",\n")
    )
}

/// The process and the thread by which the place of an event is shown.
fn place(line: &TraceLine) -> (usize, u32) {
    let event = line.event();
    match (event.host(), event.way()) {
        (Some(host), _) => (host + 1, event.task()),
        (None, Some((_, to))) => (to + 1, 0),
        (None, None) => (WORLD, 0),
    }
}

/// Nanoseconds as microseconds.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// A string of JSON.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
