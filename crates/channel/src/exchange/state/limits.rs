//! Up to where a send may just buffer its value, and up to where that tells nothing new.

use super::State;

impl<T> State<T> {
    /// Sets the limit anew.
    #[inline]
    pub(super) fn renew_send_limit(&mut self) {
        self.send_limit = if self.closed || !self.receivers.is_empty() {
            0
        } else {
            let places = self
                .capacity
                .saturating_add(self.promised as usize)
                .saturating_sub(self.reserved as usize);
            u32::try_from(places).unwrap_or(u32::MAX)
        };
    }

    /// Counts a promise less, whose value goes, too, or is promised no more.
    #[inline]
    pub(super) fn end_promise(&mut self) {
        self.promised -= 1;
        self.send_limit = self.send_limit.saturating_sub(1);
        self.peak_mark = self.peak_mark.saturating_sub(1);
    }

    /// Counts slots that are reserved.
    #[inline]
    pub(super) fn reserve(&mut self, slots: u32) {
        self.reserved += slots;
        self.send_limit = self.send_limit.saturating_sub(slots);
        self.peak_mark = self.peak_mark.min(self.send_limit);
    }

    /// Lets no send just buffer its value: somebody waits for one, or the
    /// channel is closed.
    #[inline]
    pub(super) fn bar_senders(&mut self) {
        self.send_limit = 0;
    }

    /// Remembers the longest that the buffer was.
    #[inline]
    pub(super) fn note_peak(&mut self) {
        if self.len() > self.peak as usize {
            self.peak = u32::try_from(self.len()).unwrap_or(u32::MAX);
        }
    }

    /// For a send that reached the mark; whether the buffer is full. Not in line:
    /// a queue that has been as long before seldom gets here.
    #[inline(never)]
    pub(super) fn note_mark(&mut self) -> bool {
        self.note_peak();
        let next_peak = self.peak.saturating_add(self.promised).saturating_add(1);
        self.peak_mark = next_peak.min(self.send_limit);
        self.buffer.len() >= self.send_limit as usize
    }
}
