//! The ambient runtime of Bowline: time, tasks, blocking work, entropy and sockets over tokio, async-std, smol or the simulator.
