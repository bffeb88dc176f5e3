//! Bytes by their digits: RFC 3986, section 2.1.

use std::fmt;

use super::{UrlError, UrlErrorKind};

/// The text that `part`, which starts at byte `start` of the URL, stands for. It may have no
/// character that is `foreign` to it, written out or escaped.
pub(super) fn unescape(
    part: &str,
    start: usize,
    foreign: impl Fn(char) -> bool,
) -> Result<String, UrlError> {
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
    let written = |index| start + written_at(part, index);
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        UrlErrorKind::Utf8.at(written(valid))
    })?;
    match text.find(foreign) {
        Some(at) => Err(UrlErrorKind::Character.at(written(at))),
        None => Ok(text),
    }
}

/// Where in `part` the byte is written that comes out at `index`.
fn written_at(part: &str, index: usize) -> usize {
    let step = |at: usize| match part.as_bytes().get(at) {
        Some(b'%') => at + 3,
        _ => at + 1,
    };
    (0..index).fold(0, |at, _| step(at))
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
