use crate::stream::Address;

/// What receiving one datagram gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Bytes appended to the buffer. Zero is a datagram too: an empty one.
    pub len: usize,
    /// Who sent it; `None` for a Unix socket without a name.
    pub from: Option<Address>,
    /// Whether the datagram was longer than what was asked for. What did not fit is gone.
    pub truncated: bool,
}

impl Received {
    /// A datagram of `len` bytes, taken whole; for a socket of one's own.
    pub fn new(len: usize, from: Option<Address>) -> Received {
        Received {
            len,
            from,
            truncated: false,
        }
    }

    /// Says that more came than was asked for.
    #[must_use = "this returns the changed value"]
    pub fn cut(mut self) -> Received {
        self.truncated = true;
        self
    }
}
