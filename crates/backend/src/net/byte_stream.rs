//! What every socket over a choice of adapters has, written once: the two macros here expand to
//! the inherent functions and traits of the public types.

/// The functions that every socket has, for a tuple struct around a
/// [`Choice`](crate::runtime::Choice).
macro_rules! socket {
    ($socket:ident, $associated:ident, $kind:ident, $wrap:ident, $std:ty) => {
        impl $socket {
            /// Takes in a socket of the standard library; its options stay. It becomes
            /// non-blocking and is closed on exec.
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](std::io::ErrorKind::InvalidInput) where the descriptor is of
            /// another family or type, [`NotConnected`](std::io::ErrorKind::NotConnected) where a
            /// stream is not connected, `ENOTSOCK` where the descriptor is no socket at all, and
            /// [`Unsupported`](std::io::ErrorKind::Unsupported) in the simulator.
            ///
            /// # Panics
            ///
            /// Where the current backend does not run on this thread.
            pub fn from_std(socket: $std) -> std::io::Result<$socket> {
                use $crate::net::socket::{Socket, SocketKind, SocketTypes};
                let backend = $crate::Backend::required().running();
                dispatch!(backend, R => {
                    type Native = <R as SocketTypes>::$associated;
                    let socket = <Native as Socket>::adopt(socket.into(), SocketKind::$kind)?;
                    Ok($socket(<R as $crate::runtime::Variant>::$wrap(socket)))
                })
            }

            /// Gives the socket back to the standard library, in blocking mode.
            ///
            /// # Errors
            ///
            /// What the system reports; [`Unsupported`](std::io::ErrorKind::Unsupported) in the
            /// simulator.
            pub fn into_std(self) -> std::io::Result<$std> {
                use $crate::net::socket::Socket;
                let owned = delegate!(self.0, socket => Socket::into_owned(socket))?;
                Ok(owned.into())
            }

            /// Lends the descriptor.
            ///
            /// # Errors
            ///
            /// [`Unsupported`](std::io::ErrorKind::Unsupported) in the simulator.
            #[cfg(unix)]
            pub fn try_as_fd(&self) -> std::io::Result<std::os::fd::BorrowedFd<'_>> {
                use $crate::net::socket::Socket;
                delegate!(&self.0, socket => Socket::try_as_fd(socket))
            }

            /// Its options, in a value that does not keep it open.
            ///
            /// # Errors
            ///
            /// [`Unsupported`](std::io::ErrorKind::Unsupported) in the simulator.
            pub fn raw_socket(&self) -> std::io::Result<$crate::net::RawSocket> {
                use $crate::net::socket::Socket;
                let socket = delegate!(&self.0, socket => Socket::downgrade(socket))?;
                Ok($crate::net::RawSocket::new(socket))
            }

            /// The backend that it stays with.
            pub fn backend(&self) -> $crate::Backend {
                self.0.backend()
            }
        }
    };
}

