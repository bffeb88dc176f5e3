//! Structured concurrency, channels, codecs, transports and RPC for network programs that must stay correct, on any runtime.
