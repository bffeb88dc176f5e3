//! Descriptors that go with messages over Unix sockets.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Poll;

use bowline_backend::net::ReceivedFds;

use crate::error::{Delivery, Error, ErrorKind, Operation};

/// Descriptors that go, or came, with a message over a Unix socket.
///
/// They are owned: those that are not [taken](Ancillary::take_fds) are closed when the value is
/// dropped, replaced or sent. The receiver gets descriptors of its own, closed on exec, for the same
/// files.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use std::io::{Read, Write};
///
/// use bowline_backend::Backend;
/// use bowline_backend::net::UnixStream;
/// use bowline_codec::Lines;
/// use bowline_transport::{Ancillary, MessageStream, Transport};
///
/// # Backend::Smol.block_on(async {
/// let (here, there) = UnixStream::pair()?;
/// let mut here = MessageStream::new(here, Lines::lf().text());
/// let mut there = MessageStream::new(there, Lines::lf().text());
///
/// let (mut reader, writer) = std::io::pipe()?;
/// let log = "log to this".to_owned();
/// here.send_with(&log, Ancillary::new().fd(writer)).await?;
/// here.flush().await?;
///
/// let mut came = Ancillary::new();
/// assert_eq!(there.recv_with(&mut came).await?.as_deref(), Some("log to this"));
/// let [writer] = <[_; 1]>::try_from(came.take_fds()).unwrap();
/// std::io::PipeWriter::from(writer).write_all(b"done")?;
///
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?; // all writers are closed
/// assert_eq!(text, "done");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
#[must_use = "dropping it closes its descriptors"]
pub struct Ancillary {
    fds: Vec<OwnedFd>,
    capacity: usize,
}

impl Ancillary {
    /// Descriptors that may go with one message.
    pub const MAX_FDS: usize = 64;

    /// Bytes of a frame that descriptors go with on a stream: so much goes in one write.
    pub const MAX_FRAME: usize = 32 * 1024;

    /// Without descriptors, and with room for as many as may come.
    pub fn new() -> Self {
        Ancillary {
            fds: Vec::new(),
            capacity: Self::MAX_FDS,
        }
    }

    /// Adds a descriptor to send.
    pub fn fd(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.fds.push(fd.into());
        self
    }

    /// The most descriptors that a receive puts here; [`MAX_FDS`](Ancillary::MAX_FDS) unless set,
    /// and never more. Where more come with a message, that is an error and all are closed.
    pub fn capacity(mut self, most: usize) -> Self {
        self.capacity = most.min(Self::MAX_FDS);
        self
    }

    /// The descriptors.
    pub fn fds(&self) -> &[OwnedFd] {
        &self.fds
    }

    /// Takes the descriptors out; none is left.
    #[must_use = "dropping them closes them"]
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    /// Refuses more than may go with a message.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let count = self.fds.len();
        if count > Self::MAX_FDS {
            return Err(refused(
                ErrorKind::Config,
                AncillaryError::TooMany { count },
            ));
        }
        Ok(())
    }

    /// Puts what came with a message in the place of what is here.
    pub(crate) fn fill(&mut self, came: Arrived) -> Result<(), Error> {
        self.fds.clear();
        let limit = self.capacity;
        if came.truncated || came.fds.len() > limit {
            return Err(Error::new(Operation::Recv, ErrorKind::Decode)
                .with_delivery(Delivery::MaybeSent)
                .with_source(AncillaryError::Truncated { limit }));
        }
        self.fds = came.fds;
        Ok(())
    }
}

impl Default for Ancillary {
    fn default() -> Self {
        Ancillary::new()
    }
}

impl FromIterator<OwnedFd> for Ancillary {
    fn from_iter<I: IntoIterator<Item = OwnedFd>>(fds: I) -> Self {
        Ancillary {
            fds: fds.into_iter().collect(),
            ..Ancillary::new()
        }
    }
}

impl fmt::Debug for Ancillary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ancillary")
            .field("fds", &self.fds.len())
            .field("capacity", &self.capacity)
            .finish()
    }
}

/// Why descriptors were not passed: the source of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AncillaryError {
    /// There were more than may go with one message; nothing was sent.
    #[error(
        "{count} descriptors with one message; at most {} are allowed",
        Ancillary::MAX_FDS
    )]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// The frame is longer than goes in one write; nothing was sent.
    #[error("a frame of {actual} bytes with descriptors; at most {limit} go in one write")]
    FrameTooLong {
        /// The most bytes that go in one write.
        limit: usize,
        /// How many the frame has.
        actual: usize,
    },
    /// The codec made a frame without a byte, and descriptors go with bytes; nothing was sent.
    #[error("descriptors go with bytes, and the frame has none")]
    NoBytes,
    /// More came with a message than there was room for, here or in the system. All were closed.
    #[error("more descriptors came with the message than fit; room is for {limit}")]
    Truncated {
        /// How many there was room for.
        limit: usize,
    },
}

/// The error of a message that was not sent.
pub(crate) fn refused(kind: ErrorKind, why: AncillaryError) -> Error {
    Error::new(Operation::Send, kind).with_source(why)
}

/// The error of descriptors where the backend passes none.
pub(crate) fn check_supported() -> Result<(), Error> {
    match bowline_backend::Backend::current() {
        Ok(backend) if !backend.capabilities().fd_passing => {
            Err(Error::new(Operation::Send, ErrorKind::Unsupported))
        }
        _ => Ok(()),
    }
}

/// A read that takes descriptors too, or, where the backend passes none, a plain one.
pub(crate) fn or_plain<R>(
    read: Poll<io::Result<R>>,
    plain: impl FnOnce() -> Poll<io::Result<R>>,
) -> Poll<io::Result<R>> {
    match read {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Unsupported => plain(),
        read => read,
    }
}

/// What came with a message.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) fds: Vec<OwnedFd>,
    /// More came than the system had room for, or than may go with a message.
    pub(crate) truncated: bool,
}

impl Arrived {
    /// More than there was room for; it is closed.
    pub(crate) fn cut() -> Arrived {
        Arrived {
            fds: Vec::new(),
            truncated: true,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.fds.len()
    }

    /// Adds what came with a further read of the same message.
    pub(crate) fn join(&mut self, mut other: Arrived) {
        self.fds.append(&mut other.fds);
        self.truncated |= other.truncated;
        if self.fds.len() > Ancillary::MAX_FDS {
            self.fds.clear();
            self.truncated = true;
        }
    }
}

impl From<ReceivedFds> for Arrived {
    fn from(received: ReceivedFds) -> Arrived {
        Arrived {
            fds: received.fds,
            truncated: received.truncated,
        }
    }
}

pub(crate) fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}
