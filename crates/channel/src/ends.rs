//! What either end tells about its channel, written once.

/// The methods of both ends that only look, and `close`.
macro_rules! inspecting_methods {
    () => {
        /// Closes the channel, for all its senders and receivers.
        ///
        /// Waiting senders get their values back; receivers drain what is
        /// buffered and then get [`RecvError`](crate::RecvError), once it is
        /// certain that nothing will come: neither from a receive that was
        /// promised a value and may be dropped, nor out of a
        /// [`Permit`](crate::Permit). Closing again does nothing.
        pub fn close(&self) {
            self.exchange.close();
        }

        /// Closes the channel and returns what was buffered instead of leaving
        /// it to the receivers.
        ///
        /// A value that a waiting receiver was promised is still received. If
        /// the waker of somebody who waited panics, the values stay where they
        /// are, as after [`close`](Self::close), and the panic goes on.
        pub fn close_and_discard(&self) -> Vec<T> {
            self.exchange.close_and_discard()
        }

        /// Whether the channel was closed, by `close()` or because one end is
        /// gone. Values may still be buffered.
        pub fn is_closed(&self) -> bool {
            self.exchange.is_closed()
        }

        /// How many values are buffered, not counting those promised to a
        /// waiting receiver that has not fetched them yet.
        pub fn len(&self) -> usize {
            self.exchange.len()
        }

        /// Whether no value is buffered.
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// Whether the buffer has no room; always so on a rendezvous channel,
        /// never on one without a bound.
        pub fn is_full(&self) -> bool {
            self.exchange.is_full()
        }

        /// How many values can be buffered; 0 for a rendezvous channel, `None`
        /// without a bound.
        pub fn capacity(&self) -> Option<usize> {
            let capacity = self.exchange.capacity();
            (capacity != usize::MAX).then_some(capacity)
        }

        /// How many senders this channel has.
        pub fn sender_count(&self) -> usize {
            self.exchange.sender_count()
        }

        /// How many receivers this channel has.
        pub fn receiver_count(&self) -> usize {
            self.exchange.receiver_count()
        }

        /// What the channel holds and has done, at one moment.
        pub fn statistics(&self) -> $crate::Statistics {
            self.exchange.statistics()
        }

        /// Whether both belong to one channel.
        pub fn same_channel(&self, other: &Self) -> bool {
            F::is_same(&self.exchange, &other.exchange)
        }
    };
}

/// `Debug` of an end.
macro_rules! debug_end {
    ($name:ident) => {
        impl<T, F: $crate::Flavor> ::std::fmt::Debug for $name<T, F> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("len", &self.len())
                    .field("capacity", &self.capacity())
                    .field("closed", &self.is_closed())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use {debug_end, inspecting_methods};
