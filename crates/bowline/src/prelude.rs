//! What most programs want in scope: `use bowline::prelude::*`.

#[doc(no_inline)]
pub use bowline_backend::Backend;
#[doc(no_inline)]
pub use bowline_backend::stream::ByteStream;
#[doc(no_inline)]
pub use bowline_codec::{Codec, Decode, Encode, Framing, MessageCodec};
#[doc(no_inline)]
pub use bowline_concurrency::{Root, task_group, timeout};
#[doc(no_inline)]
pub use bowline_rpc::{Broker, Caller};
#[doc(no_inline)]
pub use bowline_transport::{Transport, TransportRecv, TransportSend};
