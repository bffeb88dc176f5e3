//! Structured concurrency for Rust on any runtime: cancel scopes, task groups, deadlines.
