//! Counts, in the crate's own tests, what a select goes through: time would say it less surely.

/// A lock was taken, a place in a queue, a ticket or an arm of a select was looked at.
#[inline(always)]
pub(crate) fn touch() {
    #[cfg(test)]
    TOUCHED.with(|touched| touched.set(touched.get() + 1));
}

#[cfg(test)]
thread_local! {
    static TOUCHED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often `act` touched something.
#[cfg(test)]
pub(crate) fn count<R>(act: impl FnOnce() -> R) -> (usize, R) {
    let before = TOUCHED.get();
    let outcome = act();
    (TOUCHED.get() - before, outcome)
}
