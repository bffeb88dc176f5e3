use crate::cause::Cause;

/// How a region that can be cancelled ended.
///
/// # Examples
///
/// ```
/// use bowline_concurrency::Outcome;
///
/// let outcome = Outcome::Done(20).map(|n| n + 1);
/// assert_eq!(outcome.done(), Some(21));
/// ```
#[derive(Clone, Debug)]
#[must_use = "this says whether the work was done or cancelled"]
pub enum Outcome<T> {
    /// The body ended by itself.
    Done(T),
    /// The body was cancelled and dropped.
    Cancelled(Cause),
}

impl<T> Outcome<T> {
    /// The value, if the body ended by itself.
    pub fn done(self) -> Option<T> {
        match self {
            Outcome::Done(value) => Some(value),
            Outcome::Cancelled(_) => None,
        }
    }

    /// The cause, if the body was cancelled.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Outcome::Done(_) => None,
            Outcome::Cancelled(cause) => Some(cause),
        }
    }

    /// Applies `f` to the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Outcome::Done(value) => Outcome::Done(f(value)),
            Outcome::Cancelled(cause) => Outcome::Cancelled(cause),
        }
    }

    /// The value, or the cause as an error.
    ///
    /// # Errors
    ///
    /// The cause, if the body was cancelled.
    pub fn into_result(self) -> Result<T, Cause> {
        match self {
            Outcome::Done(value) => Ok(value),
            Outcome::Cancelled(cause) => Err(cause),
        }
    }
}
