//! What is wrong with a parameter.

use std::fmt;

use super::{KeySpec, ParamType};

/// Why a parameter is refused. It names the key and what could be there instead; it does not repeat
/// the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    name: String,
    kind: ParamErrorKind,
    keys: &'static [KeySpec],
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParamErrorKind {
    /// There is no such key.
    Unknown,
    /// It is set already.
    Repeated,
    /// What it is set to is not of this type.
    Unreadable(ParamType),
    /// What it is set to is of this type, and below the least or above the most that it may be, in the
    /// units of [`KeySpec::within`].
    OutOfRange {
        /// The type.
        of: ParamType,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A variable of the environment holds what is not UTF-8.
    NotText,
}

impl ParamError {
    pub(crate) fn unknown(name: &str, keys: &'static [KeySpec]) -> Self {
        let kind = ParamErrorKind::Unknown;
        Self {
            keys,
            ..Self::new(name, kind)
        }
    }

    pub(super) fn repeated(name: &str) -> Self {
        Self::new(name, ParamErrorKind::Repeated)
    }

    pub(super) fn unreadable(name: &str, of: ParamType) -> Self {
        Self::new(name, ParamErrorKind::Unreadable(of))
    }

    pub(super) fn out_of_range(name: &str, of: ParamType, (least, most): (u64, u64)) -> Self {
        Self::new(name, ParamErrorKind::OutOfRange { of, least, most })
    }

    pub(super) fn not_text(name: &str) -> Self {
        Self::new(name, ParamErrorKind::NotText)
    }

    fn new(name: &str, kind: ParamErrorKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            keys: &[],
        }
    }

    /// The key, or the variable of the environment.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong.
    pub fn kind(&self) -> ParamErrorKind {
        self.kind
    }

    /// The keys that there are, if there is none of that name.
    pub fn allowed(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(KeySpec::name)
    }
}

impl std::error::Error for ParamError {}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever came from outside is shown as it would be in source text, and not too much of it.
        let shown: String = self.name.chars().take(64).collect();
        let name = shown.escape_debug();
        match self.kind {
            ParamErrorKind::Unknown => {
                let allowed: Vec<&str> = self.allowed().collect();
                match &allowed[..] {
                    [] => write!(f, "there is no key `{name}`, nor any other"),
                    _ => write!(
                        f,
                        "there is no key `{name}`; there are {}",
                        allowed.join(", ")
                    ),
                }
            }
            ParamErrorKind::Repeated => write!(f, "`{name}` is there twice"),
            ParamErrorKind::Unreadable(of) => write!(f, "`{name}` has to be {of}"),
            ParamErrorKind::OutOfRange { of, least, most } => {
                let (least, most) = (Bound(of, least), Bound(of, most));
                write!(f, "`{name}` has to be from {least} to {most}")
            }
            ParamErrorKind::NotText => write!(f, "`{name}` is not UTF-8"),
        }
    }
}

/// One end of a range, as it would be written.
struct Bound(ParamType, u64);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A unit, and how many of the one before it make one.
        type Units = &'static [(&'static str, u64)];
        let units: Units = match self.0 {
            ParamType::Size => &[("B", 1), ("KiB", 1024), ("MiB", 1024), ("GiB", 1024)],
            ParamType::Duration => &[("ms", 1), ("s", 1000), ("min", 60), ("h", 60)],
            _ => &[("", 1)],
        };
        let (mut number, mut unit) = (self.1, "");
        for (larger, times) in units {
            if !number.is_multiple_of(*times) || (number == 0 && !unit.is_empty()) {
                break;
            }
            (number, unit) = (number / times, larger);
        }
        write!(f, "{number}{unit}")
    }
}
