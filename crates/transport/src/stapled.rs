//! Two one-way streams as one that goes both ways.

use std::fmt;
use std::io;
use std::sync::Arc;

use bowline_backend::stream::{
    Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError,
};

use crate::attribute::{self, AttributeRequest, Extra};
use crate::delegate::{delegate_reads, delegate_writes};

/// A byte stream that reads from one stream and writes to another: a pair of pipes, the standard
/// input and output of a process, or a half of one connection with a half of a second.
///
/// Whatever is done to both directions is done to both, also where the first fails: a drop closes
/// them, [`abort`](ByteStream::abort) gives both up. A shutdown ends what is written to and leaves
/// reading as it is.
///
/// What happens in one direction says nothing of the other. So a peer that leaves with bytes unread
/// is noticed by writing alone, where a socket would be reset for its reader too.
///
/// # Examples
///
/// ```
/// use bowline_backend::stream::{ByteStream, ByteStreamExt};
/// use bowline_transport::{MemoryStream, StapledStream};
/// use std::num::NonZeroUsize;
///
/// # futures_util::FutureExt::now_or_never(async {
/// let (requests, mut asked) = MemoryStream::pair();
/// let (mut answered, replies) = MemoryStream::pair();
/// let (reader, _) = replies.into_split();
/// let (_, writer) = requests.into_split();
/// let mut stream = StapledStream::new(reader, writer);
///
/// stream.write_all(b"ping").await?;
/// answered.write_all(b"pong").await?;
///
/// let (mut request, mut reply) = (bytes::BytesMut::new(), bytes::BytesMut::new());
/// let most = NonZeroUsize::new(1024).unwrap();
/// asked.read_into(&mut request, most).await?;
/// stream.read_into(&mut reply, most).await?;
/// assert_eq!((&request[..], &reply[..]), (&b"ping"[..], &b"pong"[..]));
/// # std::io::Result::Ok(())
/// # }).expect("nothing waits").unwrap();
/// ```
#[must_use = "dropping it closes both streams"]
pub struct StapledStream<R, W> {
    read: StapledReadHalf<R>,
    write: StapledWriteHalf<W>,
}

/// The reading half of a [`StapledStream`].
#[must_use = "dropping it closes what it reads from"]
pub struct StapledReadHalf<R> {
    reader: R,
    staple: Arc<Staple>,
}

/// The writing half of a [`StapledStream`].
#[must_use = "dropping it closes what it writes to"]
pub struct StapledWriteHalf<W> {
    writer: W,
    staple: Arc<Staple>,
}

/// What holds two halves together; they reunite only under the same.
#[derive(Debug)]
struct Staple {
    local: Option<Address>,
    peer: Option<Address>,
}

impl<R: ByteReader, W: ByteWriter> StapledStream<R, W> {
    /// Reads from `reader`, writes to `writer`. It has no addresses.
    pub fn new(reader: R, writer: W) -> Self {
        StapledStream::stapled(reader, writer, None, None)
    }

    /// The same stream with addresses: `ours`, and that of the peer.
    pub fn with_addresses(self, ours: Address, peer: Address) -> Self {
        let (reader, writer) = self.into_parts();
        StapledStream::stapled(reader, writer, Some(ours), Some(peer))
    }

    /// What it reads from, and what it writes to.
    pub fn into_parts(self) -> (R, W) {
        (self.read.reader, self.write.writer)
    }

    fn stapled(reader: R, writer: W, local: Option<Address>, peer: Option<Address>) -> Self {
        let staple = Arc::new(Staple { local, peer });
        StapledStream {
            read: StapledReadHalf {
                reader,
                staple: staple.clone(),
            },
            write: StapledWriteHalf { writer, staple },
        }
    }
}

impl<R: ByteReader + Sync, W: ByteWriter + Sync> ByteStream for StapledStream<R, W> {
    type ReadHalf = StapledReadHalf<R>;
    type WriteHalf = StapledWriteHalf<W>;

    fn into_split(self) -> (StapledReadHalf<R>, StapledWriteHalf<W>) {
        (self.read, self.write)
    }

    fn reunite(
        read: StapledReadHalf<R>,
        write: StapledWriteHalf<W>,
    ) -> Result<Self, ReuniteError<StapledReadHalf<R>, StapledWriteHalf<W>>> {
        match Arc::ptr_eq(&read.staple, &write.staple) {
            true => Ok(StapledStream { read, write }),
            false => Err(ReuniteError(read, write)),
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        known(self.read.staple.local.as_ref())
    }

    fn peer_addr(&self) -> io::Result<Address> {
        known(self.read.staple.peer.as_ref())
    }

    fn abort(self) {
        self.read.abort_side();
        self.write.abort_side();
    }
}

fn known(address: Option<&Address>) -> io::Result<Address> {
    address.cloned().ok_or_else(|| {
        let why = "a stapled stream has the addresses that it was given, and got none";
        io::Error::new(io::ErrorKind::Unsupported, why)
    })
}

impl<R: ByteReader + Sync, W: ByteWriter + Sync> Extra for StapledStream<R, W> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        attribute::addresses(self, request);
    }
}

impl<R: ByteSide, W: ByteSide> ByteSide for StapledStream<R, W> {
    fn abort_side(self) {
        self.read.abort_side();
        self.write.abort_side();
    }
}

impl<R: ByteSide> ByteSide for StapledReadHalf<R> {
    fn abort_side(self) {
        self.reader.abort_side();
    }
}

impl<W: ByteSide> ByteSide for StapledWriteHalf<W> {
    fn abort_side(self) {
        self.writer.abort_side();
    }
}

delegate_reads!((R: ByteReader, W: ByteWriter) StapledStream<R, W>, read);
delegate_writes!((R: ByteReader, W: ByteWriter) StapledStream<R, W>, write);
delegate_reads!((R: ByteReader) StapledReadHalf<R>, reader);
delegate_writes!((W: ByteWriter) StapledWriteHalf<W>, writer);

impl<R, W> fmt::Debug for StapledStream<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let staple = &self.read.staple;
        f.debug_struct("StapledStream")
            .field("local", &staple.local)
            .field("peer", &staple.peer)
            .finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for StapledReadHalf<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StapledReadHalf")
            .field(&self.staple)
            .finish()
    }
}

impl<W> fmt::Debug for StapledWriteHalf<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StapledWriteHalf")
            .field(&self.staple)
            .finish()
    }
}
