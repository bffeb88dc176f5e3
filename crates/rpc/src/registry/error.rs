//! Why a registry refuses a change.

use std::sync::Arc;

use crate::MethodName;

/// Why a registry refused a change; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is a method of this name.
    #[error("there is a method called `{0}` already")]
    Duplicate(MethodName),
    /// A broker has started with this registry, or it was locked by hand.
    #[error("the registry is locked")]
    Locked,
    /// There is no method of this name.
    #[error("there is no method called `{0}`")]
    Unknown(Arc<str>),
    /// The registry takes chosen names only and the method has none.
    #[error("the registry takes chosen names only, and the method has none")]
    NameRequired,
    /// The name is not one.
    #[error("the method name {name:?} {why}")]
    BadName {
        /// What was to be a name.
        name: Arc<str>,
        /// What is wrong with it, as the end of a sentence.
        why: &'static str,
    },
    /// Names that start with `sys.` are the library's.
    #[error("the method name `{0}` is reserved")]
    ReservedName(Arc<str>),
}
