//! What a world costs, as far as it can be counted: a test binary of its own, for it counts
//! allocations. What has to be timed is in `cargo xtask bench sim`.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Sleep, yield_now};
use bowline_sim::net::{TcpListener, TcpStream};
use bowline_sim::{Builder, HostLimits, Keep, Report, Sim};
use echo::{accept, dial, listen, write_all};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io;
use std::time::Duration;

/// Counts the allocations of each thread, and the bytes it holds.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

fn bytes(layout: Layout) -> i64 {
    i64::try_from(layout.size()).unwrap_or(i64::MAX)
}

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged; growths go by `alloc` and `dealloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        LIVE.set(LIVE.get() + bytes(layout));
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - bytes(layout));
        // SAFETY: `pointer` came from `System`, by `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECOND: u64 = 1_000_000_000;

fn run(world: Builder) -> (Report, u64) {
    let before = COUNT.get();
    let report = world.trace(Keep::Tail(100)).run();
    let report = report.expect("the world runs to its end");
    (report, COUNT.get() - before)
}

/// Allocations for each event that the longer run has more than the shorter one.
fn allocations_per_event(world: impl Fn(u64) -> Builder) -> f64 {
    let (short, long) = (run(world(1_000)), run(world(5_000)));
    let events = long.0.events - short.0.events;
    assert!(events >= 4_000, "the longer run does more: {events}");
    (long.1 as f64 - short.1 as f64) / events as f64
}

// SIM89
#[test]
fn polls_and_timers_allocate_nothing() {
    let polls = allocations_per_event(|count| {
        Sim::builder().client("busy", move || async move {
            for _ in 0..count {
                yield_now().await;
            }
        })
    });
    assert!(polls < 0.001, "{polls} for each poll");
    let timers = allocations_per_event(|count| {
        Sim::builder().client("sleepy", move || async move {
            for _ in 0..count {
                Sleep::new(host::now() + SECOND).await;
            }
        })
    });
    assert!(timers < 0.001, "{timers} for each poll and timer");
}

async fn read_exact(stream: &TcpStream, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match poll_fn(|cx| stream.poll_read(cx, buffer)).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => buffer = &mut buffer[read..],
        }
    }
    Ok(())
}

async fn serve() -> io::Result<()> {
    let listener = listen(80)?;
    loop {
        let stream = accept(&listener).await?;
        host::spawn(async move {
            let mut buffer = [0; 64];
            while read_exact(&stream, &mut buffer).await.is_ok()
                && write_all(&stream, &buffer).await.is_ok()
            {}
        });
    }
}

async fn call(count: u64) -> io::Result<()> {
    let stream = dial("server", 80).await?;
    for _ in 0..count {
        write_all(&stream, &[7; 64]).await?;
        read_exact(&stream, &mut [0; 64]).await?;
    }
    Ok(())
}

fn calling(count: u64) -> Builder {
    Sim::builder()
        .host("server", serve)
        .client("client", move || call(count))
}

// SIM89
#[test]
fn an_echo_allocates_nothing_once_it_goes() {
    run(calling(1)); // the first world of a process starts the thread that watches them all
    let (short, long) = (run(calling(1_000)), run(calling(5_000)));
    let allocations = long.1 - short.1;
    let events = long.0.events - short.0.events;
    assert!(events > 10 * 4_000, "{events} events");
    // Wakes, timers, segments and what they carry go through what was used before.
    assert!(
        allocations * 100 < events,
        "{allocations} in {events} events"
    );
}

/// Bytes that each of the things takes that `more` has and `fewer` has not.
fn bytes_each(count: i64, fewer: Builder, more: Builder) -> i64 {
    let held = |world: Builder| {
        let before = LIVE.get();
        let mut world = world.trace(Keep::Off).build();
        let idle = world.run_for(Duration::from_secs(60));
        idle.expect("the world is idle");
        LIVE.get() - before
    };
    (held(more) - held(fewer)) / count
}

fn idle_hosts(count: usize) -> Builder {
    let idle = || Sleep::new(1_000_000 * SECOND);
    (0..count).fold(Sim::builder(), |world, index| {
        world.client(&format!("host-{index}"), idle)
    })
}

fn idle_tasks(count: usize) -> Builder {
    Sim::builder().client("client", move || async move {
        for _ in 0..count {
            host::spawn(pending());
        }
        Sleep::new(1_000_000 * SECOND).await;
    })
}

async fn hold(listener: TcpListener) -> io::Result<()> {
    let mut held = Vec::new();
    loop {
        held.push(accept(&listener).await?);
    }
}

fn idle_connections(count: usize) -> Builder {
    let mut limits = HostLimits::default();
    limits.descriptors = count + 1;
    Sim::builder()
        .host("server", || async { hold(listen(80)?).await })
        .limits("server", limits)
        .client("client", move || async move {
            let mut held = Vec::new();
            for _ in 0..count {
                held.push(dial("server", 80).await?);
            }
            Sleep::new(1_000_000 * SECOND).await;
            Ok::<(), io::Error>(())
        })
        .limits("client", limits)
}

// SIM89
#[test]
fn what_is_idle_takes_little() {
    let host = bytes_each(200, idle_hosts(200), idle_hosts(400));
    assert!(host > 0 && host <= 8 * 1024, "{host} bytes for a host");
    let task = bytes_each(1_000, idle_tasks(1_000), idle_tasks(2_000));
    assert!(task > 0 && task <= 512, "{task} bytes for a task");
    let end = bytes_each(600, idle_connections(300), idle_connections(600));
    assert!(end > 0 && end <= 1024, "{end} bytes for an end");
}

// SIM89
#[test]
fn what_is_idle_has_no_part_in_events() {
    let beside = |hosts: usize| {
        let (report, allocations) = run((0..hosts).fold(calling(1_000), |world, index| {
            world.host(&format!("idle-{index}"), pending::<()>)
        }));
        (report, allocations)
    };
    let (alone, _) = beside(0);
    let (few, few_allocations) = beside(100);
    let (many, many_allocations) = beside(300);
    // Each has a first poll, is started and ended; its first poll takes its time.
    assert_eq!(few.polls, alone.polls + 100);
    assert_eq!(many.polls, alone.polls + 300);
    assert_eq!(many.events - few.events, 200 * 3);
    let each = (many_allocations - few_allocations) / 200;
    assert!(each <= 30, "{each} allocations for an idle host");
}
