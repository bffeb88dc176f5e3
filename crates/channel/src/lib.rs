//! Go-style channels for async Rust that lose nothing, on any runtime.
