use crate::cause::{Cause, CauseKind};
use crate::invalid_value::InvalidValue;
use crate::outcome::Outcome;
use crate::panic::Panic;
use crate::task_id::TaskId;
use std::borrow::Cow;
use std::fmt;

/// Why a task group did not end well: the error of its body, those of its children, or a cancel
/// of the group itself.
///
/// Cancelled children are no errors. A group cancelled from outside does not return at all.
///
/// As text it says what has ended and its name, why it was cancelled unless its one error tells
/// that, and then every error; several stand in brackets.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{GroupError, Root, TaskGroup, sleep_forever};
///
/// let serve = TaskGroup::builder().name("serve").run(|group| async move {
///     let accept = group.named("accept").spawn(async { Err::<(), _>("no more sockets") });
///     accept.wait().await;
///     sleep_forever().await;
///     Ok(())
/// });
/// let result: Result<(), GroupError<&str>> = Root::new().backend(Backend::Smol).block_on(serve);
/// let text = result.unwrap_err().to_string();
/// assert!(text.starts_with("task group \"serve\" failed: task "));
/// assert!(text.ends_with(" \"accept\": no more sockets"));
/// # }
/// ```
#[derive(Debug)]
pub struct GroupError<E> {
    host: Option<E>,
    children: Vec<ChildError<E>>,
    /// Boxed: results are as large as their error.
    about: Box<About>,
}

#[derive(Clone, Debug)]
struct About {
    /// What has ended: a task group, a scope.
    what: &'static str,
    name: Cow<'static, str>,
    cause: Option<Cause>,
    invalid: Option<InvalidValue>,
}

impl<E> GroupError<E> {
    /// Of a construct without a name.
    pub(crate) fn new(
        what: &'static str,
        host: Option<E>,
        children: Vec<ChildError<E>>,
        cause: Option<Cause>,
    ) -> GroupError<E> {
        let about = About {
            what,
            name: Cow::Borrowed(""),
            cause,
            invalid: None,
        };
        GroupError {
            host,
            children,
            about: Box::new(about),
        }
    }

    pub(crate) fn named(mut self, name: Cow<'static, str>) -> GroupError<E> {
        self.about.name = name;
        self
    }

    pub(crate) fn with_invalid(mut self, invalid: InvalidValue) -> GroupError<E> {
        self.about.invalid = Some(invalid);
        self
    }

    /// The same of other errors.
    pub(crate) fn of_children<F>(&self, children: Vec<ChildError<F>>) -> GroupError<F> {
        GroupError {
            host: None,
            children,
            about: self.about.clone(),
        }
    }

    /// The group's name, empty if it was given none.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// The error of the body.
    pub fn host(&self) -> Option<&E> {
        self.host.as_ref()
    }

    /// The errors of the children, in the order in which they ended.
    pub fn children(&self) -> &[ChildError<E>] {
        &self.children
    }

    /// Why the group was cancelled, if it was.
    pub fn cause(&self) -> Option<&Cause> {
        self.about.cause.as_ref()
    }

    /// Whether nothing failed and the body was cut short by a cancel of the group.
    pub fn is_cancelled(&self) -> bool {
        self.is_empty() && self.about.cause.is_some() && self.about.invalid.is_none()
    }

    /// The count that made a result impossible: a limit of zero, a quorum of more than there are.
    pub fn invalid(&self) -> Option<&InvalidValue> {
        self.about.invalid.as_ref()
    }

    /// Whether there is no error in it.
    pub fn is_empty(&self) -> bool {
        self.host.is_none() && self.children.is_empty()
    }

    /// The body's error, then those of children that returned one.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        let children = self.children.iter().filter_map(ChildError::error);
        self.host.iter().chain(children)
    }

    /// The error, if it is the only one and was returned rather than panicked.
    ///
    /// # Errors
    ///
    /// The group error itself, if there are none or several.
    pub fn into_single(mut self) -> Result<E, GroupError<E>> {
        match (self.host.is_some(), self.children.len()) {
            (true, 0) => self.host.take().ok_or(self),
            (false, 1) => match self.children.remove(0) {
                ChildError {
                    kind: ChildErrorKind::Failed(error),
                    ..
                } => Ok(error),
                other => {
                    self.children.push(other);
                    Err(self)
                }
            },
            _ => Err(self),
        }
    }

    /// Parts the errors that `pred` is true for from the rest. Both parts have the cause;
    /// children that panicked or were lost are in the rest, and so is an error without any.
    pub fn split(
        self,
        mut pred: impl FnMut(&E) -> bool,
    ) -> (Option<GroupError<E>>, Option<GroupError<E>>) {
        let none_at_all = self.is_empty();
        let (mut matching, mut rest) = (self.of_children(vec![]), self.of_children(vec![]));
        matching.about.invalid = None;
        if let Some(error) = self.host {
            let part = if pred(&error) {
                &mut matching
            } else {
                &mut rest
            };
            part.host = Some(error);
        }
        for child in self.children {
            let matches = child.error().is_some_and(&mut pred);
            let part = if matches { &mut matching } else { &mut rest };
            part.children.push(child);
        }
        let rest_counts = none_at_all || !rest.is_empty();
        (
            (!matching.is_empty()).then_some(matching),
            rest_counts.then_some(rest),
        )
    }
}

