//! Messages as base64 text, with a checksum or a signature inside.

pub(crate) mod key;

use bytes::{Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use key::Key;

use crate::base64::Alphabet;
use crate::{DecodeError, DecodeErrorKind, EncodeError, Wrapper};

/// Wraps a message as padded base64 text, URL-safe unless [`standard`](Self::standard).
///
/// [`checksum`](Self::checksum) appends the SHA-256 of the message before encoding,
/// [`signed`](Self::signed) its HMAC-SHA-256 under a key. Whatever is wrong with a token,
/// characters, padding, length or tag, is [`Integrity`](DecodeErrorKind::Integrity), and nothing
/// reaches the codec inside before all of it is right. Only the one form that encoding gives is
/// accepted.
///
/// On a stream the text is mostly behind [`Lines::crlf`](crate::Lines::crlf).
///
/// # Examples
///
/// ```
/// use bowline_codec::{Base64, Key, MessageCodec, Raw};
/// use bytes::{Bytes, BytesMut};
///
/// let codec = Raw::new().wrap(Base64::new().signed(Key::from_entropy([7; 32])));
/// let mut token = BytesMut::new();
/// codec.encode(&Bytes::from_static(b"pay 5"), &mut token)?;
/// assert!(token.starts_with(b"cGF5ID"));
/// assert_eq!(codec.decode(&token.clone().freeze())?, "pay 5");
/// token[6] ^= 1;
/// assert!(codec.decode(&token.freeze()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Base64 {
    alphabet: Alphabet,
    tag: Tag,
}

#[derive(Clone, Debug)]
enum Tag {
    None,
    Checksum,
    Signature(Key),
}

/// Bytes of either kind of tag.
const TAG: usize = 32;

impl Base64 {
    /// Text without a tag.
    pub fn new() -> Self {
        Self {
            alphabet: Alphabet::UrlSafe,
            tag: Tag::None,
        }
    }

    /// Uses `+` and `/` instead of the URL-safe `-` and `_`.
    pub fn standard(mut self) -> Self {
        self.alphabet = Alphabet::Standard;
        self
    }

    /// Appends the SHA-256 of the message: finds damage, not forgery.
    pub fn checksum(mut self) -> Self {
        self.tag = Tag::Checksum;
        self
    }

    /// Appends the HMAC-SHA-256 of the message under `key`: who has no key can make no token.
    ///
    /// A token can still be sent twice: what must not happen twice has to say so itself.
    pub fn signed(mut self, key: Key) -> Self {
        self.tag = Tag::Signature(key);
        self
    }

    /// The tag of `data`, if there is to be one.
    fn tag_of(&self, data: &[u8]) -> Option<[u8; TAG]> {
        match &self.tag {
            Tag::None => None,
            Tag::Checksum => Some(Sha256::digest(data).into()),
            Tag::Signature(key) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes())
                    .expect("HMAC takes a key of any length");
                mac.update(data);
                Some(mac.finalize().into_bytes().into())
            }
        }
    }

    /// The message in `token`, if all of it is right.
    fn open(&self, token: &[u8]) -> Option<Vec<u8>> {
        let mut data = self.alphabet.decode(token)?;
        if let Tag::None = self.tag {
            return Some(data);
        }
        let len = data.len().checked_sub(TAG)?;
        let expected = self.tag_of(&data[..len])?;
        if bool::from(expected.ct_eq(&data[len..])) {
            data.truncate(len);
            Some(data)
        } else {
            None
        }
    }
}

impl Default for Base64 {
    fn default() -> Self {
        Self::new()
    }
}

impl Wrapper for Base64 {
    fn wrap(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        match self.tag_of(payload) {
            None => self.alphabet.encode(payload, out),
            Some(tag) => self.alphabet.encode(&[payload, &tag].concat(), out),
        }
        Ok(())
    }

    fn unwrap(&self, frame: &Bytes) -> Result<Bytes, DecodeError> {
        match self.open(frame) {
            Some(data) => Ok(data.into()),
            None => Err(DecodeError::new(DecodeErrorKind::Integrity)),
        }
    }
}
