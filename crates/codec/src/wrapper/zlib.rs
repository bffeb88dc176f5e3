//! zlib, in one frame or finding its own end.

pub(crate) mod framing;

use bytes::BytesMut;
use flate2::{Compress as Deflater, Compression, Decompress as Inflater};
use flate2::{FlushCompress, FlushDecompress, Status};

use framing::ZlibFraming;

use crate::{
    Compress, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Expansion,
    ExpansionLimits, Framed, Framing, MessageCodec,
};

/// Compresses a message with zlib, RFC 1950, at level 9 unless [`level`](Self::level).
///
/// A frame without its end marker, or with a wrong checksum, is
/// [`Inflate`](DecodeErrorKind::Inflate), one with bytes after the marker is
/// [`Trailing`](DecodeErrorKind::Trailing), and one that expands beyond the
/// [`limits`](Self::limits) is [`Expansion`](DecodeErrorKind::Expansion), found within 16 KiB of
/// the limit.
///
/// # Examples
///
/// ```
/// use bowline_codec::{MessageCodec, Raw, Zlib};
/// use bytes::{Bytes, BytesMut};
///
/// let codec = Raw::new().wrap(Zlib::new());
/// let mut frame = BytesMut::new();
/// codec.encode(&Bytes::from(vec![b'x'; 10_000]), &mut frame)?;
/// assert!(frame.len() < 100);
/// assert_eq!(codec.decode(&frame.freeze())?.len(), 10_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Zlib {
    level: u32,
    limits: ExpansionLimits,
}

const BLOCK: usize = 4 * 1024;

impl Zlib {
    /// The best compression, with the default limits.
    pub fn new() -> Self {
        Self {
            level: 9,
            limits: ExpansionLimits::new(),
        }
    }

    /// Sets how hard to try: from 0, not at all, to 9, which is the default.
    ///
    /// # Panics
    ///
    /// If `level` is above 9.
    pub fn level(mut self, level: u32) -> Self {
        assert!(level <= 9, "a level is at most 9");
        self.level = level;
        self
    }

    /// Sets how much may come out.
    pub fn limits(mut self, limits: ExpansionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Messages on a stream as one zlib stream each, one right after another, with no other frame
    /// round them.
    pub fn framing<M: MessageCodec>(self, inner: M) -> Framed<ZlibFraming, M> {
        ZlibFraming::new(self).with(inner)
    }

    /// Appends `data` as one zlib stream, a block at a time.
    fn deflate(&self, data: &[u8], mut put: impl FnMut(&[u8])) -> Result<(), EncodeError> {
        let mut deflater = Deflater::new(Compression::new(self.level), true);
        let mut block = [0; BLOCK];
        loop {
            let (read, written) = (deflater.total_in(), deflater.total_out());
            let status = deflater
                .compress(&data[read as usize..], &mut block, FlushCompress::Finish)
                .map_err(|error| EncodeError::new(EncodeErrorKind::Value).with_source(error))?;
            put(&block[..(deflater.total_out() - written) as usize]);
            if let Status::StreamEnd = status {
                return Ok(());
            }
        }
    }
}

impl Default for Zlib {
    fn default() -> Self {
        Self::new()
    }
}

/// How far [`inflate`] got.
enum Inflated {
    /// All of the input is used, and all that can come out of it is out.
    Partial,
    /// The end marker was found.
    Whole,
}

/// Feeds `data` to `inflater` until it wants more or has found its end.
fn inflate(
    inflater: &mut Inflater,
    data: &[u8],
    out: &mut Expansion,
) -> Result<Inflated, DecodeError> {
    let mut block = [0; BLOCK];
    let start = inflater.total_in();
    loop {
        let (read, written) = (inflater.total_in(), inflater.total_out());
        let rest = &data[(read - start) as usize..];
        let status = inflater
            .decompress(rest, &mut block, FlushDecompress::None)
            .map_err(|_| DecodeError::new(DecodeErrorKind::Inflate))?;
        let produced = (inflater.total_out() - written) as usize;
        out.put(&block[..produced])?;
        match status {
            Status::StreamEnd => return Ok(Inflated::Whole),
            // No progress: there is nothing more to be had from this input.
            _ if produced == 0 && inflater.total_in() == read => return Ok(Inflated::Partial),
            Status::Ok | Status::BufError => {}
        }
    }
}

impl Compress for Zlib {
    fn compress(&self, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        self.deflate(data, |block| out.extend_from_slice(block))
    }

    fn expand(&self, data: &[u8], out: &mut Expansion) -> Result<(), DecodeError> {
        let mut inflater = Inflater::new(true);
        match inflate(&mut inflater, data, out)? {
            Inflated::Partial => Err(DecodeError::new(DecodeErrorKind::Inflate)
                .with_message("the end marker is missing")),
            Inflated::Whole => match data.len() - inflater.total_in() as usize {
                0 => Ok(()),
                extra => Err(DecodeError::new(DecodeErrorKind::Trailing { extra })),
            },
        }
    }

    fn expansion_limits(&self) -> ExpansionLimits {
        self.limits
    }
}