/// Tells a group that was cancelled from one that failed.
pub trait OrCancelled<T, E> {
    /// The value, or the cause where the group was cancelled and nothing failed.
    ///
    /// # Errors
    ///
    /// The group's error otherwise.
    fn or_cancelled(self) -> Result<Outcome<T>, GroupError<E>>;
}

impl<T, E> OrCancelled<T, E> for Result<T, GroupError<E>> {
    fn or_cancelled(self) -> Result<Outcome<T>, GroupError<E>> {
        match self {
            Ok(value) => Ok(Outcome::Done(value)),
            Err(error) if error.is_cancelled() => match error.cause() {
                Some(cause) => Ok(Outcome::Cancelled(cause.clone())),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}

impl<E> GroupError<E> {
    /// Whether the one error there is tells what the cause says.
    fn tells_its_cause(&self) -> bool {
        let Some(cause) = self.cause() else {
            return true;
        };
        match (&self.host, &self.children[..]) {
            (Some(_), []) => cause.kind() == CauseKind::HostFailed,
            (None, [one]) => cause.kind() == CauseKind::SiblingFailed && cause.by() == one.id,
            _ => false,
        }
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About {
            what,
            name,
            cause,
            invalid,
        } = &*self.about;
        f.write_str(what)?;
        if !name.is_empty() {
            write!(f, " \"{name}\"")?;
        }
        if self.is_empty() {
            return match (invalid, cause) {
                (Some(invalid), _) => write!(f, " ended: {invalid}"),
                (None, Some(cause)) => write!(f, " ended: {cause}"),
                (None, None) => f.write_str(" ended without a result"),
            };
        }
        f.write_str(" failed")?;
        if let Some(invalid) = invalid {
            write!(f, " ({invalid})")?;
        } else if let Some(cause) = cause
            && !self.tells_its_cause()
        {
            write!(f, " ({cause})")?;
        }
        let several = usize::from(self.host.is_some()) + self.children.len() > 1;
        f.write_str(if several { ": [" } else { ": " })?;
        let mut separator = "";
        if let Some(error) = &self.host {
            write!(f, "body: {error}")?;
            separator = "; ";
        }
        for child in &self.children {
            write!(f, "{separator}{child}")?;
            separator = "; ";
        }
        f.write_str(if several { "]" } else { "" })
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for GroupError<E> {}

/// How one child of a group failed.
#[derive(Debug)]
pub struct ChildError<E> {
    pub(super) id: TaskId,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: ChildErrorKind<E>,
}

/// What happened to a child that did not end well.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChildErrorKind<E> {
    /// It returned this error.
    Failed(E),
    /// It panicked.
    Panicked(Panic),
    /// The runtime dropped it.
    Lost,
    /// It was cancelled. Only an answer of [`parallel_with`](crate::parallel_with): for a group a
    /// cancelled child is no error.
    Cancelled(Cause),
}

impl<E> ChildError<E> {
    pub(crate) fn new(id: TaskId, name: Cow<'static, str>, kind: ChildErrorKind<E>) -> Self {
        ChildError { id, name, kind }
    }

    /// The child's number.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The child's name, empty if it was given none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happened.
    pub fn kind(&self) -> &ChildErrorKind<E> {
        &self.kind
    }

    /// The error, if the child returned one.
    pub fn error(&self) -> Option<&E> {
        match &self.kind {
            ChildErrorKind::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for ChildError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if !self.name.is_empty() {
            write!(f, " \"{}\"", self.name)?;
        }
        match &self.kind {
            ChildErrorKind::Failed(error) => write!(f, ": {error}"),
            ChildErrorKind::Panicked(panic) => write!(f, ": {panic}"),
            ChildErrorKind::Lost => f.write_str(": dropped by the runtime"),
            ChildErrorKind::Cancelled(cause) => write!(f, ": {cause}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for ChildError<E> {}

/// A group took no child; the future comes back, not polled.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError<F> {
    /// The group has ended.
    #[error("the task group has ended")]
    Closed(F),
    /// The group has as many live children as it may.
    #[error("the task group is full")]
    Full(F),
}

impl<F> SpawnError<F> {
    /// The future that was not spawned.
    pub fn into_inner(self) -> F {
        match self {
            SpawnError::Closed(future) | SpawnError::Full(future) => future,
        }
    }
}

impl<F> fmt::Debug for SpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpawnError::Closed(_) => "Closed(..)",
            SpawnError::Full(_) => "Full(..)",
        })
    }
}
