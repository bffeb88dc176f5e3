//! Reading and writing that is a part's: for streams made of two halves, or around another.

/// `delegate_reads!((S: Bound) Stream<S>, part)` reads `Stream<S>` from its field `part`.
macro_rules! delegate_reads {
    (($($generics:tt)*) $stream:ty, $part:ident) => {
        impl<$($generics)*> futures_io::AsyncRead for $stream {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.$part).poll_read(cx, buffer)
            }
        }

        impl<$($generics)*> bowline_backend::stream::ByteReader for $stream {
            fn poll_read_into(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut bytes::BytesMut,
                max: std::num::NonZeroUsize,
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.$part).poll_read_into(cx, buffer, max)
            }
        }
    };
}

/// `delegate_writes!((S: Bound) Stream<S>, part)` writes what is written to `Stream<S>` to its
/// field `part`.
macro_rules! delegate_writes {
    (($($generics:tt)*) $stream:ty, $part:ident) => {
        impl<$($generics)*> futures_io::AsyncWrite for $stream {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.$part).poll_write(cx, bytes)
            }

            fn poll_write_vectored(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.$part).poll_write_vectored(cx, slices)
            }

            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.$part).poll_flush(cx)
            }

            fn poll_close(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.$part).poll_close(cx)
            }
        }

        impl<$($generics)*> bowline_backend::stream::ByteWriter for $stream {
            fn is_write_vectored(&self) -> bool {
                self.$part.is_write_vectored()
            }

            fn passed_on(&self) -> u64 {
                self.$part.passed_on()
            }
        }
    };
}

pub(crate) use {delegate_reads, delegate_writes};
