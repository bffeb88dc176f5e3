use super::CodecId;
use crate::Code;

/// A command the machine did not take. Nothing has changed, and no event will come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// The peer asked for no new calls.
    #[error("the peer takes no new calls")]
    Draining,
    /// The local queue is full, or events wait to be polled.
    #[error("the queue of the connection is full")]
    Overloaded,
    /// The body, or the metadata, is larger than a call may carry.
    #[error("{actual} bytes are more than the limit of {limit}")]
    TooLarge {
        /// Bytes allowed.
        limit: u32,
        /// Bytes given.
        actual: u32,
    },
    /// The call is nested deeper than 8 levels.
    #[error("the call is nested too deep")]
    HopLimit,
    /// There is no such call, or it has its answer already.
    #[error("there is no such call")]
    NoSuchCall,
    /// The peer has granted too little for the item, or the call is not sent yet; or earlier news of
    /// methods waits until the peer lets it through.
    #[error("the peer has no room for it yet")]
    NoRoom,
    /// The bits of the kind of the call do not go together.
    #[error("there is no such kind of call")]
    Kind,
    /// The two sides did not agree on the codec.
    #[error("the two sides have no {0} in common")]
    Codec(CodecId),
    /// The handshake is not done.
    #[error("the connection is not ready")]
    NotReady,
    /// A method has no id, or its name is empty or longer than 200 bytes.
    #[error("a method cannot be named so")]
    BadName,
}

impl Rejected {
    /// The code of a call that ends so.
    pub fn code(&self) -> Code {
        match self {
            Rejected::Closed => Code::ConnectionLost,
            Rejected::Draining => Code::Draining,
            Rejected::Overloaded | Rejected::NoRoom => Code::Overloaded,
            Rejected::TooLarge { .. } => Code::TooLarge,
            Rejected::HopLimit => Code::HopLimit,
            Rejected::Codec(_) | Rejected::Kind => Code::Unsupported,
            Rejected::NoSuchCall | Rejected::NotReady => Code::Internal,
            Rejected::BadName => Code::UnknownMethod,
        }
    }
}
