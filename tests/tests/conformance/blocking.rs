//! Blocking work and entropy: B30 to B40.

use std::sync::{Arc, Condvar, Mutex};

use bowline_backend::blocking::{BlockingError, spawn_blocking};
use bowline_backend::task::{RunOptions, spawn_detached, yield_now};
use bowline_backend::{Backend, entropy, time};
use bowline_tests::latch::{Latch, OnDrop};

use crate::conformance;

conformance! {
    all: [
        a_job_gives_its_value,
        a_job_gives_its_panic,
        a_job_runs_without_its_future,
        a_job_may_spawn_and_read_the_clock,
        entropy_differs_and_fills,
    ]
    real: [sixty_four_jobs_block_while_tasks_run]
    dropping: []
    real_dropping: []
}

// B30
fn a_job_gives_its_value(backend: Backend, options: RunOptions) {
    let value = backend.block_on_with(options, async { spawn_blocking(|| 6 * 7).await.unwrap() });
    assert_eq!(value, 42);
}

// B31
fn a_job_gives_its_panic(backend: Backend, options: RunOptions) {
    let error = backend.block_on_with(options, async {
        let job = spawn_blocking(|| panic!("of a job, on purpose"));
        let error = job.await.map(|(): ()| ()).unwrap_err();
        assert_eq!(spawn_blocking(|| 1).await.unwrap(), 1, "the pool goes on");
        error
    });
    assert_eq!(
        error.to_string(),
        "a blocking job panicked: of a job, on purpose"
    );
    match error {
        BlockingError::Panicked(payload) => {
            assert_eq!(*payload.downcast::<&str>().unwrap(), "of a job, on purpose");
        }
        other => panic!("{other:?}"),
    }
}

// B32
fn a_job_runs_without_its_future(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (ran, dropped) = (Latch::new(1), Latch::new(1));
        let (inner, value) = (ran.clone(), OnDrop(dropped.clone()));
        drop(spawn_blocking(move || {
            inner.count_down();
            value
        }));
        ran.wait().await;
        dropped.wait().await;
    });
}

// B33
fn sixty_four_jobs_block_while_tasks_run(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (blocked, latch) = (Latch::new(64), Latch::new(64));
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        for _ in 0..64 {
            let (gate, blocked, latch) = (gate.clone(), blocked.clone(), latch.clone());
            drop(spawn_blocking(move || {
                blocked.count_down();
                let (open, opened) = &*gate;
                let shut = opened.wait_while(open.lock().unwrap(), |open| !*open);
                drop(shut.unwrap());
                latch.count_down();
            }));
        }
        // None of them goes on before a task does.
        spawn_detached(async move {
            blocked.wait().await;
            for _ in 0..100 {
                yield_now().await;
            }
            let (open, opened) = &*gate;
            *open.lock().unwrap() = true;
            opened.notify_all();
        });
        latch.wait().await;
    });
}

// B34
fn a_job_may_spawn_and_read_the_clock(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let before = time::now();
        let latch = Latch::new(1);
        let inner = latch.clone();
        let inside = spawn_blocking(move || {
            spawn_detached(async move { inner.count_down() });
            time::now()
        });
        assert!(inside.await.unwrap() >= before);
        latch.wait().await;
    });
}

// B40
fn entropy_differs_and_fills(backend: Backend, options: RunOptions) {
    let draw = || {
        backend.block_on_with(options.clone(), async {
            let (mut one, mut two) = ([0; 64], [0; 64]);
            entropy::fill(&mut one);
            entropy::fill(&mut two);
            entropy::fill(&mut []);
            assert_ne!(one, two);
            // 32 bytes in a row are zero with a chance of 2^-256.
            assert!(one[..32].iter().any(|byte| *byte != 0));
            assert!(one[32..].iter().any(|byte| *byte != 0));
            assert_ne!(entropy::random_u64(), entropy::random_u64());
            one
        })
    };
    if backend == Backend::Sim {
        assert_eq!(draw(), draw(), "one seed, one run of bytes");
    } else {
        assert_ne!(draw(), draw());
    }
}
