//! What both ends of a channel have in common.

/// Gives an end that holds its `exchange` the questions that either end answers, and `close`.
macro_rules! either_end {
    ($End:ident, $ends:literal) => {
        impl<T> $End<T> {
            /// Closes the channel, for all its senders and receivers.
            ///
            /// Waiting senders get their values back; receivers drain what is buffered
            /// and then get [`RecvError`](crate::RecvError). Closing again does nothing.
            pub fn close(&self) {
                self.exchange.close();
            }

            /// Whether the channel was closed, by `close()` or because one end is gone.
            /// Values may still be buffered.
            pub fn is_closed(&self) -> bool {
                self.exchange.is_closed()
            }

            /// How many values are buffered, counting those promised to a waiting
            /// receiver that has not fetched them yet.
            pub fn len(&self) -> usize {
                self.exchange.len()
            }

            /// Whether no value is buffered.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether the buffer has no room; always so on a rendezvous channel.
            pub fn is_full(&self) -> bool {
                self.len() >= self.capacity()
            }

            /// How many values can be buffered; 0 for a rendezvous channel.
            pub fn capacity(&self) -> usize {
                self.exchange.capacity()
            }

            /// How many senders this channel has.
            pub fn sender_count(&self) -> usize {
                self.exchange.sender_count()
            }

            /// How many receivers this channel has.
            pub fn receiver_count(&self) -> usize {
                self.exchange.receiver_count()
            }

            #[doc = concat!("Whether both are ", $ends, " of one channel.")]
            pub fn same_channel(&self, other: &Self) -> bool {
                std::sync::Arc::ptr_eq(&self.exchange, &other.exchange)
            }
        }

        impl<T> std::fmt::Debug for $End<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($End))
                    .field("len", &self.len())
                    .field("capacity", &self.capacity())
                    .field("closed", &self.is_closed())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use either_end;
