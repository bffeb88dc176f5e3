mod capture;
mod entry;
mod json;
mod listed;
mod text;

pub use entry::{EntryKind, EntryState, TreeEntry};
pub(crate) use listed::Listed;

use crate::ambient;
use crate::root;
use bowline_backend::Backend;
use std::fmt;

/// Entries of one snapshot.
const MOST: usize = 100_000;

/// What runs below the current [`Root`](crate::Root): every task, group and scope, where it was
/// made, what it is doing and how long it may.
///
/// Outside of any root it shows the root of the process, which has what foreign code left behind;
/// in a group that stands below no root, that group. Where there is no backend the tree is empty.
///
/// A branch of a [`scope`](crate::scope) or a combinator is shown from when something in it waits in
/// the tree or stands below it; before that what it waits for is said of the region around it.
///
/// Nothing is stopped for it. One entry after the other is locked for the time it takes to list
/// its children, so each entry is right by itself, and two of them may be of different moments.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sim")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{GroupError, Root, TaskGroup, sleep, sleep_forever, tree};
/// use std::time::Duration;
///
/// let group = TaskGroup::builder().name("serve");
/// let text: Result<String, GroupError<()>> =
///     Root::new().name("main").backend(Backend::Sim).block_on(group.run(|group| async move {
///         group.named("accept").spawn_ok(sleep_forever());
///         sleep(Duration::from_secs(12)).await;
///         let tree = tree();
///         group.cancel("seen enough");
///         assert_eq!(tree.entries().len(), 3);
///         assert!(tree.to_json().contains(r#""name":"accept""#));
///         Ok(tree.to_string())
///     }));
/// let text = text.unwrap();
/// let lines: Vec<&str> = text.lines().collect();
/// assert!(lines[0].starts_with("root \"main\" sim"));
/// assert!(lines[0].ends_with("age 12.0s"));
/// assert!(lines[1].starts_with("└ group \"serve\""));
/// assert!(lines[2].contains("task accept"));
/// assert!(lines[2].contains("parked on sleep_forever"));
/// # }
/// ```
pub fn tree() -> Tree {
    if let Some(place) = ambient::current() {
        return Tree::below(vec![place.top()]);
    }
    // A simulated world has a root only while it turns here.
    let found = Backend::current().ok();
    match found.filter(|b| b.is_running() || !b.capabilities().virtual_time) {
        Some(_) => Tree::below(vec![root::above(None)]),
        None => Tree::below(Vec::new()),
    }
}

/// A snapshot of what runs; of [`tree`].
///
/// `Display` is the text form: one line per entry, children below their parent in the order in
/// which they were spawned.
#[derive(Clone, Debug)]
pub struct Tree {
    entries: Vec<TreeEntry>,
    truncated: bool,
}

impl Tree {
    /// Every root of the process, in the order in which they were entered, and every group that
    /// stands below none. A simulated world shows its own only, and is seen from inside alone.
    pub fn all() -> Tree {
        Tree::below(listed::all())
    }

    /// Parents before their children; the entry with number `id` is the one at that index.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// Whether there was more than the 100 000 entries that a snapshot has at most.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// One JSON object: `{"truncated":false,"entries":[..]}`, with the fields of [`TreeEntry`]
    /// under their names. Spans of time are whole nanoseconds; what never comes or is not there
    /// is `null`.
    pub fn to_json(&self) -> String {
        json::write(self)
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}
