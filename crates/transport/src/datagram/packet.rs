//! A packet as it came, and what came with it.

use std::io;
use std::num::NonZeroUsize;

use bowline_backend::net::Received;
use bowline_backend::stream::Address;
use bytes::{Bytes, BytesMut};

use super::DatagramRecv;
#[cfg(all(unix, feature = "ancillary"))]
use crate::ancillary::Ancillary;
#[cfg(all(unix, feature = "ancillary"))]
pub(crate) use crate::ancillary::Arrived as Came;

/// One packet as it came.
pub(crate) struct Packet {
    pub(crate) bytes: Bytes,
    pub(crate) truncated: bool,
    pub(crate) from: Address,
    pub(crate) came: Came,
}

/// What comes with a packet where no descriptors are passed: nothing.
#[cfg(not(all(unix, feature = "ancillary")))]
#[derive(Default)]
pub(crate) struct Came {}

#[cfg(not(all(unix, feature = "ancillary")))]
impl Came {
    pub(crate) fn cut() -> Came {
        Came {}
    }

    pub(crate) fn count(&self) -> usize {
        0
    }
}

/// What becomes of the descriptors that come with packets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descriptors {
    /// The system closes them.
    Closed,
    /// They come too.
    Kept,
}

/// Receives one packet, and with it what comes along.
pub(super) async fn receive<S: DatagramRecv>(
    socket: &S,
    buffer: &mut BytesMut,
    max: NonZeroUsize,
    descriptors: Descriptors,
) -> io::Result<(Received, Came)> {
    #[cfg(all(unix, feature = "ancillary"))]
    if descriptors == Descriptors::Kept {
        let most = Ancillary::MAX_FDS;
        let (received, fds) = socket.recv_with_fds(buffer, max, most).await?;
        return Ok((received, Came::from(fds)));
    }
    #[cfg(not(all(unix, feature = "ancillary")))]
    let _ = descriptors;
    let received = socket.recv_from(buffer, max).await?;
    Ok((received, Came::default()))
}
