//! The frames of this thread's stack: a scope that is polled lends its node by reference. Moving
//! the node into the thread's place and back, without unsafe code, made that step 25 ns instead
//! of 10 (`docs/performance.md`).

#![expect(
    unsafe_code,
    reason = "a poll through a scope has to cost a few nanoseconds"
)]

use crate::branches::Link;
use crate::node::NodeRef;
use crate::per_thread::per_thread;
use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

/// Where a stretch of code stands.
#[derive(Copy, Clone)]
pub(super) struct Frame<'a> {
    pub(super) node: Option<&'a NodeRef>,
    /// The outermost node of the running task, which keeps its timer.
    pub(super) task: Option<&'a NodeRef>,
    /// The branch that runs at `node`, which stands at its own one once that is linked.
    pub(super) branch: Option<&'a Arc<Link>>,
}

impl Frame<'_> {
    pub(super) const OUTSIDE: Frame<'static> = Frame {
        node: None,
        task: None,
        branch: None,
    };
}

per_thread! {
    /// The innermost frame of this thread, or null.
    ///
    /// Invariants:
    /// F1. A frame is put here by [`stand`] alone, from a reference that lives as long as that
    ///     call, on the thread that makes the call.
    /// F2. The call puts the former one back before it returns or unwinds, by a guard among its
    ///     locals: what stands here belongs to a call of this thread that has not ended.
    static TOP: Cell<*const Frame<'static>> = Cell::new(ptr::null());
}

/// Runs `f` with `frame` as the innermost one.
#[inline]
pub(super) fn stand<R>(frame: &Frame<'_>, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Frame<'static>);
    impl Drop for Restore {
        #[inline]
        fn drop(&mut self) {
            let _ = TOP.try_with(|top| top.set(self.0));
        }
    }
    let frame = ptr::from_ref(frame).cast::<Frame<'static>>();
    let former = TOP.try_with(|top| top.replace(frame));
    let _restore = Restore(former.unwrap_or(ptr::null()));
    f()
}

/// Calls `f` with the innermost frame.
#[inline]
pub(super) fn top<R>(f: impl FnOnce(&Frame<'_>) -> R) -> R {
    let top = TOP.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: by F1 and F2 a frame that stands here is borrowed by a call that has not ended and
    // is below us on this thread's stack, so it outlives `f`. The lifetime of what is in it is
    // any to `f`, which can let nothing of it out.
    match unsafe { top.as_ref() } {
        Some(frame) => f(frame),
        None => f(&Frame::OUTSIDE),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Frame, stand, top};
    use crate::owner::new_scope;
    use std::borrow::Cow;
    use std::panic::{AssertUnwindSafe, Location, catch_unwind};
    use std::sync::Arc;

    fn here() -> Option<usize> {
        top(|frame| frame.node.map(|node| node.address()))
    }

    #[test]
    fn frames_nest_and_end_with_their_call_also_in_a_panic() {
        let nodes = [0; 3].map(|_| new_scope(Cow::Borrowed(""), Location::caller()));
        let frame = |n: usize| Frame {
            node: Some(&nodes[n]),
            ..Frame::OUTSIDE
        };
        let at = |n: usize| Some(nodes[n].address());
        assert_eq!(here(), None);
        stand(&frame(0), || {
            assert_eq!(here(), at(0));
            stand(&frame(1), || assert_eq!(here(), at(1)));
            let panic = catch_unwind(AssertUnwindSafe(|| {
                stand(&frame(2), || {
                    assert_eq!(here(), at(2));
                    panic!("inside");
                })
            }));
            assert!(panic.is_err());
            assert_eq!(here(), at(0));
            stand(&Frame::OUTSIDE, || assert_eq!(here(), None));
            assert_eq!(here(), at(0));
        });
        assert_eq!(here(), None);
        assert!(nodes.iter().all(|node| Arc::strong_count(node) == 1));
    }
}
