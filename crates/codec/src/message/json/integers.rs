//! Integers of more than 64 bits, which serde_json makes floats.

use std::collections::BTreeSet;

/// Digits of the shortest integer that has too many bits: 2^63, if it is negative.
const FEWEST_DIGITS: usize = 19;

/// Where the first integer of `text` begins that has more than 64 bits and became one of `floats`,
/// which are given by their bits. `text` is JSON.
pub(crate) fn rounded(text: &str, floats: &BTreeSet<u64>) -> Option<usize> {
    if floats.is_empty() {
        return None;
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = after_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let rest = &text[at..];
                let number = &rest[..rest.find(is_after_number).unwrap_or(rest.len())];
                if number.len() >= FEWEST_DIGITS && is_rounded(number, floats) {
                    return Some(at);
                }
                at += number.len();
            }
            _ => at += 1,
        }
    }
    None
}

fn is_after_number(character: char) -> bool {
    !matches!(character, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')
}

fn is_rounded(number: &str, floats: &BTreeSet<u64>) -> bool {
    let fits = number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    let is_integer = !number.contains(['.', 'e', 'E']);
    let float = number.parse().map(f64::to_bits);
    is_integer && !fits && float.is_ok_and(|float| floats.contains(&float))
}

/// What comes after the string that begins at `start`.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
            // Of an escape, the byte after the backslash is no end.
            Some(found) if bytes[at + found] == b'\\' => at += found + 2,
            Some(found) => return at + found + 1,
            None => return bytes.len(),
        }
    }
}

/// Line and column of a place in `text`, both from 1.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at];
    let lines = memchr::memchr_iter(b'\n', before).count();
    let line = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (lines + 1, at - line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_integer_that_became_such_a_float_is_found() {
        let floats: BTreeSet<u64> = [1e20, -1e19, 1e300].map(f64::to_bits).into();
        for (text, found) in [
            ("100000000000000000000", Some(0)),
            ("[\n 1, -10000000000000000000]", Some(6)),
            ("100000000000000000001", Some(0)),
            ("200000000000000000000", None),
            ("[1e20, 100000000000000000000.0, 1e300]", None),
            ("[18446744073709551615, -9223372036854775808]", None),
            (
                r#"{"\"100000000000000000000": "100000000000000000000\\\""}"#,
                None,
            ),
            (r#"{"a": "b\\", "c": 100000000000000000000}"#, Some(18)),
        ] {
            assert_eq!(rounded(text, &floats), found, "{text}");
        }
        assert_eq!((place("ab", 1), place("a\nb\ncd", 5)), ((1, 2), (3, 2)));
    }
}
