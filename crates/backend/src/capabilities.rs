use std::time::Duration;

/// What a runtime can do that others cannot, and the other way round.
///
/// Layers above this crate branch on `std_sockets` and `fd_passing` alone; everything else that
/// differs between runtimes is normalised away by the adapters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Tasks may run on several threads at once.
    pub multi_thread: bool,
    /// The clock jumps to the next event; never compare it with wall time.
    pub virtual_time: bool,
    /// How late a sleep may fire because of rounding, zero where it is not rounded.
    pub timer_granularity: Duration,
    /// Detached tasks that still live when `block_on` returns are dropped. False only where the
    /// executor belongs to the process.
    pub drops_tasks_on_exit: bool,
    /// Sockets of the standard library can be taken in and given back.
    pub std_sockets: bool,
    /// Descriptors can be passed over Unix sockets: the feature `ancillary` is on.
    pub fd_passing: bool,
    /// Several listeners can share a port.
    pub reuse_port: bool,
}

#[cfg(feature = "real")]
impl Capabilities {
    /// Those of a runtime over the kernel's sockets, with tasks of its own.
    pub(crate) const REAL: Capabilities = Capabilities {
        multi_thread: true,
        virtual_time: false,
        timer_granularity: Duration::ZERO,
        drops_tasks_on_exit: true,
        std_sockets: true,
        fd_passing: cfg!(all(unix, feature = "ancillary")),
        reuse_port: cfg!(unix),
    };
}
