//! A future of one's own under the drop explorer: what is lost when it is dropped half-way?
//!
//! Two futures take three numbers from a queue and return them together. The first takes each as it
//! comes and keeps it; the second waits until there are three and takes them at once. Both pass
//! every test that lets them finish. The explorer drops them at each of their awaits and counts
//! what is left.
//!
//! `cargo run -p bowline --example drop_explorer --all-features`

fn main() -> Result<(), bowline::Error> {
    explored::run()
}

#[cfg(not(feature = "sim"))]
mod explored {
    pub(crate) fn run() -> Result<(), bowline::Error> {
        Err("build with `--all-features` for the simulator".into())
    }
}

#[cfg(feature = "sim")]
mod explored {
    use bowline::sim::host::Sleep;
    use bowline::sim::{Sim, explore_drops};
    use std::collections::VecDeque;
    use std::future::Future;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll, Waker};

    const BATCH: usize = 3;

    /// Numbers for one taker.
    #[derive(Default)]
    struct Queue {
        numbers: VecDeque<u32>,
        taker: Option<Waker>,
    }

    type Shared = Arc<Mutex<Queue>>;

    fn push(queue: &Shared, number: u32) {
        let taker = {
            let mut queue = queue.lock().expect("not poisoned");
            queue.numbers.push_back(number);
            queue.taker.take()
        };
        // Nobody is woken under the lock.
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// Takes each number as it comes, and has those it took: a drop loses them.
    struct Hoarding {
        queue: Shared,
        taken: Vec<u32>,
    }

    impl Future for Hoarding {
        type Output = Vec<u32>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<u32>> {
            let this = &mut *self;
            let mut queue = this.queue.lock().expect("not poisoned");
            while this.taken.len() < BATCH {
                match queue.numbers.pop_front() {
                    Some(number) => this.taken.push(number),
                    None => {
                        queue.taker = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                }
            }
            Poll::Ready(std::mem::take(&mut this.taken))
        }
    }

    /// Leaves them where they are until there are enough, and takes all in the poll that returns
    /// them: a drop loses nothing.
    struct Patient {
        queue: Shared,
    }

    impl Future for Patient {
        type Output = Vec<u32>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<u32>> {
            let mut queue = self.queue.lock().expect("not poisoned");
            if queue.numbers.len() < BATCH {
                queue.taker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(queue.numbers.drain(..BATCH).collect())
        }
    }

    /// Drops the future that `make` makes at each of its awaits; says at how many, or panics where a
    /// number is neither in the queue nor with who waited for it.
    fn explore<F: Future<Output = Vec<u32>>>(make: impl Fn(Shared) -> F) -> usize {
        explore_drops(|| {
            let queue = Shared::default();
            let pushed = Arc::new(Mutex::new(0));
            let returned = Arc::new(Mutex::new(0));
            let (source, count) = (Arc::clone(&queue), Arc::clone(&pushed));
            Sim::spawn(async move {
                for number in 1..=BATCH as u32 {
                    Sleep::new(u64::from(number) * 1_000_000).await;
                    *count.lock().expect("not poisoned") += 1;
                    push(&source, number);
                }
            });
            let (taking, sink) = (make(Arc::clone(&queue)), Arc::clone(&returned));
            let future = async move {
                let batch = taking.await;
                *sink.lock().expect("not poisoned") = batch.len();
            };
            let check = move || {
                let left = queue.lock().expect("not poisoned").numbers.len();
                let [pushed, returned] =
                    [pushed, returned].map(|count| *count.lock().expect("not poisoned"));
                assert_eq!(
                    left + returned,
                    pushed,
                    "numbers left, and numbers there were"
                );
            };
            (future, check)
        })
    }

    pub(crate) fn run() -> Result<(), bowline::Error> {
        let awaits = explore(|queue| Patient { queue });
        println!("the patient one lost nothing at any of its {awaits} awaits");
        assert_eq!(awaits, BATCH);

        let taken = Vec::new;
        let lost = catch_unwind(AssertUnwindSafe(|| {
            explore(|queue| Hoarding {
                queue,
                taken: taken(),
            })
        }));
        let why = lost.expect_err("it keeps what it took");
        let why = why.downcast_ref::<String>().ok_or("it says why")?;
        println!("the hoarding one: {why}");
        Ok(())
    }
}
