//! Handlers that hold a thread.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bowline_backend::{Backend, blocking};
use bowline_channel::{OneshotSender, oneshot};

use crate::Context;
use crate::ambient::Ambient;
use crate::executor::{Function, discard};

/// Runs `function` where blocking work of its executor runs; its panic goes on here.
pub(super) async fn on_blocking_thread<T: Send + 'static>(
    context: Context,
    function: impl FnOnce(Context) -> T + Send + 'static,
) -> T {
    let threads = context.threads();
    // The place of the job is held until the function has returned.
    let stay = context.enter_thread();
    let ambient = Ambient::here();
    let function = move || {
        let ended = catch_unwind(AssertUnwindSafe(|| ambient.around(|| function(context))));
        drop(stay);
        ended
    };
    // A simulated world has one thread.
    let ended = match threads.filter(|_| has_threads()) {
        Some(threads) => {
            let (sender, receiver) = oneshot();
            let given = threads.run(Box::new(OnThread {
                function: Some(function),
                ended: None,
                sender,
            }));
            match receiver.await {
                Ok(ended) => Some(ended),
                // No panic of the handler, which did not begin: past the panic hook to who runs it.
                Err(_) if !given => resume_unwind(Box::new(NoThread)),
                Err(_) => None,
            }
        }
        None => blocking::spawn_blocking(function).await.ok(),
    };
    match ended {
        Some(Ok(value)) => value,
        Some(Err(payload)) => resume_unwind(payload),
        // The backend is shutting down: this task is dropped in a moment.
        None => std::future::pending().await,
    }
}

/// Why a blocking function did not run, as what its handler unwinds with: there is no thread for it.
pub(crate) struct NoThread;

/// What a thread of an executor runs, and who hears of it.
struct OnThread<F, T> {
    function: Option<F>,
    ended: Option<T>,
    sender: OneshotSender<T>,
}

impl<T: Send, F: FnOnce() -> T + Send> Function for OnThread<F, T> {
    fn run(&mut self) {
        self.ended = self.function.take().map(|function| function());
    }

    fn tell(self: Box<Self>) {
        if let Some(ended) = self.ended {
            discard(self.sender.send(ended));
        }
    }
}

fn has_threads() -> bool {
    Backend::current().is_ok_and(|backend| backend.capabilities().multi_thread)
}
