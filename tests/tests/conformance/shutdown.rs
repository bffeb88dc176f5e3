//! How a run ends: B9, B10, B35, B36.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant as StdInstant};

use bowline_backend::Backend;
use bowline_backend::blocking::{BlockingError, spawn_blocking};
use bowline_backend::net::TcpListener;
use bowline_backend::task::{RunOptions, spawn_detached, yield_now};
use bowline_backend::time::{Instant, sleep_until};
use bowline_tests::latch::{Latch, OnDrop};

use crate::conformance;

conformance! {
    all: [jobs_at_shutdown_run_or_stop]
    real: [a_stuck_job_is_left_after_the_grace]
    dropping: [
        no_detached_future_survives_block_on,
        none_survives_where_nothing_is_waited_for,
        a_task_that_spawns_in_its_drop_ends,
    ]
    real_dropping: [
        a_job_may_wait_for_the_drop_of_a_task,
        tasks_woken_during_shutdown_are_dropped,
        tasks_spawned_during_shutdown_are_dropped,
        a_task_in_the_middle_of_a_poll_is_dropped,
        a_job_that_comes_after_the_shutdown_is_stopped,
    ]
}

/// Leaves tasks that wait for a timer, a connection and a job.
fn leave_tasks(backend: Backend, options: RunOptions) {
    let alive = Latch::new(3);
    backend.block_on_with(options, async {
        let started = Latch::new(3);
        let (on_drop, start) = (OnDrop(alive.clone()), started.clone());
        spawn_detached(async move {
            let _on_drop = on_drop;
            let sleep = sleep_until(Instant::NEVER);
            start.count_down();
            sleep.await;
        });
        let (on_drop, start) = (OnDrop(alive.clone()), started.clone());
        spawn_detached(async move {
            let _on_drop = on_drop;
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            start.count_down();
            let _ = listener.accept().await;
        });
        let (on_drop, start) = (OnDrop(alive.clone()), started.clone());
        spawn_detached(async move {
            let _on_drop = on_drop;
            start.count_down();
            loop {
                let _ = spawn_blocking(|| ()).await;
            }
        });
        started.wait().await;
    });
    assert_eq!(alive.left(), 0, "futures alive after block_on");
}

// B9
fn no_detached_future_survives_block_on(backend: Backend, options: RunOptions) {
    leave_tasks(backend, options);
}

// B9
fn none_survives_where_nothing_is_waited_for(backend: Backend, options: RunOptions) {
    let options = options.blocking_grace(Duration::ZERO);
    for _ in 0..20 {
        leave_tasks(backend, options.clone());
    }
}

// B9
fn a_job_may_wait_for_the_drop_of_a_task(backend: Backend, options: RunOptions) {
    // Far longer than the job needs, which ends when the task is dropped.
    let options = options.blocking_grace(Duration::from_secs(600));
    let ended = Arc::new(AtomicBool::new(false));
    backend.block_on_with(options, async {
        let (held, task_dropped) = mpsc::channel::<()>();
        let started = Latch::new(2);
        let start = started.clone();
        spawn_detached(async move {
            let _held = held;
            start.count_down();
            poll_fn(|_| Poll::<()>::Pending).await;
        });
        let (start, ended) = (started.clone(), ended.clone());
        drop(spawn_blocking(move || {
            start.count_down();
            assert!(task_dropped.recv().is_err());
            ended.store(true, Ordering::SeqCst);
        }));
        started.wait().await;
    });
    assert!(ended.load(Ordering::SeqCst), "the job waited in vain");
}

// B9
fn tasks_woken_during_shutdown_are_dropped(backend: Backend, options: RunOptions) {
    const TASKS: usize = 32;
    let options = options.blocking_grace(Duration::ZERO);
    for round in 0..100 {
        let alive = Latch::new(TASKS);
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let ended = Arc::new(AtomicBool::new(false));
        let foreign = {
            let (wakers, ended) = (wakers.clone(), ended.clone());
            thread::spawn(move || {
                while !ended.load(Ordering::SeqCst) {
                    let known = wakers.lock().unwrap().clone();
                    known.iter().for_each(Waker::wake_by_ref);
                }
            })
        };
        backend.block_on_with(options.clone(), async {
            let started = Latch::new(TASKS);
            for _ in 0..TASKS {
                let (on_drop, start, wakers) =
                    (OnDrop(alive.clone()), started.clone(), wakers.clone());
                let mut first = true;
                spawn_detached(async move {
                    let _on_drop = on_drop;
                    poll_fn(|cx| {
                        if std::mem::take(&mut first) {
                            wakers.lock().unwrap().push(cx.waker().clone());
                            start.count_down();
                        }
                        Poll::<()>::Pending
                    })
                    .await;
                });
            }
            started.wait().await;
        });
        let left = alive.left();
        ended.store(true, Ordering::SeqCst);
        foreign.join().unwrap();
        assert_eq!(left, 0, "futures alive after block_on, round {round}");
    }
}

