use std::cell::RefCell;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;

use bytes::BytesMut;
use socket2::{MaybeUninitSlice, SockAddr, SockRef};

use crate::socket::Moved;

/// What a read reserves where the buffer has no room: 16 KiB.
const READ_RESERVE: usize = 16 * 1024;

/// Bytes of the first read into a buffer with less room than this. It goes by memory of the thread,
/// so that a connection that turns out to have nothing to read allocates nothing, and what is left
/// of a buffer whose front was split off does not cut one read into two.
const FIRST_READ: usize = 4 * 1024;

thread_local! {
    /// Where first reads go, instead of the stack: it need not be zeroed each time.
    static FIRST: RefCell<[u8; FIRST_READ]> = const { RefCell::new([0; FIRST_READ]) };
}

/// Receives once into the spare capacity of `buffer`, at most `max` bytes.
pub(crate) fn recv_into_spare(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    max: NonZeroUsize,
) -> io::Result<Moved> {
    let room = buffer.capacity() - buffer.len();
    if room < FIRST_READ.min(max.get()) {
        return recv_first(socket, buffer, max);
    }
    let (bytes, of) = into_spare(buffer, max, |spare| Ok((socket.recv(spare)?, spare.len())))?;
    Ok(Moved { bytes, of })
}

/// Receives one datagram into the spare capacity of `buffer`, at most `max` bytes, for which room
/// is made. Says whether it was cut, and who sent it.
pub(crate) fn recv_datagram_into_spare(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    max: NonZeroUsize,
) -> io::Result<(usize, bool, SockAddr)> {
    buffer.reserve(max.get());
    let (received, (truncated, from)) = into_spare(buffer, max, |spare| {
        let mut slices = [MaybeUninitSlice::new(spare)];
        let (received, flags, from) = socket.recv_from_vectored(&mut slices)?;
        Ok((received, (flags.is_truncated(), from)))
    })?;
    Ok((received, truncated, from))
}

/// Lets `receive` fill the front of the spare capacity, at most `max` bytes of it.
///
/// Invariant SPARE1: the kernel reported `n`, `n` is at most the length of the spare slice it was
/// given, and that call wrote the first `n` bytes of it. The two callers above keep it: they return
/// what one receive into the slice returned.
#[expect(
    unsafe_code,
    reason = "reading into uninitialised spare capacity saves zeroing up to 64 KiB per read"
)]
fn into_spare<T>(
    buffer: &mut BytesMut,
    max: NonZeroUsize,
    receive: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<(usize, T)>,
) -> io::Result<(usize, T)> {
    let spare = buffer.spare_capacity_mut();
    let limit = spare.len().min(max.get());
    let (received, rest) = receive(&mut spare[..limit])?;
    assert!(
        received <= limit,
        "the system reported more than it was given room for"
    );
    let filled = buffer.len() + received;
    // SAFETY: SPARE1. `receive` initialised the first `received` bytes of the spare slice, and
    // `received <= limit` was checked, so `filled` is within the capacity.
    unsafe { buffer.set_len(filled) };
    Ok((received, rest))
}

/// Receives once into a buffer that has no room, and makes room for more where more is likely.
fn recv_first(socket: &SockRef<'_>, buffer: &mut BytesMut, max: NonZeroUsize) -> io::Result<Moved> {
    FIRST.with_borrow_mut(|first| {
        let limit = FIRST_READ.min(max.get());
        let received = (&mut &**socket).read(&mut first[..limit])?;
        let more = if received == FIRST_READ {
            READ_RESERVE.min(max.get())
        } else {
            0
        };
        buffer.reserve(received.max(more));
        buffer.extend_from_slice(&first[..received]);
        Ok(Moved {
            bytes: received,
            of: limit,
        })
    })
}
