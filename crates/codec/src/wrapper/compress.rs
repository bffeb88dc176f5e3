//! Compression as a wrapper, and what bounds its undoing.

use bytes::{Bytes, BytesMut};

use crate::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Limits, Wrapper};

/// A way to compress the bytes of a message.
///
/// What implements this is a [`Wrapper`]. [`Zlib`](crate::Zlib) and [`Lz4`](crate::Lz4) do; another
/// one only has to put what it expands into the [`Expansion`], which is where a bomb ends.
///
/// A message that its own limits would refuse when it is expanded is
/// [`TooLong`](EncodeErrorKind::TooLong) to the wrapper and not sent. Data that is compressed further
/// than the ratio allows may be among it: `Zlib` and `Lz4` compress less of such data.
pub trait Compress: Send + Sync {
    /// Appends the compressed form of `data` to `out`. What an error leaves there is taken back.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if there is no such form.
    fn compress(&self, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError>;

    /// Puts into `out` what was compressed. Must use every byte of `data`.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind`] `Inflate` or `Trailing` if `data` is not the compressed form of
    /// anything, and whatever `out` refuses with.
    fn expand(&self, data: &[u8], out: &mut Expansion) -> Result<(), DecodeError>;

    /// How much may come out; see [`ExpansionLimits`] for the defaults.
    fn expansion_limits(&self) -> ExpansionLimits {
        ExpansionLimits::new()
    }
}

impl<C: Compress> Wrapper for C {
    fn wrap(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        let limits = self.expansion_limits();
        // Known before any work: no compressed form is long enough for more.
        limits.check(payload.len(), usize::MAX)?;
        let before = out.len();
        self.compress(payload, out)?;
        let checked = limits.check(payload.len(), out.len() - before);
        if checked.is_err() {
            out.truncate(before);
        }
        checked
    }

    fn unwrap(&self, frame: &Bytes) -> Result<Bytes, DecodeError> {
        let mut out = Expansion::new(self.expansion_limits().cap(frame.len()));
        self.expand(frame, &mut out)?;
        Ok(out.data.into())
    }

    fn unwrap_limits(&self) -> Limits {
        self.expansion_limits().limits()
    }
}

/// How much may come out of compressed data.
///
/// | limit | default | set by |
/// |---|---|---|
/// | bytes of output | 1 MiB | [`max_output`](Self::max_output) |
/// | output by input, once output passes 64 KiB | 256 | [`max_ratio`](Self::max_ratio) |
#[derive(Clone, Copy, Debug)]
pub struct ExpansionLimits {
    max_output: usize,
    max_ratio: usize,
}

/// Output up to which the ratio does not matter.
const SMALL: usize = 64 * 1024;

impl ExpansionLimits {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            max_output: 1024 * 1024,
            max_ratio: 256,
        }
    }

    /// Sets the most bytes that may come out; 1 MiB by default.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn max_output(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "max_output must not be zero");
        self.max_output = bytes;
        self
    }

    /// Sets how many times as long as the compressed data its output may be, once it passes 64 KiB;
    /// 256 by default.
    ///
    /// # Panics
    ///
    /// If `times` is zero.
    pub fn max_ratio(mut self, times: usize) -> Self {
        assert!(times > 0, "max_ratio must not be zero");
        self.max_ratio = times;
        self
    }

    /// Refuses a payload of `actual` bytes of which `compressed` were made, if it could not be
    /// expanded again.
    pub(crate) fn check(&self, actual: usize, compressed: usize) -> Result<(), EncodeError> {
        match self.cap(compressed) {
            limit if actual > limit => {
                Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }))
            }
            _ => Ok(()),
        }
    }

    /// These, as what a codec tells of itself.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_output: Some(self.max_output),
            max_ratio: Some(self.max_ratio),
            ..Limits::default()
        }
    }

    /// The most that may come out of `input` bytes.
    pub(crate) fn cap(&self, input: usize) -> usize {
        self.max_output
            .min(input.saturating_mul(self.max_ratio).max(SMALL))
    }
}

#[cfg(feature = "zlib")]
impl ExpansionLimits {
    /// Whether `bytes` may come out of any number of bytes.
    pub(crate) fn is_small(&self, bytes: usize) -> bool {
        bytes <= self.cap(0)
    }

    /// How many bytes are enough for `bytes` to come out of them.
    pub(crate) fn enough_for(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.max_ratio)
    }
}

impl Default for ExpansionLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// What comes out of compressed data, up to its limit.
// Invariants
// E1 `data` never holds more than `cap` bytes, and is never made to have room for more.
#[derive(Debug)]
pub struct Expansion {
    data: Vec<u8>,
    cap: usize,
}

impl Expansion {
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            data: Vec::new(),
            cap,
        }
    }

    /// The most bytes that may be put.
    pub fn limit(&self) -> usize {
        self.cap
    }

    /// How many bytes were put.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether nothing was put.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::Expansion`] if that would be more than [`limit`](Self::limit). Nothing is
    /// appended then.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if bytes.len() > self.cap - self.data.len() {
            return Err(self.exceeded());
        }
        let needed = self.data.len() + bytes.len();
        if needed > self.data.capacity() {
            let room = needed.max(2 * self.data.capacity()).min(self.cap);
            self.data.reserve_exact(room - self.data.len());
        }
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn exceeded(&self) -> DecodeError {
        DecodeError::new(DecodeErrorKind::Expansion { limit: self.cap })
    }
}

#[cfg(feature = "zlib")]
impl Expansion {
    /// Raises the limit: more compressed data came.
    pub(crate) fn allow(&mut self, cap: usize) {
        self.cap = self.cap.max(cap);
    }

    /// All that was put.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.data).into()
    }
}

#[cfg(feature = "lz4")]
impl Expansion {
    /// Lets `fill` write `bytes` bytes at once, in the place of all that was put so far.
    pub(crate) fn fill<E>(
        &mut self,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Result<(), E>, DecodeError> {
        if bytes > self.cap {
            return Err(self.exceeded());
        }
        // What was there goes first: there is never room for both.
        self.data = Vec::new();
        self.data.resize(bytes, 0);
        Ok(fill(&mut self.data).map(|written| self.data.truncate(written)))
    }
}
