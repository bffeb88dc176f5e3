//! JSON byte for byte as Python's `json` module writes it.

// serde_json's trait of formatters is written in terms of this; nothing here does any input or
// output.
use std::io::Write;

use bytes::BytesMut;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

type Written = std::io::Result<()>;

/// Where Python puts space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// `separators=(",", ":")`.
    Compact,
    /// Its default: after each comma and each colon.
    Spaced,
}

/// What Python leaves as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// `ensure_ascii=False`.
    Utf8,
    /// Its default: everything outside `20..7E` is escaped.
    Ascii,
}

/// Appends `value` to `out`; what was appended is left there if it fails.
pub(crate) fn write<T: Serialize + ?Sized>(
    value: &T,
    spacing: Spacing,
    alphabet: Alphabet,
    out: &mut BytesMut,
) -> Result<(), serde_json::Error> {
    let python = Python { spacing, alphabet };
    let mut serializer = serde_json::Serializer::with_formatter(Appending(out), python);
    value.serialize(&mut serializer)
}

/// There is always room, which `bytes`' own writer asks for at every piece, as short as they are.
pub(super) struct Appending<'a>(pub(super) &'a mut BytesMut);

impl Write for Appending<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> Written {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Written {
        Ok(())
    }
}

struct Python {
    spacing: Spacing,
    alphabet: Alphabet,
}

impl Python {
    fn comma<W: ?Sized + Write>(&self, writer: &mut W) -> Written {
        match self.spacing {
            Spacing::Compact => writer.write_all(b","),
            Spacing::Spaced => writer.write_all(b", "),
        }
    }
}

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Written {
        if first { Ok(()) } else { self.comma(writer) }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Written {
        if first { Ok(()) } else { self.comma(writer) }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Written {
        match self.spacing {
            Spacing::Compact => writer.write_all(b":"),
            Spacing::Spaced => writer.write_all(b": "),
        }
    }

    fn write_f32<W: ?Sized + Write>(&mut self, writer: &mut W, value: f32) -> Written {
        if is_plain(value.into(), 1e12) {
            CompactFormatter.write_f32(writer, value)
        } else {
            write_float(writer, format!("{value:e}"))
        }
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> Written {
        if is_plain(value, 1e16) {
            CompactFormatter.write_f64(writer, value)
        } else {
            write_float(writer, format!("{value:e}"))
        }
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> Written {
        let keeps = |byte: u8| self.alphabet == Alphabet::Utf8 || matches!(byte, b' '..=b'~');
        let mut rest = fragment;
        // Whatever is not kept begins with a byte that is not.
        while let Some(at) = rest.bytes().position(|byte| !keeps(byte)) {
            let (kept, after) = rest.split_at(at);
            writer.write_all(kept.as_bytes())?;
            let mut characters = after.chars();
            if let Some(character) = characters.next() {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Whether Python writes a finite float as serde_json does: the shortest digits, with a point and
/// without an exponent. From `end` on serde_json may have one.
fn is_plain(value: f64, end: f64) -> bool {
    value == 0.0 || (1e-4..end).contains(&value.abs())
}

/// Writes a finite float as Python's `repr`, given its shortest digits as `d.ddde-x`.
///
/// Python writes an exponent from 1e16 on and below 1e-4, with a sign and at least two digits, and
/// otherwise always a point.
fn write_float<W: ?Sized + Write>(writer: &mut W, scientific: String) -> Written {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(positive) => ("-", positive),
        None => ("", mantissa),
    };
    if !(-4..16).contains(&exponent) {
        return write!(writer, "{sign}{mantissa}e{exponent:+03}");
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    match usize::try_from(exponent) {
        Err(_) => {
            let zeros = exponent.unsigned_abs() as usize;
            write!(writer, "{sign}0.{}{digits}", "0".repeat(zeros - 1))
        }
        Ok(exponent) if digits.len() > exponent + 1 => {
            let (whole, fraction) = digits.split_at(exponent + 1);
            write!(writer, "{sign}{whole}.{fraction}")
        }
        Ok(exponent) => write!(writer, "{sign}{digits:0<width$}.0", width = exponent + 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: &impl Serialize) -> String {
        let mut out = BytesMut::new();
        write(value, Spacing::Compact, Alphabet::Utf8, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn by_digits(scientific: String) -> String {
        let mut out = Vec::new();
        write_float(&mut out, scientific).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Floats about the ends of what is plain, and anywhere.
    fn floats() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("JSON has no others", |value| value.is_finite()),
            (-30..30i32, 1..100_000u32)
                .prop_map(|(scale, digits)| { f64::from(digits) * 10f64.powi(scale) }),
            (any::<bool>(), -4i64..4).prop_map(|(small, steps)| {
                let edge: f64 = if small { 1e-4 } else { 1e16 };
                f64::from_bits(edge.to_bits().wrapping_add_signed(steps))
            }),
            Just(0.0),
            Just(-0.0),
        ]
    }

    proptest! {
        // M1
        #[test]
        fn plain_floats_are_written_as_python_would(value in floats()) {
            prop_assert_eq!(text(&value), by_digits(format!("{value:e}")));
            prop_assert_eq!(serde_json::from_str::<f64>(&text(&value)).unwrap(), value);
        }

        // M1
        #[test]
        fn so_are_short_ones(value in floats()) {
            let value = value as f32;
            prop_assume!(value.is_finite());
            prop_assert_eq!(text(&value), by_digits(format!("{value:e}")));
        }
    }
}
