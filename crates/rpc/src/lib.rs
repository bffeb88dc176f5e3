//! Remote procedure calls: a registry of methods, executors that run them, brokers that carry the calls.
