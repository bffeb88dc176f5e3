//! Byte and message transports on any runtime: memory streams, framed message streams.
