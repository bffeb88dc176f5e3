//! A held place of a pool.

use super::item::{Check, Item, Rules};
use super::state::{Content, Retired, State};
use crate::caught::{Caught, discard};
use crate::node::NodeRef;
use crate::root;
use crate::sync::guarded::Guarded;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What the handles, leases and futures of a pool share.
pub(super) struct Shared<T> {
    pub(super) state: Guarded<State<T>>,
    pub(super) rules: Rules<T>,
}

/// A held place, and what lies in it; given back when dropped, with what is in it then.
pub(super) struct Seat<T> {
    /// Until the place was given back.
    shared: Option<Arc<Shared<T>>>,
    content: Content<T>,
    /// How to go on at the root with what cannot rest; none where it does.
    go_on: Option<GoOn<T>>,
}

type GoOn<T> = fn(Seat<T>, &NodeRef);

impl<T: Send + 'static> Seat<T> {
    pub(super) fn new(shared: &Arc<Shared<T>>, content: Content<T>) -> Seat<T> {
        Seat {
            shared: Some(shared.clone()),
            content,
            go_on: Some(Seat::go_on),
        }
    }

    /// Lets the root above `node` finish the closing, in its place. Where there is no root any more
    /// the closing rests in the pool.
    fn go_on(mut self, node: &NodeRef) {
        root::run_behind(node, "closing", move || {
            self.rest();
            Box::pin(async move {
                let vacated = Caught::new(async move { self.vacate().await });
                if let Err(panic) = vacated.await {
                    discard(panic);
                }
            })
        });
    }
}

impl<T> Seat<T> {
    fn rest(&mut self) {
        if let Content::Retired(Retired::Closing(closing)) = &mut self.content {
            closing.rest();
        }
    }

    /// The idle item that was in it.
    pub(super) fn take_idle(&mut self) -> Option<Item<T>> {
        match mem::replace(&mut self.content, Content::Empty) {
            Content::Idle(item) => Some(item),
            other => {
                self.content = other;
                None
            }
        }
    }

    /// The place becomes that of an item to be closed.
    pub(super) fn retire(&mut self, value: T) {
        self.content = Content::Retired(Retired::Item(value));
    }

    /// Asks whether an item is still good; it stays in the place, retired, if it is not, or if
    /// this is dropped half-way.
    pub(super) async fn check(&mut self, item: Item<T>, check: &Check<T>) -> Option<Item<T>> {
        if let Check::None = check {
            return Some(item);
        }
        let Item { value, times } = item;
        self.retire(value);
        let Content::Retired(Retired::Item(value)) = &mut self.content else {
            unreachable!("it was just put there");
        };
        let good = match check {
            Check::None => true,
            Check::AtOnce(check) => check(value),
            Check::Awaited(check) => check(value).await,
        };
        if !good {
            return None;
        }
        match mem::replace(&mut self.content, Content::Empty) {
            Content::Retired(Retired::Item(value)) => Some(Item { value, times }),
            _ => unreachable!("nobody else has this place"),
        }
    }

    /// Closes what is in it, if that is retired.
    pub(super) async fn vacate(&mut self) {
        poll_fn(|cx| self.poll_vacate(cx)).await;
    }

    pub(super) fn poll_vacate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let close_with = self
            .shared
            .as_ref()
            .and_then(|shared| shared.rules.close_with.as_ref());
        let mut closing = match mem::replace(&mut self.content, Content::Empty) {
            Content::Retired(Retired::Closing(closing)) => closing,
            Content::Retired(Retired::Item(value)) => match close_with {
                Some(close) => Box::new(close(value)),
                None => {
                    drop(value);
                    return Poll::Ready(());
                }
            },
            other => {
                self.content = other;
                return Poll::Ready(());
            }
        };
        // Not in its place meanwhile: one that panics is not polled again.
        let polled = closing.poll(cx);
        if polled.is_pending() {
            self.content = Content::Retired(Retired::Closing(closing));
        }
        polled
    }

    /// Gives the place back with an item that may be used again.
    pub(super) fn give_back(mut self, item: Item<T>) {
        let Some(shared) = self.shared.take() else {
            unreachable!("a place is given back once");
        };
        let kept = match shared.rules.returned(item) {
            Ok(item) => shared
                .state
                .step(|state, after| state.keep(item, after))
                .map_err(|item| item.value),
            Err(value) => Err(value),
        };
        if let Err(value) = kept {
            self.shared = Some(shared);
            self.retire(value);
        }
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else {
            return;
        };
        if let Content::Retired(Retired::Closing(closing)) = &self.content
            && let Some(node) = closing.held_at()
            && let Some(go_on) = self.go_on.take()
        {
            let seat = Seat {
                shared: Some(shared),
                content: mem::replace(&mut self.content, Content::Empty),
                go_on: None,
            };
            return go_on(seat, &node);
        }
        self.rest();
        let is_dropped = shared.rules.close_with.is_none();
        let (content, dropped) = match mem::replace(&mut self.content, Content::Empty) {
            Content::Retired(Retired::Item(value)) if is_dropped => (Content::Empty, Some(value)),
            other => (other, None),
        };
        // The item goes first, so that there are never more than places; if its destructor panics,
        // the place is given back all the same.
        let _leaving = Leaving {
            shared,
            content: Some(content),
        };
        drop(dropped);
    }
}

struct Leaving<T> {
    shared: Arc<Shared<T>>,
    content: Option<Content<T>>,
}

impl<T> Drop for Leaving<T> {
    fn drop(&mut self) {
        let content = self.content.take();
        self.shared.state.step(|state, after| {
            if let Some(content) = content {
                state.release(content, after);
            }
        });
    }
}
