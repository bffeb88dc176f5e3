//! A bound on nesting for formats whose own code has none, or not for every kind of nesting.
//!
//! serde encodes and decodes recursive types by recursion, so a few hundred kilobytes of "one more
//! inside" would overflow the stack, which no panic handler survives. What is here sits between a type
//! and a format and counts every value that is inside another: elements, fields, map keys, enum
//! payloads, and what is inside `Some` and newtypes. Both directions count alike, so what is encoded is
//! decoded with the same limit.

mod decoding;
mod encoding;

pub(crate) use decoding::Nesting;
pub(crate) use encoding::EncodeDepth;
