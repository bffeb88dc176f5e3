//! Benchmarks of Bowline against peer libraries.
