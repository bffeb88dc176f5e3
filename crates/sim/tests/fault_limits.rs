//! Drawn faults that leave hosts less than they have: each does what its name says.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/faulty.rs"]
mod faulty;

use bowline_sim::net::UnixStream;
use bowline_sim::{EventKind, FaultKind, Faults, Keep, Sim, host};
use cut::{MS, Notes, SECOND, until};
use datagrams::{bind, io_code, send_to};
use faulty::{HEAL, jobs, longest, noted};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

/// Of `ENOBUFS`, which the standard library has no kind for.
const NO_BUFFERS: i32 = 105;

// SIM87
#[test]
fn threads_are_few_for_the_run() {
    let (late, plain) = noted(FaultKind::Threads, |notes| async move {
        jobs(1000, &notes).await
    });
    let most = longest(&plain);
    // 512 at once without; eight or fewer with it.
    assert!(
        late.iter().all(|late| longest(late) > 10 * most),
        "{late:?} {plain:?}"
    );
}

/// How many sockets a client has when it gets no more, and the number of the error then.
fn sockets_of(kind: FaultKind) -> (Vec<Vec<u64>>, Vec<u64>) {
    noted(kind, |notes| async move {
        let mut held = Vec::new();
        let error = loop {
            match bind("0.0.0.0:0") {
                Ok(socket) => held.push(socket),
                Err(error) => break error,
            }
        };
        notes.add(held.len() as u64);
        notes.add(error.raw_os_error().unwrap_or(0).cast_unsigned().into());
    })
}

// SIM44, SIM87
#[test]
fn descriptors_and_ports_are_few_for_the_run() {
    const EMFILE: u64 = 24;
    const EADDRINUSE: u64 = 98;
    let (few, plain) = sockets_of(FaultKind::Descriptors);
    assert_eq!(plain, [1024, EMFILE]);
    let counts: BTreeSet<u64> = few.iter().map(|few| few[0]).collect();
    assert!(few.iter().all(|few| few[1] == EMFILE), "{few:?}");
    assert!(counts.len() > 1 && counts.iter().all(|few| [512, 128, 64, 32].contains(few)));
    let (few, _) = sockets_of(FaultKind::Ports);
    let counts: BTreeSet<u64> = few.iter().map(|few| few[0]).collect();
    assert!(few.iter().all(|few| few[1] == EADDRINUSE), "{few:?}");
    assert!(counts.len() > 1 && counts.iter().all(|few| [1000, 500, 200, 100].contains(few)));
}

// SIM87
#[test]
fn buffers_are_small_for_the_run() {
    let written = |faults: Faults| {
        let run = |seed| {
            let world = Sim::builder()
                .seed(seed)
                .host("server", || async {
                    let listener = echo::listen(80)?;
                    let stream = echo::accept(&listener).await?;
                    until(host::Sleep::NEVER).await;
                    drop(stream);
                    Ok::<(), io::Error>(())
                })
                .client("client", || async {
                    until(SECOND).await;
                    let stream = echo::dial("server", 80).await?;
                    let mut written = 0;
                    poll_fn(|cx| {
                        while stream.poll_write(cx, &[7; 4096])?.is_ready() {
                            written += 1;
                        }
                        Poll::Ready(Ok::<(), io::Error>(()))
                    })
                    .await?;
                    until(5 * SECOND).await;
                    poll_fn(|cx| {
                        while let Poll::Ready(more) = stream.poll_write(cx, &[7; 4096])? {
                            written += more;
                        }
                        Poll::Ready(Ok::<(), io::Error>(()))
                    })
                    .await?;
                    Sim::note("more", written as u64);
                    Ok::<(), io::Error>(())
                })
                .faults(faults.clone())
                .trace(Keep::Full);
            let report = world.run().expect("the client is done");
            let notes = report.trace().iter().map(|line| line.event());
            let wrote = notes.filter(|event| event.kind() == EventKind::Write);
            wrote.map(|event| event.values().1).sum::<u64>()
        };
        (0..10).map(run).collect::<Vec<u64>>()
    };
    // What both buffers hold together: by default 128 KiB and 64 KiB.
    assert!(
        written(Faults::none())
            .iter()
            .all(|bytes| *bytes == 192 * 1024)
    );
    let small = written(Faults::of([FaultKind::Buffers]));
    assert!(small.iter().all(|bytes| *bytes <= 32 * 1024), "{small:?}");
    let sizes: BTreeSet<_> = small.iter().collect();
    assert!(sizes.len() > 3, "{small:?}");
}

/// How many datagrams of 256 bytes, which count for 1 KiB with their records, a socket takes from
/// its own host before it reads one.
fn many(kind: FaultKind) -> (Vec<Vec<u64>>, Vec<u64>) {
    noted(kind, |notes| async move {
        let socket = bind("127.0.0.1:0").expect("a port is free");
        let to = socket.local_addr().expect("it is bound");
        for _ in 0..400 {
            if let Err(error) = send_to(&socket, &[7; 256], to).await {
                assert_eq!(error.raw_os_error(), io_code(NO_BUFFERS));
            }
        }
        let mut got = 0;
        poll_fn(|cx| {
            while socket.poll_recv(cx, 256).is_ready() {
                got += 1;
            }
            Poll::Ready(())
        })
        .await;
        notes.add(got);
    })
}

