//! zlib, in one frame or finding its own end.

pub(crate) mod framing;

use bytes::{BufMut, BytesMut};
use flate2::{Compress as Deflater, Compression, Decompress as Inflater};
use flate2::{FlushCompress, FlushDecompress, Status};

use framing::ZlibFraming;

use crate::framing::work;
use crate::{
    Compress, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Expansion,
    ExpansionLimits, Framed, Framing, MessageCodec,
};

/// Compresses a message with zlib, RFC 1950, at level 9 unless [`level`](Self::level).
///
/// A frame without its end marker, or with a wrong checksum, is
/// [`Inflate`](DecodeErrorKind::Inflate), one with bytes after the marker is
/// [`Trailing`](DecodeErrorKind::Trailing), and one that expands beyond the
/// [limits](Self::within) is [`Expansion`](DecodeErrorKind::Expansion), found within 16 KiB of
/// the limit. Data that would be deflated further than that lets it be inflated again is deflated
/// less, by storing the front of it: what is at most [`max_output`](ExpansionLimits::max_output) long
/// is read by whoever has the same limits.
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
    pub fn within(mut self, limits: ExpansionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Messages on a stream as one zlib stream each, one right after another, with no other frame
    /// round them. [`ZlibFraming::new`] has more to set.
    pub fn framing<M: MessageCodec>(self, inner: M) -> Framed<ZlibFraming, M> {
        ZlibFraming::new(self).with(inner)
    }

    /// Appends `data` as one zlib stream.
    fn deflate(&self, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        self.deflate_by(Deflater::new(Compression::new(self.level), true), data, out)
    }

    /// The same, of which so much is stored as it is, in front, that no part of the stream expands
    /// more than the limits allow.
    fn deflate_less(&self, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        /// A window of 32 KiB, and how hard it was tried: not at all.
        const HEADER: [u8; 2] = [0x78, 0x01];
        const MOST_STORED: usize = u16::MAX as usize;
        let (front, rest) = data.split_at(self.limits.enough_for(data.len()));
        out.extend_from_slice(&HEADER);
        for stored in front.chunks(MOST_STORED) {
            let len = stored.len() as u16;
            out.put_u8(0); // not the last block, stored, and up to the next byte
            out.put_u16_le(len);
            out.put_u16_le(!len);
            out.extend_from_slice(stored);
        }
        self.deflate_by(
            Deflater::new(Compression::new(self.level), false),
            rest,
            out,
        )?;
        out.put_u32(adler32(data));
        Ok(())
    }

    /// Appends what `deflater` makes of `data`, a block at a time.
    fn deflate_by(
        &self,
        mut deflater: Deflater,
        data: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let mut block = [0; BLOCK];
        loop {
            let (read, written) = (deflater.total_in(), deflater.total_out());
            let status = deflater
                .compress(&data[read as usize..], &mut block, FlushCompress::Finish)
                .map_err(|error| EncodeError::new(EncodeErrorKind::Value).with_source(error))?;
            out.extend_from_slice(&block[..(deflater.total_out() - written) as usize]);
            if let Status::StreamEnd = status {
                return Ok(());
            }
        }
    }
}

/// The checksum at the end of a zlib stream, of all that comes out of it.
fn adler32(data: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    /// So many sums of sums stay below 2^32.
    const RUN: usize = 5552;
    let (mut sum, mut sums) = (1, 0);
    for run in data.chunks(RUN) {
        for byte in run {
            sum += u32::from(*byte);
            sums += sum;
        }
        sum %= MODULUS;
        sums %= MODULUS;
    }
    sums << 16 | sum
}

impl Default for Zlib {
    fn default() -> Self {
        Self::new()
    }
}

/// How far [`Inflating::feed`] got.
enum Inflated {
    /// All of the input is used, and all that can come out of it is out.
    Partial,
    /// The end marker was found.
    Whole,
}

/// One stream that is being inflated.
struct Inflating {
    inflater: Inflater,
    /// Where it inflates to; kept, as it may be fed in single bytes.
    block: Box<[u8; BLOCK]>,
}

impl Inflating {
    fn new() -> Self {
        work::looked_at(BLOCK);
        Self {
            inflater: Inflater::new(true),
            block: Box::new([0; BLOCK]),
        }
    }

    /// How much of the stream was used.
    fn used(&self) -> usize {
        self.inflater.total_in() as usize
    }

    /// Inflates `data` until there is no more of it or its end is found.
    fn feed(&mut self, data: &[u8], out: &mut Expansion) -> Result<Inflated, DecodeError> {
        let start = self.inflater.total_in();
        loop {
            let (read, written) = (self.inflater.total_in(), self.inflater.total_out());
            let rest = &data[(read - start) as usize..];
            let status = self
                .inflater
                .decompress(rest, &mut self.block[..], FlushDecompress::None)
                .map_err(|_| DecodeError::new(DecodeErrorKind::Inflate))?;
            let produced = (self.inflater.total_out() - written) as usize;
            out.put(&self.block[..produced])?;
            match status {
                Status::StreamEnd => return Ok(Inflated::Whole),
                // No progress: there is nothing more to be had from this input.
                _ if produced == 0 && self.inflater.total_in() == read => {
                    return Ok(Inflated::Partial);
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

impl Compress for Zlib {
    fn compress(&self, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        let before = out.len();
        self.deflate(data, out)?;
        if self.limits.check(data.len(), out.len() - before).is_err() {
            out.truncate(before);
            self.deflate_less(data, out)?;
        }
        Ok(())
    }

    fn expand(&self, data: &[u8], out: &mut Expansion) -> Result<(), DecodeError> {
        let mut inflating = Inflating::new();
        match inflating.feed(data, out)? {
            Inflated::Partial => Err(DecodeError::new(DecodeErrorKind::Inflate)
                .with_message("the end marker is missing")),
            Inflated::Whole => match data.len() - inflating.used() {
                0 => Ok(()),
                extra => Err(DecodeError::new(DecodeErrorKind::Trailing { extra })),
            },
        }
    }

    fn expansion_limits(&self) -> ExpansionLimits {
        self.limits
    }
}
