use super::TaskGroup;
use super::error::SpawnError;
use crate::task_handle::TaskHandle;
use std::borrow::Cow;
use std::fmt;

/// A group that names the next child; of [`TaskGroup::named`].
#[must_use = "a name alone starts nothing"]
pub struct Named<'a, E> {
    pub(super) group: &'a TaskGroup<E>,
    pub(super) name: Cow<'static, str>,
}

impl<E: Send + 'static> Named<'_, E> {
    /// As [`TaskGroup::spawn`].
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn spawn<T, F>(self, future: F) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.group
            .spawn_or_refuse(self.name, future, |result| result)
    }

    /// As [`TaskGroup::spawn_ok`].
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn spawn_ok<T, F>(self, future: F) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.group.spawn_or_refuse(self.name, future, Ok)
    }

    /// As [`TaskGroup::try_spawn`].
    ///
    /// # Errors
    ///
    /// [`SpawnError`], with the future as it was, if the group has ended or is full.
    ///
    /// # Panics
    ///
    /// Where the group's backend does not run.
    #[track_caller]
    pub fn try_spawn<T, F>(self, future: F) -> Result<TaskHandle<T>, SpawnError<F>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.group.try_launch(self.name, future, |result| result)
    }
}

impl<E> fmt::Debug for Named<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("group", self.group)
            .field("name", &self.name)
            .finish()
    }
}