fn sizes(notes: Vec<Vec<u64>>) -> BTreeSet<u64> {
    notes.into_iter().flatten().collect()
}

// SIM70, SIM87
#[test]
fn udp_buffers_are_small_for_the_run() {
    let (few, plain) = many(FaultKind::UdpBuffers);
    assert_eq!(plain, [209]);
    let few = sizes(few);
    assert!(
        few.len() > 1 && few.iter().all(|few| [65, 17, 9, 3].contains(few)),
        "{few:?}"
    );
    // How many are under way when the next one waits.
    let sent = |faults: Faults| {
        let run = |seed| {
            let notes = Notes::default();
            let noted = notes.clone();
            let world = Sim::builder().seed(seed).host("far", || async {});
            let world = world.client("client", move || {
                let notes = noted.clone();
                async move {
                    let far = host::resolve("far", host::Family::V4).await?[0];
                    let socket = bind("0.0.0.0:0")?;
                    poll_fn(|cx| {
                        while socket
                            .poll_send_to(cx, &[7; 256], (far, 9).into())?
                            .is_ready()
                        {
                            notes.add(1);
                        }
                        Poll::Ready(Ok::<(), io::Error>(()))
                    })
                    .await
                }
            });
            world.faults(faults.clone()).run().expect("it is done");
            notes.take().len()
        };
        (0..10).map(run).collect::<BTreeSet<usize>>()
    };
    assert_eq!(sent(Faults::none()), BTreeSet::from([208]));
    let few = sent(Faults::of([FaultKind::UdpBuffers]));
    assert!(
        few.len() > 1 && few.iter().all(|few| [64, 16, 8, 5].contains(few)),
        "{few:?}"
    );
}

/// How many bytes Unix streams hold that nobody reads, each, and then all of them.
fn unread(kind: FaultKind) -> (Vec<Vec<u64>>, Vec<u64>) {
    noted(kind, |notes| async move {
        let (mut pairs, mut all) = (Vec::new(), 0);
        'more: while pairs.len() < 100 {
            let (one, other) = UnixStream::pair().expect("a descriptor is free");
            let mut held = 0;
            loop {
                let bytes = [7; 4096];
                let written = poll_fn(|cx| match one.poll_write(cx, &bytes) {
                    Poll::Pending => Poll::Ready(Ok(0)),
                    ready => ready,
                });
                match written.await {
                    Ok(0) => break,
                    Ok(written) => held += written as u64,
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), io_code(NO_BUFFERS));
                        all += held;
                        break 'more;
                    }
                }
            }
            if pairs.is_empty() {
                notes.add(held);
            }
            all += held;
            pairs.push((one, other));
        }
        notes.add(all);
    })
}

// SIM71, SIM87
#[test]
fn unix_buffers_are_small_for_the_run() {
    let (few, plain) = unread(FaultKind::UnixBuffers);
    assert_eq!(plain, [212_992, 21_299_200]);
    let few: BTreeSet<u64> = few.iter().map(|few| few[0]).collect();
    let drawn = [65_536, 16_384, 8192, 4608];
    assert!(
        few.len() > 1 && few.iter().all(|few| drawn.contains(few)),
        "{few:?}"
    );
}

// SIM44, SIM87
#[test]
fn memory_is_short_for_the_run() {
    let (few, _) = many(FaultKind::Memory);
    let few = sizes(few);
    assert!(
        few.len() > 1 && few.iter().all(|few| [209, 64, 16].contains(few)),
        "{few:?}"
    );
    let (few, _) = unread(FaultKind::Memory);
    let few: BTreeSet<u64> = few.iter().map(|few| few[1]).collect();
    let drawn = [16 << 20, 4 << 20, 1 << 20, 256 << 10];
    assert!(
        few.len() > 1 && few.iter().all(|few| drawn.contains(few)),
        "{few:?}"
    );
}

// SIM72, SIM87
#[test]
fn names_are_slow_and_fail_until_the_heal() {
    const FAILED: u64 = u64::MAX;
    let (troubled, plain) = noted(FaultKind::Names, |notes| async move {
        let mut asked = 0;
        while host::now() < (HEAL + 20) * SECOND {
            let before = host::now();
            let found = host::resolve("client", host::Family::Any).await;
            // What was asked before the heal may still fail after it.
            let healed = before > HEAL * SECOND;
            assert!(!healed || found.is_ok());
            assert!(!healed || host::now() - before < 6 * MS);
            notes.add(match found {
                Ok(_) => host::now() - before,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    FAILED
                }
            });
            asked += 1;
            until(before + SECOND / 10).await;
        }
        assert!(asked > 100);
    });
    assert!(longest(&plain) < 6 * MS);
    let slow = |notes: &&Vec<u64>| notes.iter().any(|&took| took > 25 * MS && took != FAILED);
    assert_eq!(troubled.iter().filter(slow).count(), troubled.len());
    let failed = |notes: &Vec<u64>| notes.iter().filter(|&&took| took == FAILED).count();
    let failed: Vec<usize> = troubled.iter().map(failed).collect();
    assert!(failed.iter().any(|failed| *failed > 20), "{failed:?}");
    assert!(failed.iter().any(|failed| *failed < 10), "{failed:?}");
}
