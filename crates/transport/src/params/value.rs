//! A value of one of the types that there are.

use std::fmt;
use std::time::Duration;

use super::{KeySpec, ParamError, ParamType};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(u64),
    Flag(bool),
    Size(u64),
    Duration(Duration),
    List(Vec<String>),
    Mode(u32),
}

impl Value {
    /// What `text` says of a key, which or whose variable is called `name`.
    pub(super) fn read(name: &str, spec: &KeySpec, text: &str) -> Result<Self, ParamError> {
        let of = spec.of();
        let value = match of {
            ParamType::Text => Some(Self::Text(text.to_owned())),
            ParamType::Integer => whole(text).map(Self::Integer),
            ParamType::Flag => flag(text).map(Self::Flag),
            ParamType::Size => size(text).map(Self::Size),
            ParamType::Duration => duration(text).map(Self::Duration),
            ParamType::List => list(text).map(Self::List),
            ParamType::Mode => mode(text).map(Self::Mode),
        };
        let value = value.ok_or_else(|| ParamError::unreadable(name, of))?;
        match (spec.range(), &value) {
            (Some(range), value) if !value.is_within(range) => {
                Err(ParamError::out_of_range(name, of, range))
            }
            _ => Ok(value),
        }
    }

    fn is_within(&self, (least, most): (u64, u64)) -> bool {
        match self {
            Self::Integer(number) | Self::Size(number) => (least..=most).contains(number),
            Self::Duration(span) => {
                let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
                (least..=most).contains(span)
            }
            Self::Text(_) | Self::Flag(_) | Self::List(_) | Self::Mode(_) => true,
        }
    }

    pub(super) fn of(&self) -> ParamType {
        match self {
            Self::Text(_) => ParamType::Text,
            Self::Integer(_) => ParamType::Integer,
            Self::Flag(_) => ParamType::Flag,
            Self::Size(_) => ParamType::Size,
            Self::Duration(_) => ParamType::Duration,
            Self::List(_) => ParamType::List,
            Self::Mode(_) => ParamType::Mode,
        }
    }
}

/// Digits and nothing else.
fn whole(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Octal digits and nothing else.
fn mode(text: &str) -> Option<u32> {
    whole(text)?;
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o777)
}

fn flag(text: &str) -> Option<bool> {
    match &text.to_ascii_lowercase()[..] {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// The number in front of a unit, and the unit.
fn with_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    Some((whole(number)?, unit))
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = with_unit(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = with_unit(text)?;
    match unit {
        "ns" => Some(Duration::from_nanos(number)),
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "min" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        _ => None,
    }
}

/// No words at all, or words of which none is empty.
fn list(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let words: Vec<String> = text.split(',').map(str::to_owned).collect();
    words.iter().all(|word| !word.is_empty()).then_some(words)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) | Self::Size(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Duration(duration) => match duration.subsec_nanos() {
                0 => write!(f, "{}s", duration.as_secs()),
                nanos if nanos % 1_000_000 == 0 => write!(f, "{}ms", duration.as_millis()),
                nanos if nanos % 1_000 == 0 => write!(f, "{}us", duration.as_micros()),
                _ => write!(f, "{}ns", duration.as_nanos()),
            },
            Self::List(words) => f.write_str(&words.join(",")),
            Self::Mode(mode) => write!(f, "{mode:04o}"),
        }
    }
}
