//! The trait of everything that takes items out of a byte stream.

use bytes::BytesMut;

use crate::{DecodeError, Limits};

/// Takes items out of a stream of bytes.
///
/// The caller appends whatever arrived to `src` and calls [`decode`](Self::decode) until it gives
/// `Ok(None)`; after the peer ended, it calls [`decode_end`](Self::decode_end) the same way.
///
/// # Laws
///
/// * **Cut invariance**: for every input and every way of cutting it, the sequence of items and
///   errors, with [`offset`](DecodeError::offset) and [`skipped`](DecodeError::skipped), is the
///   same. Decisions depend on byte positions, never on what happens to be in the buffer.
/// * **Sum**: after each event, the bytes of the items, of their framing and of
///   [`skipped`](DecodeError::skipped) are exactly the bytes taken.
/// * **Totality**: any bytes in any state give an answer, in work linear in the bytes fed, without
///   a panic and without unbounded memory.
/// * **Fatal is final**: after an error that is not
///   [recoverable](DecodeError::is_recoverable), every later call returns that error without
///   looking at its input, which stays where it is.
pub trait Decode {
    /// What comes out.
    type Item;

    /// Takes at most one item from the front of `src`.
    ///
    /// `Ok(Some(_))` used up exactly one item. `Ok(None)` means *partial*: more bytes are wanted,
    /// which is not an error. The bytes of a partial item stay in `src`, except while a decoder
    /// discards them; no byte is searched twice.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the bytes are not what the codec accepts; if it
    /// [is recoverable](DecodeError::is_recoverable), the next call goes on with the next item.
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Self::Item>, DecodeError>;

    /// As [`decode`](Self::decode), knowing that no further bytes will come.
    ///
    /// Unless overridden: the items left in `src`, then `Ok(None)` if nothing is left over.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode), and a fatal
    /// [`Truncated`](crate::DecodeErrorKind::Truncated) if the input ends inside an item.
    fn decode_end(&mut self, src: &mut BytesMut) -> Result<Option<Self::Item>, DecodeError> {
        match self.decode(src)? {
            Some(item) => Ok(Some(item)),
            None if src.is_empty() => Ok(None),
            None => Err(DecodeError::truncated(
                src.len(),
                src.len().saturating_add(self.need()),
            )),
        }
    }

    /// Whether input that ended now would end inside an item, given what the last `Ok(None)` of
    /// [`decode`](Self::decode) left in `src`: bytes of one have come, and not all of them.
    ///
    /// It is so exactly where [`decode_end`](Self::decode_end) would not say `Ok(None)`. What only
    /// stands between items (the space around JSON documents, zeros of [`Cobs`](crate::Cobs)) begins
    /// none, so a peer that has sent nothing else owes nothing; one that owes the rest of an item can
    /// be given a time for it.
    ///
    /// Unless overridden: whether anything is left in `src`. A decoder that takes bytes of a partial
    /// item out of there, or leaves what is none in it, knows better.
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_codec::{Decode, JsonFraming};
    /// use bytes::BytesMut;
    ///
    /// let mut documents = JsonFraming::new();
    /// let mut input = BytesMut::from("12\n");
    /// assert_eq!(documents.decode(&mut input)?.unwrap(), "12");
    /// assert_eq!(documents.decode(&mut input)?, None);
    /// assert!(!documents.in_frame(&input)); // the newline is the end of the last one
    /// input.extend_from_slice(b"[1");
    /// assert_eq!(documents.decode(&mut input)?, None);
    /// assert!(documents.in_frame(&input));
    /// # Ok::<(), bowline_codec::DecodeError>(())
    /// ```
    fn in_frame(&self, src: &[u8]) -> bool {
        !src.is_empty()
    }

    /// How many bytes at the beginning of `src`, where no item has begun, only stand between items:
    /// whoever measures an item leaves them out, whether they come with it or before. None, unless
    /// overridden.
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_codec::{Cobs, Decode, JsonFraming};
    ///
    /// assert_eq!(JsonFraming::new().padding(b" \n[1]"), 2);
    /// assert_eq!(Cobs::new().padding(&[0, 0, 2, 7, 0]), 2);
    /// ```
    fn padding(&self, _src: &[u8]) -> usize {
        0
    }

    /// What it takes at most. None, unless overridden.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Fewest further bytes that can change the answer of the last `Ok(None)`; at least 1.
    ///
    /// A hint for how much to read: it may be as large as the largest frame the codec accepts, and
    /// was said by the peer, so it must never become an allocation on its own. Reserve no more
    /// than `max(16 KiB, 2 x bytes received of this frame)` for it.
    fn need(&self) -> usize;
}
