//! JSON byte for byte as Python's `json` module writes it.

// serde_json's trait of formatters is written in terms of this; nothing here does any input or
// output.
use std::io::Write;

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::ser::Formatter;

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
    let mut serializer = serde_json::Serializer::with_formatter(out.writer(), python);
    value.serialize(&mut serializer)
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
        write_float(writer, format!("{value:e}"))
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> Written {
        write_float(writer, format!("{value:e}"))
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> Written {
        let keeps =
            |character: char| self.alphabet == Alphabet::Utf8 || matches!(character, ' '..='~');
        let mut rest = fragment;
        while let Some(at) = rest.find(|character| !keeps(character)) {
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
