//! A handler and what comes of it, as one future.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// Starts a handler at its first poll, and makes of what it returned how it ended.
    ///
    /// An async block that awaits a future it was given has room for that twice; this has it once.
    pub(super) struct Handling<S, F, E> {
        #[pin]
        stage: Stage<S, F>,
        end: Option<E>,
    }
}

pin_project! {
    #[project = StageProjected]
    enum Stage<S, F> {
        New { start: Option<S> },
        Runs { #[pin] handler: F },
    }
}

impl<S, F, E> Handling<S, F, E> {
    pub(super) fn new(start: S, end: E) -> Self {
        Self {
            stage: Stage::New { start: Some(start) },
            end: Some(end),
        }
    }
}

impl<S, F, E, T> Future for Handling<S, F, E>
where
    S: FnOnce() -> F,
    F: Future,
    E: FnOnce(F::Output) -> T,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut this = self.project();
        if let StageProjected::New { start } = this.stage.as_mut().project() {
            let start = start
                .take()
                .expect("a handler that panicked is not polled again");
            this.stage.set(Stage::Runs { handler: start() });
        }
        let StageProjected::Runs { handler } = this.stage.project() else {
            unreachable!("it has started")
        };
        handler.poll(cx).map(|returned| {
            let end = this.end.take();
            end.expect("a handler that returned is not polled again")(returned)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_handler_starts_when_it_is_polled_and_has_room_once() {
        let room = [7_u8; 1000];
        let mut handling = Box::pin(Handling::new(
            || async move {
                std::future::ready(()).await;
                room.len()
            },
            |length: usize| length + 1,
        ));
        assert!(size_of_val(&*handling) < 1100);
        let polled = handling
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(1001));
    }
}
