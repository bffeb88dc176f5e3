//! A deterministic world for network programs: virtual clock, seeded scheduler, simulated hosts and network.
