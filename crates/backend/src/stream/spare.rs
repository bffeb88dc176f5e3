use std::io;
use std::num::NonZeroUsize;

use bytes::BytesMut;
use socket2::SockRef;

/// What a read reserves where the buffer has no room: 16 KiB.
pub(crate) const READ_RESERVE: usize = 16 * 1024;

/// Receives once into the spare capacity of `buffer`, at most `max` bytes.
///
/// Invariant SPARE1: the kernel reported `n`, `n` is at most the length of the spare slice it was
/// given, and that call wrote the first `n` bytes of it.
#[expect(
    unsafe_code,
    reason = "reading into uninitialised spare capacity saves zeroing up to 64 KiB per read"
)]
pub(crate) fn recv_into_spare(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    max: NonZeroUsize,
) -> io::Result<usize> {
    if buffer.capacity() == buffer.len() {
        buffer.reserve(max.get().min(READ_RESERVE));
    }
    let spare = buffer.spare_capacity_mut();
    let limit = spare.len().min(max.get());
    let received = socket.recv(&mut spare[..limit])?;
    assert!(received <= limit, "the system reported more than it was given room for");
    let filled = buffer.len() + received;
    // SAFETY: SPARE1. `recv` initialised the first `received` bytes of the spare slice, and
    // `received <= limit` was checked, so `filled` is within the capacity.
    unsafe { buffer.set_len(filled) };
    Ok(received)
}
