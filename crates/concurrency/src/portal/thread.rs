use super::Portal;
use crate::root::Root;
use crate::sync::{Once, parked};
use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

/// How the closure in front of the portal ended.
#[derive(Copy, Clone, Debug)]
enum Ended {
    Well,
    Panicked,
}

impl Portal {
    /// Calls `f` with a portal into a root of its own, which runs on `backend` in a thread of its
    /// own, until `f` has returned: tasks for a program that otherwise has none.
    ///
    /// When `f` returns, the portal closes, and this waits for all calls. When it panics, they
    /// are cancelled and waited for.
    ///
    /// # Panics
    ///
    /// Resumes a panic of `f` once the thread has ended. On a simulated backend, whose world must
    /// not wait for another thread, and where the system starts no thread.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "smol")] {
    /// use bowline_backend::Backend;
    /// use bowline_concurrency::{Portal, sleep};
    /// use std::time::Duration;
    ///
    /// let answer = Portal::thread(Backend::Smol, |portal| {
    ///     portal.call(|| async {
    ///         sleep(Duration::from_millis(1)).await;
    ///         7
    ///     })
    /// });
    /// assert_eq!(answer.unwrap(), 7);
    /// # }
    /// ```
    #[doc(alias = "BlockingPortal")]
    #[track_caller]
    pub fn thread<R>(backend: Backend, f: impl FnOnce(Portal) -> R) -> R {
        assert!(
            backend.capabilities().multi_thread,
            "a portal into a thread of backend {backend}: a simulated world has one thread, and \
             waits for no other"
        );
        let opened = Arc::new(Once::new());
        let ended = Arc::new(Once::new());
        let running = Running {
            thread: Some(start::<R>(backend, opened.clone(), ended.clone())),
            ended,
        };
        let portal: Option<Portal> = parked(opened.wait()).clone();
        let Some(portal) = portal else {
            // It could not begin: here is why.
            running.end(Ended::Panicked);
            unreachable!("a thread that opens no portal has panicked");
        };
        match catch_unwind(AssertUnwindSafe(|| f(portal))) {
            Ok(value) => {
                running.end(Ended::Well);
                value
            }
            Err(panic) => {
                running.end(Ended::Panicked);
                resume_unwind(panic)
            }
        }
    }
}

/// The thread, which is told of an end on every way out.
struct Running {
    thread: Option<thread::JoinHandle<()>>,
    ended: Arc<Once<Ended>>,
}

impl Running {
    /// Waits for the thread.
    fn end(mut self, how: Ended) {
        let _ = self.ended.set(how);
        let joined = self.thread.take().map(thread::JoinHandle::join);
        if let Some(Err(panic)) = joined
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

/// Starts the thread. It leaves a portal in `opened`, or nothing where it could not begin.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "generic, it is compiled where it is used: a `block_on` that is compiled in this crate \
              keeps it from being built with no backend"
)]
fn start<R>(
    backend: Backend,
    opened: Arc<Once<Option<Portal>>>,
    ended: Arc<Once<Ended>>,
) -> thread::JoinHandle<()> {
    /// Lets go whoever waits for the portal.
    struct Opens(Arc<Once<Option<Portal>>>);
    impl Drop for Opens {
        fn drop(&mut self) {
            let _ = self.0.set(None);
        }
    }
    let serve = move || {
        let opens = Opens(opened);
        let open = Portal::open(|portal| async move {
            let _ = opens.0.set(Some(portal));
            drop(opens);
            match ended.wait().await {
                Ended::Well => Ok(()),
                Ended::Panicked => Err(()),
            }
        });
        let options = RunOptions::default().threads(Threads::One);
        let root = Root::new().backend(backend).options(options);
        // Its only error says that the closure panicked, which goes on there.
        let _ = root.name("portal").block_on(open);
    };
    let thread = thread::Builder::new().name("bowline-portal".to_owned());
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread of its own is what was asked for; it is joined before the call returns"
    )]
    let thread = thread.spawn(serve);
    thread.expect("the system started no thread")
}
