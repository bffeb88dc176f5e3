use std::sync::Arc;
use std::time::Duration;

use bowline_backend::stream::ByteStream;
use bowline_codec::Codec;

use super::lingering::Linger;
use super::outbound::{Outbound, Setup};
use super::{MessageReceiver, MessageSender, MessageStream};
use crate::attribute::{Attributes, Extra};

/// Bytes queued from which `reserve` waits.
const HIGH_WATER: usize = 64 * 1024;

/// How long `close` waits for what is queued.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that are read and forgotten so that a peer gets our last ones.
const LINGER_BYTES: usize = 1024 * 1024;

/// How long a peer may take no byte of what waits for it.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The limits of a [`MessageStream`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `over` is called"]
pub struct MessageStreamBuilder {
    high_water: usize,
    close_timeout: Duration,
    write_stall_timeout: Option<Duration>,
    read_idle_timeout: Option<Duration>,
    frame_timeout: Option<Duration>,
    max_frame: usize,
    linger: Linger,
}

impl Default for MessageStreamBuilder {
    fn default() -> Self {
        MessageStreamBuilder {
            high_water: HIGH_WATER,
            close_timeout: CLOSE_TIMEOUT,
            write_stall_timeout: Some(WRITE_STALL_TIMEOUT),
            read_idle_timeout: None,
            frame_timeout: None,
            max_frame: usize::MAX,
            linger: Linger {
                most: None,
                bytes: LINGER_BYTES,
            },
        }
    }
}

impl MessageStreamBuilder {
    /// From how many queued bytes on senders wait, until a quarter is left; default 64 KiB.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    #[track_caller]
    pub fn high_water(mut self, bytes: usize) -> Self {
        assert!(
            bytes > 0,
            "the high water of a message stream is at least 1"
        );
        self.high_water = bytes;
        self
    }

    /// How long `close` waits for what is queued to be written; default 5 s.
    pub fn close_timeout(mut self, most: Duration) -> Self {
        self.close_timeout = most;
        self
    }

    /// How long `close`, once all is written, reads and forgets what the peer still sends; not at
    /// all by default, but for the connections of a [server](crate::ServerLimits::linger).
    ///
    /// A system resets a connection that is closed with bytes unread, and with the reset goes what
    /// the peer has not received of our last words. So a close that finds bytes unread waits for the
    /// peer's end, but not longer than this; one that finds none waits for nobody.
    pub fn linger(mut self, most: impl Into<Option<Duration>>) -> Self {
        self.linger.most = most.into();
        self
    }

    /// Of how many bytes that is done at most; default 1 MiB.
    pub fn linger_bytes(mut self, most: usize) -> Self {
        self.linger.bytes = most;
        self
    }

    /// How long the peer may take no byte of what waits for it before the connection is
    /// [`Broken(Stalled)`](crate::Break::Stalled); default 30 s, `None` for ever.
    ///
    /// What counts are bytes that go out, also of those that the stream took and holds back, as TLS does
    /// ([`ByteWriter::passed_on`](bowline_backend::stream::ByteWriter::passed_on)).
    ///
    /// Whoever sends, flushes or receives then learns of it; a transport that nobody polls is not
    /// watched. Where no backend runs there is no clock, and nothing stalls.
    ///
    /// What the system holds back of TCP is a matter of the system. Up to two minutes, a
    /// [`Server`](crate::Server) lets it give a peer up that acknowledges none of that for two
    /// (`TCP_USER_TIMEOUT`), or has room for none. With a longer time, or for ever, it does not: the system
    /// waits for who is there and reads nothing, and a quarter of an hour for who vanished with something on
    /// its way to it. A [`Client`](crate::Client) lets it give up after two minutes whatever this is, unless
    /// its [`TcpConnector`](crate::TcpConnector) is given options.
    pub fn write_stall_timeout(mut self, most: impl Into<Option<Duration>>) -> Self {
        self.write_stall_timeout = most.into();
        self
    }

    /// What [`write_stall_timeout`](Self::write_stall_timeout) was given.
    pub(crate) fn stall(&self) -> Option<Duration> {
        self.write_stall_timeout
    }

    /// How long a `recv` may wait for a byte of the peer's before it says
    /// [`Elapsed`](crate::ErrorKind::Elapsed); `None`, for ever, by default.
    ///
    /// Counted from when a `recv` first has to wait after a byte came; one that is dropped does not
    /// start it again. The transport stays usable: the next `recv` waits as long once more.
    ///
    /// A `recv` that has to wait then panics where no backend runs.
    pub fn read_idle_timeout(mut self, most: impl Into<Option<Duration>>) -> Self {
        self.read_idle_timeout = most.into();
        self
    }

    /// How long a `recv` may wait for the rest of a frame of which something has come: then the
    /// connection is [`Broken(SlowFrame)`](crate::Break::SlowFrame), for ever; `None`, for any time, by
    /// default, but for the connections of a [server](crate::ServerLimits::frame_timeout). Against peers
    /// that send a byte now and then to hold a connection, which no
    /// [`read_idle_timeout`](Self::read_idle_timeout) notices.
    ///
    /// It is to leave the longest frame enough time on the slowest line. What stands between frames
    /// begins none (see [`Decode::in_frame`](bowline_codec::Decode::in_frame)), and time in which nobody
    /// receives is not counted, unless that was less than an eighth of this, or than a second. The time
    /// is looked at only by a `recv` that finds nothing to read, which panics where no backend runs.
    pub fn frame_timeout(mut self, most: impl Into<Option<Duration>>) -> Self {
        self.frame_timeout = most.into();
        self
    }

    /// How many bytes a frame may have, its header or delimiter included, below the limit of the
    /// codec itself; none by default. A larger one is not sent, and one that comes ends the
    /// receiving side. What only stands between frames
    /// ([`Decode::padding`](bowline_codec::Decode::padding)) does not count.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    #[track_caller]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "a frame has at least one byte");
        self.max_frame = bytes;
        self
    }

    /// With frames of at most so many bytes, or fewer where that is said already.
    pub(crate) fn no_longer_than(mut self, bytes: usize) -> Self {
        self.max_frame = self.max_frame.min(bytes);
        self
    }

    /// Speaks `codec` over `stream`.
    pub fn over<S, C>(self, stream: S, codec: C) -> MessageStream<S, C>
    where
        S: ByteStream + Extra,
        C: Codec,
    {
        let setup = Setup {
            high_water: self.high_water,
            close_timeout: self.close_timeout,
            write_stall_timeout: self.write_stall_timeout,
            read_idle_timeout: self.read_idle_timeout,
            frame_timeout: self.frame_timeout,
            max_frame: self.max_frame,
            linger: self.linger,
            attributes: Attributes::of_stream(&stream),
        };
        let (reading, writing) = stream.into_split();
        let (encoder, decoder) = codec.split();
        let outbound = Arc::new(Outbound::new(writing, setup));
        MessageStream {
            sender: MessageSender::new(encoder, outbound.clone()),
            receiver: MessageReceiver::new(decoder, reading, outbound),
        }
    }
}