/// Counts itself while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// B9, B35
fn tasks_spawned_during_shutdown_are_dropped(backend: Backend, options: RunOptions) {
    let options = options.blocking_grace(Duration::ZERO);
    for round in 0..50 {
        let alive = Arc::new(AtomicUsize::new(0));
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Latch::new(1));
        backend.block_on_with(options.clone(), async {
            let started = Latch::new(100);
            let (alive, stop, start) = (alive.clone(), stop.clone(), started.clone());
            let ended = OnDrop(ended.clone());
            drop(spawn_blocking(move || {
                let _ended = ended;
                while !stop.load(Ordering::SeqCst) {
                    let held = Alive::new(&alive);
                    spawn_detached(async move {
                        let _held = held;
                        yield_now().await;
                        poll_fn(|_| Poll::<()>::Pending).await;
                    });
                    start.count_down();
                    thread::yield_now();
                }
            }));
            started.wait().await;
        });
        // The job is still at it; nothing it spawns now comes to life.
        stop.store(true, Ordering::SeqCst);
        futures_lite::future::block_on(ended.wait());
        assert_eq!(
            alive.load(Ordering::SeqCst),
            0,
            "a task leaked, round {round}"
        );
    }
}

// B9
fn a_task_in_the_middle_of_a_poll_is_dropped(backend: Backend, options: RunOptions) {
    let options = options.blocking_grace(Duration::ZERO);
    for _ in 0..10 {
        let alive = Latch::new(8);
        backend.block_on_with(options.clone(), async {
            let started = Latch::new(8);
            for _ in 0..8 {
                let (on_drop, start) = (OnDrop(alive.clone()), started.clone());
                spawn_detached(async move {
                    let _on_drop = on_drop;
                    start.count_down();
                    loop {
                        // A poll that takes a while, in whose middle the run may end.
                        (0..2_000).for_each(|_| std::hint::spin_loop());
                        yield_now().await;
                    }
                });
            }
            started.wait().await;
        });
        assert_eq!(alive.left(), 0, "futures alive after block_on");
    }
}

struct SpawnsInDrop(Latch, usize);

impl Drop for SpawnsInDrop {
    fn drop(&mut self) {
        self.0.count_down();
        if self.1 > 0 {
            let again = SpawnsInDrop(self.0.clone(), self.1 - 1);
            spawn_detached(async move {
                let _again = again;
                poll_fn(|_| Poll::<()>::Pending).await;
            });
        }
    }
}

// B10
fn a_task_that_spawns_in_its_drop_ends(backend: Backend, options: RunOptions) {
    let drops = Latch::new(4);
    backend.block_on_with(options, async {
        let started = Latch::new(1);
        let (value, start) = (SpawnsInDrop(drops.clone(), 3), started.clone());
        spawn_detached(async move {
            let _value = value;
            start.count_down();
            poll_fn(|_| Poll::<()>::Pending).await;
        });
        started.wait().await;
    });
    assert_eq!(drops.left(), 0, "what was spawned in a destructor leaked");
}

// B35
fn a_stuck_job_is_left_after_the_grace(backend: Backend, options: RunOptions) {
    let (release, stuck) = mpsc::channel::<()>();
    let started = Arc::new(AtomicBool::new(false));
    let flag = started.clone();
    let options = options.blocking_grace(Duration::from_millis(50));
    let before = StdInstant::now();
    backend.block_on_with(options, async {
        drop(spawn_blocking(move || {
            flag.store(true, Ordering::SeqCst);
            let _ = stuck.recv();
        }));
        while !started.load(Ordering::SeqCst) {
            yield_now().await;
        }
    });
    // The job still waits for us, so the run ended without it.
    assert!(before.elapsed() >= Duration::from_millis(50));
    release.send(()).unwrap();
}

// B36
fn jobs_at_shutdown_run_or_stop(backend: Backend, options: RunOptions) {
    let (mut ended, mut kept) = (Vec::new(), Vec::new());
    backend.block_on_with(options, async {
        for number in 0..200 {
            let latch = Latch::new(1);
            let on_drop = OnDrop(latch.clone());
            ended.push(latch);
            let job = spawn_blocking(move || drop(on_drop));
            if number % 2 == 0 {
                kept.push(job);
            }
        }
    });
    for job in kept {
        let outcome = futures_lite::future::block_on(job);
        assert!(
            matches!(outcome, Ok(()) | Err(BlockingError::Stopped)),
            "{outcome:?}"
        );
    }
    // Each ran or was dropped unrun; async-std's pool may still be at it.
    for latch in ended {
        futures_lite::future::block_on(latch.wait());
    }
}

// B36
fn a_job_that_comes_after_the_shutdown_is_stopped(backend: Backend, options: RunOptions) {
    let options = options.blocking_grace(Duration::ZERO);
    let (end, ended) = mpsc::channel::<()>();
    let (late, came) = mpsc::channel();
    backend.block_on_with(options, async {
        let started = Latch::new(1);
        let start = started.clone();
        drop(spawn_blocking(move || {
            start.count_down();
            // Left behind, until the run is over.
            assert!(ended.recv().is_err());
            late.send(spawn_blocking(|| ())).unwrap();
        }));
        started.wait().await;
    });
    drop(end);
    let outcome = futures_lite::future::block_on(came.recv().unwrap());
    assert!(
        matches!(outcome, Err(BlockingError::Stopped)),
        "{outcome:?}"
    );
}
