//! Names of methods: as declared in the source, and as they stand in a registry and on the wire.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::RegistryError;

/// The longest name, in bytes of UTF-8.
const MAX_BYTES: usize = 200;

/// A method's name in a registry and on the wire: 1 to 200 bytes, no control characters, no
/// leading or trailing dot.
///
/// A cheap clone; compares, orders and hashes as its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodName(Arc<str>);

impl MethodName {
    /// Checks `name` and makes a name of it.
    ///
    /// # Errors
    /// [`RegistryError::BadName`] says what is wrong with it; [`RegistryError::ReservedName`] for
    /// names that start with `sys.`.
    ///
    /// ```
    /// use bowline_rpc::{MethodName, RegistryError};
    /// assert_eq!(MethodName::new("shop.add").unwrap().as_str(), "shop.add");
    /// assert!(matches!(MethodName::new(".add"), Err(RegistryError::BadName { .. })));
    /// ```
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self, RegistryError> {
        let name = name.into();
        let why = if name.is_empty() {
            "is empty"
        } else if name.len() > MAX_BYTES {
            "is longer than 200 bytes"
        } else if name.chars().any(char::is_control) {
            "holds a control character"
        } else if name.starts_with('.') || name.ends_with('.') {
            "starts or ends with a dot"
        } else if name.starts_with("sys.") {
            return Err(RegistryError::ReservedName(name));
        } else {
            return Ok(Self(name));
        };
        Err(RegistryError::BadName { name, why })
    }

    /// A name of the library's own.
    pub(crate) fn reserved(name: &'static str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text itself.
    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl Deref for MethodName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for MethodName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for MethodName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for MethodName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for MethodName {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a declaration says about its name; the project and the registry's settings complete it.
///
/// A constant of every [`Call`](crate::Call), made by `#[bowline::rpc]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredName {
    explicit: Option<&'static str>,
    module: &'static str,
    function: &'static str,
    digest: &'static str,
    /// It is one of the library's own.
    reserved: bool,
}

impl DeclaredName {
    /// The name of a function `function` in the module `module` (as `module_path!()` writes it).
    ///
    /// `digest` is what a strict registry appends: 32 lower-case hex digits that stand for the
    /// function's tokens.
    pub const fn automatic(
        module: &'static str,
        function: &'static str,
        digest: &'static str,
    ) -> Self {
        Self {
            explicit: None,
            module,
            function,
            digest,
            reserved: false,
        }
    }

    /// A name that was chosen; neither project nor digest is added.
    pub const fn explicit(name: &'static str) -> Self {
        Self {
            explicit: Some(name),
            module: "",
            function: "",
            digest: "",
            reserved: false,
        }
    }

    /// The name of a method that every broker has.
    pub(crate) const fn reserved(name: &'static str) -> Self {
        Self {
            reserved: true,
            ..Self::explicit(name)
        }
    }

    /// The name that was chosen, if one was.
    pub const fn chosen(&self) -> Option<&'static str> {
        self.explicit
    }

    /// The full name in `project`, with the digest if `digest` says so.
    ///
    /// # Errors
    /// As [`MethodName::new`].
    pub(crate) fn complete(
        &self,
        project: &str,
        digest: Digest,
    ) -> Result<MethodName, RegistryError> {
        if let Some(name) = self.explicit {
            if self.reserved {
                return Ok(MethodName::reserved(name));
            }
            return MethodName::new(name);
        }
        let mut full = String::with_capacity(64);
        let digest = match digest {
            Digest::Appended => self.digest,
            Digest::LeftOut => "",
        };
        for part in [
            project,
            &self.module.replace("::", "."),
            self.function,
            digest,
        ] {
            if !part.is_empty() {
                if !full.is_empty() {
                    full.push('.');
                }
                full.push_str(part);
            }
        }
        MethodName::new(full)
    }
}

/// Whether automatic names end in the digest of their function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    Appended,
    LeftOut,
}
