//! Who did something to a link or a host, so that its end undoes nobody else's.

use super::Plague;

/// The script, or one strike of a drawn fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin(u64);

impl Origin {
    /// What is done by name, by acts of the script and whoever drives the world by hand.
    pub(crate) const SCRIPT: Origin = Origin(0);
}

impl Plague {
    /// Of a strike of its own.
    pub(super) fn origin(&mut self) -> Origin {
        self.strikes += 1;
        Origin(self.strikes)
    }
}

/// What lasts until each of those who did it has ended it.
#[derive(Debug)]
pub(crate) struct Lasting<T>(Vec<(Origin, T)>);

impl<T> Default for Lasting<T> {
    fn default() -> Self {
        Lasting(Vec::new())
    }
}

impl<T> Lasting<T> {
    /// Begins what `origin` does, in place of what it did before.
    pub(crate) fn begin(&mut self, origin: Origin, what: T) {
        self.end(origin);
        self.0.push((origin, what));
    }

    /// Ends what `origin` did; whether it did anything.
    pub(crate) fn end(&mut self, origin: Origin) -> bool {
        let before = self.0.len();
        self.0.retain(|(other, _)| *other != origin);
        self.0.len() < before
    }

    pub(crate) fn end_all(&mut self) {
        self.0.clear();
    }

    pub(crate) fn keep(&mut self, kept: impl Fn(&T) -> bool) {
        self.0.retain(|(_, what)| kept(what));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, origin: Origin) -> bool {
        self.0.iter().any(|(other, _)| *other == origin)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, what)| what)
    }
}
