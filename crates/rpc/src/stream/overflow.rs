//! What happens to the items of a handler whose caller takes them too slowly.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::{Deserialize, Serialize};

use super::outgoing::{Next, Outgoing, Source};
use crate::NoError;

/// Items that wait unless told otherwise.
const BUFFER: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// What happens to an item for which there is no room, because the caller takes items too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The stream it comes from waits.
    #[default]
    Block,
    /// The oldest of those that wait is dropped for it.
    DropOldest,
    /// It is dropped.
    DropNewest,
    /// The call ends with [`Overloaded`](crate::Code::Overloaded), after those that wait.
    Close,
}

/// An item of a stream that may drop items, or how many it has dropped where this stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lossy<T> {
    /// An item.
    Item(T),
    /// So many items were dropped here.
    Lagged(u64),
}

impl<T> Lossy<T> {
    /// The item, if it is one.
    pub fn item(self) -> Option<T> {
        match self {
            Lossy::Item(item) => Some(item),
            Lossy::Lagged(_) => None,
        }
    }
}

/// Streams whose items a handler sends to callers that may be too slow for them; every stream has it.
///
/// ```
/// use bowline_rpc::{Lossy, Outgoing, Overflow, OverflowExt};
/// use futures_util::stream;
///
/// fn ticks() -> Outgoing<Lossy<u64>> {
///     stream::iter(0..).overflow(Overflow::DropOldest)
/// }
/// # let _ = ticks;
/// ```
pub trait OverflowExt: Stream + Send + Sized + 'static
where
    Self::Item: Send + 'static,
{
    /// The items of the stream, which goes on while the caller takes none: 64 items wait, and then
    /// `policy` says what becomes of one more.
    fn overflow(self, policy: Overflow) -> Outgoing<Lossy<Self::Item>> {
        self.overflow_after(BUFFER, policy)
    }

    /// The same, where so many items wait.
    fn overflow_after(self, items: NonZeroUsize, policy: Overflow) -> Outgoing<Lossy<Self::Item>> {
        Outgoing::from_source(Overflowing {
            stream: Some(self),
            policy,
            most: items.get(),
            waiting: VecDeque::new(),
            lag: 0,
            overflowed: false,
        })
    }
}

impl<S> OverflowExt for S
where
    S: Stream + Send + Sized + 'static,
    S::Item: Send + 'static,
{
}

pin_project_lite::pin_project! {
    /// Invariants:
    /// - O1 `waiting` holds items with how many were dropped before each; what was dropped after the last
    ///   one is `lag`.
    /// - O2 unless `policy` is `Block`, an item is there as soon as the stream has it: the stream is
    ///   polled on whenever the caller is waited for.
    struct Overflowing<S: Stream> {
        #[pin]
        stream: Option<S>,
        policy: Overflow,
        most: usize,
        waiting: VecDeque<(u64, S::Item)>,
        lag: u64,
        overflowed: bool,
    }
}

impl<S: Stream> Overflowing<S> {
    /// Takes what the stream has.
    fn fill(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        // A stream that is always ready has its items dropped in portions, so that others get their turn.
        for _ in 0..2 * self.most.max(32) {
            let this = self.as_mut().project();
            let Some(stream) = this.stream.as_pin_mut() else {
                return;
            };
            if *this.policy == Overflow::Block && this.waiting.len() >= *this.most {
                return;
            }
            let item = match stream.poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(item)) => item,
                Poll::Ready(None) => {
                    self.as_mut().project().stream.set(None);
                    return;
                }
            };
            let this = self.as_mut().project();
            if this.waiting.len() < *this.most {
                this.waiting.push_back((std::mem::take(this.lag), item));
                continue;
            }
            match *this.policy {
                Overflow::DropOldest => {
                    let oldest = this.waiting.pop_front();
                    let lost = oldest.map_or(0, |(before, _)| before + 1);
                    this.waiting.push_back((0, item));
                    if let Some((before, _)) = this.waiting.front_mut() {
                        *before += lost;
                    }
                }
                Overflow::DropNewest => *this.lag += 1,
                Overflow::Close | Overflow::Block => {
                    *this.overflowed = true;
                    self.as_mut().project().stream.set(None);
                    return;
                }
            }
        }
        cx.waker().wake_by_ref();
    }
}

impl<S: Stream + Send> Source<Lossy<S::Item>, NoError> for Overflowing<S>
where
    S::Item: Send,
{
    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Next<Lossy<S::Item>, NoError>> {
        self.as_mut().fill(cx);
        let this = self.project();
        if let Some((before, _)) = this.waiting.front_mut() {
            match std::mem::take(before) {
                0 => {}
                lost => return Poll::Ready(Next::Item(Lossy::Lagged(lost))),
            }
        }
        if let Some((_, item)) = this.waiting.pop_front() {
            return Poll::Ready(Next::Item(Lossy::Item(item)));
        }
        if this.stream.is_some() {
            // Woken by the stream.
            return Poll::Pending;
        }
        Poll::Ready(match std::mem::take(this.lag) {
            0 if *this.overflowed => Next::Lagged,
            0 => Next::End,
            lost => Next::Item(Lossy::Lagged(lost)),
        })
    }

    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        if self.policy != Overflow::Block {
            self.fill(cx);
        }
    }
}
