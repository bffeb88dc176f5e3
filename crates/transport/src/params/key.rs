//! What a transport can be told.

use std::fmt;

/// One key of a transport: its name and the type of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    name: &'static str,
    of: ParamType,
    range: Option<(u64, u64)>,
}

impl KeySpec {
    /// A key. By custom names are in lower case, with underscores.
    pub const fn new(name: &'static str, of: ParamType) -> Self {
        Self {
            name,
            of,
            range: None,
        }
    }

    /// Takes nothing below `least` nor above `most`: of numbers as they are, of sizes in bytes, of
    /// durations in milliseconds. Values of other types have no range.
    #[must_use = "this returns the changed key"]
    pub const fn within(mut self, least: u64, most: u64) -> Self {
        self.range = Some((least, most));
        self
    }

    /// The least and the most that it takes, if that is limited.
    pub const fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The type of its values.
    pub const fn of(&self) -> ParamType {
        self.of
    }
}

/// The type of a parameter, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParamType {
    /// Anything.
    Text,
    /// Digits: `100`.
    Integer,
    /// `true`, `yes`, `on` or `1`; `false`, `no`, `off` or `0`.
    Flag,
    /// Bytes: `4096`, or with one of the units `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`.
    Size,
    /// A whole number with one of the units `ns`, `us`, `ms`, `s`, `min`, `h`: `250ms`.
    Duration,
    /// Words between commas: `h2,http/1.1`.
    List,
    /// Permissions of a file, in octal digits up to `777`: `0660`.
    Mode,
}

impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Integer => "a whole number, such as `100`",
            Self::Flag => "`true` or `false`",
            Self::Size => "a size, such as `64KiB`",
            Self::Duration => "a duration, such as `250ms`",
            Self::List => "words between commas",
            Self::Mode => "permissions in octal digits, such as `0660`",
        })
    }
}
