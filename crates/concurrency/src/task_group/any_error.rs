use super::error::{ChildErrorKind, GroupError};
use std::error::Error;
use std::fmt;
use std::iter::FusedIterator;

/// Any error, for groups whose children fail in different ways.
///
/// `?` makes it of every error that may go to other threads. The error of a nested group keeps
/// its shape inside; [`leaves`](GroupError::leaves) finds what is in there.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, task_group};
///
/// let failed: Result<(), GroupError<AnyError>> =
///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
///         group.spawn(async { Ok("x".parse::<u16>()?) });
///         task_group(|group: TaskGroup<AnyError>| async move {
///             group.spawn(async { Ok(std::str::from_utf8(&[0xff]).map(|_| ())?) });
///             Ok(())
///         })
///         .await?;
///         Ok(())
///     }));
/// for leaf in failed.unwrap_err().leaves() {
///     println!("{leaf}");
/// }
/// # }
/// ```
pub struct AnyError {
    error: Box<dyn Error + Send + Sync + 'static>,
}

impl AnyError {
    /// Takes an error that is boxed already, or a text.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> AnyError {
        AnyError {
            error: error.into(),
        }
    }

    /// The error in it, if it is one of type `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }

    /// The error in it.
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }

    /// Every error in it: those of a nested group one by one, any other as itself.
    pub fn leaves(&self) -> Leaves<'_> {
        Leaves {
            stack: vec![&*self.error],
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for AnyError {
    fn from(error: E) -> AnyError {
        AnyError::new(error)
    }
}

impl fmt::Display for AnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for AnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl GroupError<AnyError> {
    /// Every error in it, nested groups opened: the body's first, then those of the children. A
    /// child that panicked or was lost is there as its [`ChildError`](crate::ChildError).
    pub fn leaves(&self) -> Leaves<'_> {
        let mut leaves = Leaves { stack: Vec::new() };
        leaves.open(self);
        leaves
    }
}

/// Iterator of [`GroupError::leaves`] and [`AnyError::leaves`].
#[must_use = "an iterator does nothing until it is used"]
pub struct Leaves<'a> {
    /// The next one last.
    stack: Vec<&'a (dyn Error + Send + Sync + 'static)>,
}

impl<'a> Leaves<'a> {
    fn open(&mut self, group: &'a GroupError<AnyError>) {
        for child in group.children().iter().rev() {
            self.stack.push(match child.kind() {
                ChildErrorKind::Failed(error) => &*error.error,
                ChildErrorKind::Panicked(_)
                | ChildErrorKind::Lost
                | ChildErrorKind::Cancelled(_) => child,
            });
        }
        if let Some(error) = group.host() {
            self.stack.push(&*error.error);
        }
        if group.is_empty() {
            // A nested group that was cancelled has no errors: it is one itself.
            self.stack.push(group);
        }
    }
}

impl<'a> Iterator for Leaves<'a> {
    type Item = &'a (dyn Error + Send + Sync + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let error = self.stack.pop()?;
            match error.downcast_ref::<GroupError<AnyError>>() {
                Some(group) if !group.is_empty() => self.open(group),
                _ => return Some(error),
            }
        }
    }
}

impl FusedIterator for Leaves<'_> {}

impl fmt::Debug for Leaves<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaves").finish_non_exhaustive()
    }
}
