//! What can be wrong with bytes that came and values that go.

mod decode;
mod encode;

pub use decode::{DecodeError, DecodeErrorKind};
pub use encode::{EncodeError, EncodeErrorKind};
