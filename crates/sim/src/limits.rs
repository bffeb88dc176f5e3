//! What one host has at most.

/// What a host has at most; see [`Builder::limits`](crate::Builder::limits).
///
/// Passing one of them gives the error a kernel gives, never a panic. The one host of
/// [`block_on`](crate::block_on) has the defaults, but any number of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostLimits {
    /// Open sockets of the host (default 1024). One more is refused with `EMFILE`; a connection
    /// that could not be accepted stays queued.
    pub descriptors: usize,
    /// Ports that are given out where none is asked for (default 28 232). With all taken a
    /// connect fails with `AddrNotAvailable` and a bind with `AddrInUse`.
    pub ephemeral_ports: u16,
    /// Bytes of datagrams that the host's sockets sent and that have not arrived, or that wait to
    /// be received, each with 768 bytes for its record (default 16 MiB). Sending beyond it is
    /// refused with `ENOBUFS`; what arrives beyond it is lost.
    pub datagram_bytes: usize,
    /// Bytes that all sockets of the host buffer together: what TCP has unsent, in flight and unread,
    /// what Unix sockets have unread, and datagrams with their records (default 768 MiB, which is what
    /// Linux gives TCP on a machine of 8 GiB).
    ///
    /// Beyond it a TCP write waits, but for the first 4 KiB a connection has under way, a datagram or
    /// a write to a Unix socket is refused with `ENOBUFS`, and a UDP datagram that arrives is lost.
    /// What TCP peers send within their window still fits.
    pub buffered_bytes: usize,
    /// Bytes that a TCP socket buffers to be sent, where its options do not say (default 128 KiB, at
    /// least 1).
    pub tcp_send_buffer: usize,
    /// Bytes that a TCP socket buffers of those it received, where its options do not say (default
    /// 64 KiB, at least 1).
    pub tcp_recv_buffer: usize,
    /// Bytes of datagrams that a UDP socket sent and that have not arrived, with their records, where
    /// its options do not say (default 208 KiB, at least 1).
    pub udp_send_buffer: usize,
    /// Bytes of datagrams that wait at a UDP socket, with their records, where its options do not say
    /// (default 208 KiB). What comes beyond it is lost.
    pub udp_recv_buffer: usize,
    /// Bytes that a Unix socket has sent and nobody has read, where its options do not say (default
    /// 208 KiB, at least 1 of a stream and 33 of datagrams, which count with their records).
    pub unix_send_buffer: usize,
    /// Blocking jobs that overlap in virtual time (default 512, at least 1); others wait.
    pub blocking_threads: usize,
}

impl Default for HostLimits {
    fn default() -> HostLimits {
        HostLimits {
            descriptors: 1024,
            ephemeral_ports: 28_232,
            datagram_bytes: 16 * 1024 * 1024,
            buffered_bytes: 768 * 1024 * 1024,
            tcp_send_buffer: 128 * 1024,
            tcp_recv_buffer: 64 * 1024,
            udp_send_buffer: 208 * 1024,
            udp_recv_buffer: 208 * 1024,
            unix_send_buffer: 208 * 1024,
            blocking_threads: 512,
        }
    }
}
