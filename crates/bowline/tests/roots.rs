//! What the attributes enter is a root: it returns only after every task that was left behind
//! has had its last poll.

use std::future::{Future, poll_fn};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bowline::concurrency::{TaskGroup, on_cancel, sleep_forever, task_group};

/// Children that were told of the cancel.
static TOLD: AtomicUsize = AtomicUsize::new(0);

/// Leaves behind a group whose child wants to say something when it is cancelled.
async fn leave_a_child_behind() {
    let mut group = Box::pin(task_group(async |group: TaskGroup<()>| {
        group.spawn_ok(async {
            // Awaiting the cancel would not do: one that comes during the first poll is not told.
            let _told = on_cancel(async |_| {
                TOLD.fetch_add(1, Ordering::SeqCst);
            });
            sleep_forever().await;
        });
        sleep_forever().await;
        Ok(())
    }));
    poll_fn(|cx| {
        assert!(group.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    bowline::backend::task::yield_now().await;
    drop(group);
}

/// Runs `entry` some times: whether the child is polled again by chance depends on the schedule.
fn every_child_is_told(entry: impl Fn()) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _counting = ONE_AT_A_TIME.lock();
    for _ in 0..20 {
        let before = TOLD.load(Ordering::SeqCst);
        entry();
        assert_eq!(TOLD.load(Ordering::SeqCst), before + 1);
    }
}

#[bowline::main]
async fn program() {
    leave_a_child_behind().await;
}

#[test]
fn main_is_a_root() {
    every_child_is_told(program);
}

#[test]
fn a_test_is_a_root_on_every_backend() {
    for backend in bowline::backend::Backend::available() {
        every_child_is_told(|| match backend.name() {
            #[cfg(feature = "sim")]
            "sim" => {
                let _ = bowline::__private::test_in_sim(5..6, leave_a_child_behind);
            }
            real => bowline::__private::test_on(real, leave_a_child_behind),
        });
    }
}

#[cfg(feature = "sim")]
mod many_seeds {
    use bowline::__private::test_in_sim;
    use bowline::concurrency::sleep;
    use bowline::sim::{Sim, eventually, sometimes};
    use std::process::ExitCode;
    use std::time::Duration;

    async fn rolls_a_six() {
        sometimes!("a six", Sim::choose("dice", 1..7) == 6);
    }

    async fn rolls_a_seven() {
        sometimes!("a seven", Sim::choose("dice", 1..7) == 7);
    }

    // SIM81
    #[test]
    fn something_that_is_never_true_fails_a_test_of_many_seeds() {
        assert_eq!(test_in_sim(0..50, rolls_a_six), ExitCode::SUCCESS);
        assert_ne!(test_in_sim(0..50, rolls_a_seven), ExitCode::SUCCESS);
        // One world is no proof that it never is.
        assert_eq!(test_in_sim(0..1, rolls_a_seven), ExitCode::SUCCESS);
    }

    // SIM82
    #[bowline::test(sim, seeds = 20)]
    async fn a_test_goes_on_until_what_was_promised() {
        let before = Sim::now();
        eventually!("a second later", Duration::from_secs(2), move || {
            Sim::now() >= before + Duration::from_secs(1)
        });
        bowline::backend::task::spawn_detached(async {
            loop {
                sleep(Duration::from_millis(100)).await;
            }
        });
    }

    async fn promises_in_vain() {
        eventually!("pigs fly", Duration::from_secs(2), || false);
    }

    // SIM82
    #[test]
    #[should_panic(expected = "pigs fly")]
    fn a_promise_that_is_not_kept_fails_a_test() {
        let _ = test_in_sim(0..1, promises_in_vain);
    }
}
