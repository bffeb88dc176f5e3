//! Parameters of transports by name, as configurations and URLs have them.

mod error;
mod key;
mod value;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

pub use error::{ParamError, ParamErrorKind};
pub use key::{KeySpec, ParamType};

use value::Value;

/// Values of the keys that one transport has, each of the type that its key says.
///
/// A value is checked when it is set, so whoever reads a `Params` finds what can be used.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use bowline_transport::{KeySpec, ParamType, Params};
///
/// static KEYS: [KeySpec; 2] = [
///     KeySpec::new("connect_timeout", ParamType::Duration),
///     KeySpec::new("max_frame", ParamType::Size),
/// ];
///
/// let mut params = Params::new(&KEYS);
/// params.set("connect_timeout", "250ms")?;
/// params.set("max_frame", "64KiB")?;
/// assert_eq!(params.duration("connect_timeout"), Some(Duration::from_millis(250)));
/// assert_eq!(params.size("max_frame"), Some(65_536));
///
/// let error = params.set("max_fame", "1").unwrap_err();
/// assert_eq!(error.to_string(), "there is no key `max_fame`; there are connect_timeout, max_frame");
/// # Ok::<(), bowline_transport::ParamError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    keys: &'static [KeySpec],
    values: Vec<(&'static str, Value)>,
}

impl Params {
    /// None of `keys` set.
    pub fn new(keys: &'static [KeySpec]) -> Self {
        Self {
            keys,
            values: Vec::new(),
        }
    }

    /// Those of `keys` that `pairs` set, such as the [query](crate::Url::query) of a URL.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn of_pairs<'a>(
        keys: &'static [KeySpec],
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ParamError> {
        let mut params = Self::new(keys);
        for (key, value) in pairs {
            params.set(key, value)?;
        }
        Ok(params)
    }

    /// What `explicit` says, else the environment, else `defaults`.
    ///
    /// The variable of a key is `PREFIX_KEY`: the prefix, an underscore, the key in capitals. A
    /// variable is read and checked only where `explicit` has nothing. The keys are those of
    /// `explicit`; of others `defaults` may have values, which are left out.
    ///
    /// # Errors
    ///
    /// What a variable holds is not of the type of its key, out of its range, or not text; the error
    /// names the variable.
    pub fn layered(
        explicit: Params,
        env_prefix: &str,
        defaults: &Params,
    ) -> Result<Self, ParamError> {
        Self::layered_over(explicit, env_prefix, |name| env::var_os(name), defaults)
    }

    /// As [`layered`](Self::layered), over variables that `variable` looks up.
    ///
    /// # Errors
    ///
    /// As [`layered`](Self::layered).
    pub fn layered_over(
        mut explicit: Params,
        env_prefix: &str,
        variable: impl Fn(&str) -> Option<OsString>,
        defaults: &Params,
    ) -> Result<Self, ParamError> {
        for spec in explicit.keys {
            if explicit.value(spec.name()).is_some() {
                continue;
            }
            let name = format!("{env_prefix}_{}", spec.name().to_ascii_uppercase());
            if let Some(text) = variable(&name) {
                let text = text
                    .into_string()
                    .map_err(|_| ParamError::not_text(&name))?;
                let value = Value::read(&name, spec, &text)?;
                explicit.values.push((spec.name(), value));
            } else if let Some(default) = defaults.value(spec.name())
                && default.of() == spec.of()
            {
                explicit.values.push((spec.name(), default.clone()));
            }
        }
        Ok(explicit)
    }

    /// Sets `key`, once.
    ///
    /// # Errors
    ///
    /// There is no such key, it is set already, or `text` is not of its type or out of its range;
    /// nothing changed.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), ParamError> {
        let spec = self.keys.iter().find(|spec| spec.name() == key);
        let spec = spec.ok_or_else(|| ParamError::unknown(key, self.keys))?;
        if self.value(key).is_some() {
            return Err(ParamError::repeated(key));
        }
        let value = Value::read(key, spec, text)?;
        self.values.push((spec.name(), value));
        Ok(())
    }

    /// The keys there are.
    pub fn keys(&self) -> &'static [KeySpec] {
        self.keys
    }

    /// The names of the keys that are set, in the order in which they were.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(name, _)| *name)
    }

    /// The text that `key` is set to.
    ///
    /// # Panics
    ///
    /// If there is no such key, or it is of another type; so do the other readers.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.read(key, ParamType::Text)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number that `key` is set to.
    ///
    /// # Panics
    ///
    /// As [`text`](Self::text).
    pub fn integer(&self, key: &str) -> Option<u64> {
        match self.read(key, ParamType::Integer)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether `key` is set to `true`, or to `false`.
    ///
    /// # Panics
    ///
    /// As [`text`](Self::text).
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.read(key, ParamType::Flag)? {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The bytes that `key` is set to.
    ///
    /// # Panics
    ///
    /// As [`text`](Self::text).
    pub fn size(&self, key: &str) -> Option<u64> {
        match self.read(key, ParamType::Size)? {
            Value::Size(bytes) => Some(*bytes),
            _ => None,
        }
    }

    /// The time that `key` is set to.
    ///
    /// # Panics
    ///
    /// As [`text`](Self::text).
    pub fn duration(&self, key: &str) -> Option<Duration> {
        match self.read(key, ParamType::Duration)? {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    /// The words of the list that `key` is set to.
    ///
    /// # Panics
    ///
    /// As [`text`](Self::text).
    pub fn list(&self, key: &str) -> Option<&[String]> {
        match self.read(key, ParamType::List)? {
            Value::List(words) => Some(words),
            _ => None,
        }
    }

    /// The permissions that `key` is set to.
    ///
    /// # Panics
    ///
    /// As [`text`](Self::text).
    pub fn mode(&self, key: &str) -> Option<u32> {
        match self.read(key, ParamType::Mode)? {
            Value::Mode(mode) => Some(*mode),
            _ => None,
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let entry = self.values.iter().find(|(name, _)| *name == key)?;
        Some(&entry.1)
    }

    /// The value of a key that has to be there, and of this type.
    fn read(&self, key: &str, of: ParamType) -> Option<&Value> {
        let spec = self.keys.iter().find(|spec| spec.name() == key);
        match spec {
            Some(spec) => assert!(spec.of() == of, "`{key}` is {}, not {of}", spec.of()),
            None => panic!("there is no key `{key}`"),
        }
        self.value(key)
    }
}

impl fmt::Display for Params {
    /// As the query of a URL, unescaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.values.iter().enumerate() {
            let before = if index == 0 { "" } else { "&" };
            write!(f, "{before}{name}={value}")?;
        }
        Ok(())
    }
}
