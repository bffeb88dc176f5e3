use crate::stream::Address;

/// What receiving one datagram gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Bytes appended to the buffer. Zero is a datagram too: an empty one.
    pub len: usize,
    /// Who sent it; `None` for a Unix socket without a name.
    pub from: Option<Address>,
    /// Whether the datagram was longer than what was asked for. What did not fit is gone.
    pub truncated: bool,
}

impl Received {
    /// A datagram of `len` bytes, taken whole; for a socket of one's own.
    pub fn new(len: usize, from: Option<Address>) -> Received {
        Received {
            len,
            from,
            truncated: false,
        }
    }

    /// Says that more came than was asked for.
    #[must_use = "this returns the changed value"]
    pub fn cut(mut self) -> Received {
        self.truncated = true;
        self
    }
}

/// Sending and receiving of a socket of datagrams around a [`Choice`](crate::runtime::Choice).
macro_rules! datagrams {
    ($socket:ident) => {
        impl $socket {
            /// Sends one datagram to the peer that it is connected to.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::NotConnected`] or, on some systems, `EDESTADDRREQ` without a peer;
            /// `EMSGSIZE` where the payload is too long, and then the next send works;
            /// [`io::ErrorKind::ConnectionRefused`] where an earlier datagram found nobody; what
            /// else the system reports.
            ///
            /// # Cancel safety
            ///
            /// *Nothing happened*: the datagram is sent in the poll that says so.
            pub async fn send(&self, payload: &[u8]) -> io::Result<()> {
                delegate!(&self.0, socket => DatagramSocket::send(socket, payload).await)
            }

            /// Sends one datagram to `to`.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::InvalidInput`] where `to` is of another family than the socket;
            /// `EMFILE` or `ENFILE` of a Unix socket that has to wait for room, for it holds one
            /// descriptor more while it does; else as [`send`](Self::send).
            ///
            /// # Cancel safety
            ///
            /// *Nothing happened*: the datagram is sent in the poll that says so.
            pub async fn send_to(&self, payload: &[u8], to: &Address) -> io::Result<()> {
                delegate!(&self.0, socket => DatagramSocket::send_to(socket, payload, to).await)
            }

            /// Receives one datagram and appends at most `max` bytes of it to `buffer`, which gets
            /// room for as many before, but for no more than 64 KiB of UDP and 1 MiB of a Unix
            /// socket. The rest of a longer one is gone, and [`truncated`](Received::truncated)
            /// says so.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::ConnectionRefused`] where a datagram sent by this connected socket
            /// found nobody; what else the system reports.
            ///
            /// # Cancel safety
            ///
            /// *Nothing happened*: a datagram is taken in the poll that reports it.
            pub async fn recv_from(
                &self,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
            ) -> io::Result<Received> {
                delegate!(&self.0, socket => DatagramSocket::recv_from(socket, buffer, max).await)
            }

            /// As [`send`](Self::send). One task is woken, that of the last poll for sending;
            /// several use the async form.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send).
            pub fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<()>> {
                delegate!(&self.0, socket => DatagramSocket::poll_send(socket, cx, payload))
            }

            /// As [`recv_from`](Self::recv_from). One task is woken, that of the last poll for
            /// receiving; several use the async form. On tokio that task sleeps on where nothing but
            /// an error comes, as the refusal of an earlier datagram; the next call tells it.
            ///
            /// # Errors
            ///
            /// As [`recv_from`](Self::recv_from).
            pub fn poll_recv_from(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
            ) -> Poll<io::Result<Received>> {
                delegate!(&self.0, socket => {
                    DatagramSocket::poll_recv_from(socket, cx, buffer, max)
                })
            }

            /// The error that the system holds for this socket (`SO_ERROR`), and clears it.
            ///
            /// # Errors
            ///
            /// What the system reports.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                delegate!(&self.0, socket => Socket::take_error(socket))
            }
        }

        impl fmt::Debug for $socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($socket))
                    .field("backend", &self.backend())
                    .field("local", &self.local_addr().ok())
                    .field("peer", &self.peer_addr().ok())
                    .finish()
            }
        }
    };
}