/// A byte stream around a [`Choice`](crate::runtime::Choice), and its two halves. `$short` is what a
/// short read of it says.
macro_rules! byte_stream {
    ($stream:ident, $read:ident, $write:ident, $short:expr) => {
        impl $stream {
            /// The error that the system holds for this socket (`SO_ERROR`), and clears it.
            ///
            /// # Errors
            ///
            /// What the system reports.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                delegate!(&self.0, stream => Socket::take_error(stream))
            }
        }

        impl ByteSide for $stream {
            fn abort_side(self) {
                self.abort();
            }
        }

        impl ByteSide for $read {
            fn abort_side(self) {
                if let Some(stream) = Arc::into_inner(self.0) {
                    stream.abort();
                }
            }
        }

        impl ByteSide for $write {
            fn abort_side(mut self) {
                match self.stream.take().map(Arc::try_unwrap) {
                    Some(Ok(stream)) => stream.abort(),
                    Some(Err(shared)) => self.stream = Some(shared), // its drop ends the side
                    None => {}
                }
            }
        }

        impl ByteReader for $stream {
            fn poll_read_into(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
            ) -> Poll<io::Result<usize>> {
                delegate!(&self.0, stream => {
                    StreamSocket::poll_read_into(stream, cx, buffer, max, $short)
                })
            }
        }

        impl ByteWriter for $stream {
            fn is_write_vectored(&self) -> bool {
                true
            }
        }

        impl ByteStream for $stream {
            type ReadHalf = $read;
            type WriteHalf = $write;

            fn into_split(self) -> ($read, $write) {
                let shared = Arc::new(self);
                let stream = Some(shared.clone());
                ($read(shared), $write { stream })
            }

            fn reunite(read: $read, mut write: $write) -> Result<$stream, ReuniteError<$read, $write>> {
                if !Arc::ptr_eq(&read.0, write.shared()) {
                    return Err(ReuniteError(read, write));
                }
                let shared = write.stream.take();
                drop(read);
                let stream = shared.and_then(Arc::into_inner);
                Ok(stream.expect("a stream has two halves and no more"))
            }

            fn local_addr(&self) -> io::Result<Address> {
                delegate!(&self.0, stream => Socket::local_addr(stream))
            }

            fn peer_addr(&self) -> io::Result<Address> {
                delegate!(&self.0, stream => Socket::peer_addr(stream))
            }

            fn abort(self) {
                delegate!(self.0, stream => StreamSocket::abort(stream));
            }
        }

        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                delegate!(&self.0, stream => StreamSocket::poll_read(stream, cx, buffer, $short))
            }
        }

        byte_stream!(@write $stream, this => &this.0);

        impl fmt::Debug for $stream {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($stream))
                    .field("backend", &self.backend())
                    .field("local", &self.local_addr().ok())
                    .field("peer", &self.peer_addr().ok())
                    .finish()
            }
        }

        #[doc = concat!("The reading side of a [`", stringify!($stream), "`].")]
        ///
        /// Dropping it is not visible to the peer; the descriptor closes with the second half.
        #[derive(Debug)]
        pub struct $read(Arc<$stream>);

        #[doc = concat!("The writing side of a [`", stringify!($stream), "`].")]
        ///
        /// Dropping it ends the sending side; the descriptor closes with the second half.
        #[derive(Debug)]
        pub struct $write {
            // None once it was reunited: then its drop must not end the sending side.
            stream: Option<Arc<$stream>>,
        }

        impl $read {
            pub(super) fn shared(&self) -> &Arc<$stream> {
                &self.0
            }
        }

        impl $write {
            pub(super) fn shared(&self) -> &Arc<$stream> {
                self.stream.as_ref().expect("a reunited half is gone")
            }
        }

        byte_stream!(@half $read);
        byte_stream!(@half $write);

        impl ByteReader for $read {
            fn poll_read_into(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
            ) -> Poll<io::Result<usize>> {
                delegate!(&self.0.0, stream => {
                    StreamSocket::poll_read_into(stream, cx, buffer, max, $short)
                })
            }
        }

        impl AsyncRead for $read {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                delegate!(&self.0.0, stream => StreamSocket::poll_read(stream, cx, buffer, $short))
            }
        }

        impl ByteWriter for $write {
            fn is_write_vectored(&self) -> bool {
                true
            }
        }

        byte_stream!(@write $write, this => &this.shared().0);

        impl Drop for $write {
            fn drop(&mut self) {
                if let Some(stream) = &self.stream {
                    delegate!(&stream.0, stream => StreamSocket::end_sending(stream));
                }
            }
        }
    };
    (@half $half:ident) => {
        impl $half {
            /// The backend that it stays with.
            pub fn backend(&self) -> Backend {
                self.shared().backend()
            }

            /// Our address.
            ///
            /// # Errors
            ///
            /// What the system reports.
            pub fn local_addr(&self) -> io::Result<Address> {
                self.shared().local_addr()
            }

            /// The address of the peer.
            ///
            /// # Errors
            ///
            /// What the system reports.
            pub fn peer_addr(&self) -> io::Result<Address> {
                self.shared().peer_addr()
            }
        }
    };
    (@write $writer:ident, $this:ident => $choice:expr) => {
        impl AsyncWrite for $writer {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = &*self;
                delegate!($choice, stream => StreamSocket::poll_write(stream, cx, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = &*self;
                delegate!($choice, stream => StreamSocket::poll_write_vectored(stream, cx, slices))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = &*self;
                delegate!($choice, stream => StreamSocket::poll_shutdown(stream, cx))
            }
        }
    };
}
