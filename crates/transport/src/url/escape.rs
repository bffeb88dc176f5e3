//! Bytes by their digits: RFC 3986, section 2.1.

use std::fmt;

use super::{UrlError, UrlErrorKind};

/// The text that `part`, which starts at byte `start` of the URL, stands for.
pub(super) fn unescape(part: &str, start: usize) -> Result<String, UrlError> {
    if !part.contains('%') {
        return Ok(part.to_owned());
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let at = start + part.len() - after.len() - 1;
        let wrong = UrlErrorKind::Escape.at(at);
        let [high, low, after @ ..] = after else {
            return Err(wrong);
        };
        let digits = digit(*high).zip(digit(*low));
        let (high, low) = digits.ok_or(wrong)?;
        bytes.push(high << 4 | low);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| UrlErrorKind::Utf8.at(start))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Text in which everything but letters, digits, `-._~` and `kept` is escaped.
pub(super) struct Escaped<'a> {
    text: &'a str,
    kept: &'static [u8],
}

impl<'a> Escaped<'a> {
    pub(super) fn new(text: &'a str, kept: &'static [u8]) -> Self {
        Self { text, kept }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || self.kept.contains(&byte)
            {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}
