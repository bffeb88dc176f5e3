//! The end of a body that was cancelled or is dropped by foreign code, and the finalisers it leaves.

use super::{Owner, dropped_or};
use crate::finaliser::{self, Finalising};
use crate::root;
use std::panic::resume_unwind;
use std::task::{Context, Poll};

impl Owner {
    /// Last step of a poll that is not over: arms the timer, and says whether the body is to be
    /// dropped now.
    pub(crate) fn is_cut(&mut self) -> bool {
        self.arm();
        let node = self.node();
        if !node.is_cancelled() {
            return false;
        }
        let held = node.is_held();
        if held {
            root::note_held(node);
        }
        !held
    }

    /// The same where what it runs is cut piece by piece.
    pub(crate) fn wait_cut(&mut self) {
        let _ = self.is_cut();
    }

    /// The same for a scope in its first poll, whose waker it keeps now.
    pub(crate) fn is_cut_first(&mut self, cx: &Context<'_>) -> bool {
        if self.keep_waker(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        self.is_cut()
    }

    /// Drops the cancelled body, by `cut`, and keeps the finalisers that it leaves behind, and a
    /// panic, for [`poll_finalisers`](Owner::poll_finalisers).
    pub(crate) fn cut(&mut self, cut: impl FnOnce()) {
        let (caught, left) = finaliser::collecting(|| self.inside(cut));
        if caught.is_ok() && left.is_empty() {
            return;
        }
        let (node, within) = (self.node(), self.finalise_within);
        let cause = dropped_or(node.visible_cause(), node);
        node.set_finalising();
        self.finalising = Some(Finalising::new(node, cause, left, within, caught));
    }

    /// Runs what the body left behind; ready when nothing is left.
    ///
    /// # Panics
    ///
    /// Resumes the first panic of the body's drop or a finaliser, once all are over.
    pub(crate) fn poll_finalisers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut finalising) = self.finalising.take() else {
            return Poll::Ready(());
        };
        match self.inside(|| finalising.poll(cx)) {
            Poll::Pending => {
                self.finalising = Some(finalising);
                self.arm();
                Poll::Pending
            }
            Poll::Ready(panic) => {
                self.node().clear_finalising();
                match panic {
                    None => Poll::Ready(()),
                    Some(panic) => resume_unwind(panic),
                }
            }
        }
    }

    /// Drops the body, by `drop_body`, because foreign code drops the wrapper. Finalisers go to
    /// who cuts what is around it, or to the root.
    pub(crate) fn lose(&mut self, drop_body: impl FnOnce()) {
        if self.node.is_none() || finaliser::is_collecting() {
            return self.inside(drop_body);
        }
        let (caught, left) = finaliser::collecting(|| self.inside(drop_body));
        if !left.is_empty() {
            let (node, within) = (self.node(), self.finalise_within);
            let cause = dropped_or(node.visible_cause(), node);
            let work = Finalising::new(node, cause, left, within, Ok(()));
            root::run_behind(node, "finalisers", || Box::pin(work));
        }
        if let Err(panic) = caught
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
