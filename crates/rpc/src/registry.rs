//! The table of methods.

mod error;
mod lookup;
mod table;

pub use error::RegistryError;
pub use lookup::MethodRef;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::Blocking;
use crate::codec::FIRST_PRIVATE;
use crate::method::{Entry, NameSource, check_name};
use crate::name::Digest;
use crate::{
    BlockingHandler, Codec, DeclaredName, Handler, Method, MethodDef, MethodName, MethodSpec,
    StreamHandler,
};
use table::Table;

/// Maps names to methods, in insertion order.
///
/// A handle: clones share one table. Starting a broker locks the table for good, after which every
/// change through every clone is refused.
///
/// The project is the namespace of all its names: peers of other projects do not connect.
///
/// # Examples
/// ```
/// use bowline_rpc::{Registry, RegistryError};
///
/// let registry = Registry::new("shop");
/// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
/// assert!(registry.contains("add"));
///
/// let again = registry.register_fn("add", |(a, _): (i64, i64)| async move { a });
/// assert!(matches!(again, Err(RegistryError::Duplicate(name)) if name == "add"));
///
/// registry.lock();
/// assert!(matches!(registry.remove("add"), Err(RegistryError::Locked)));
/// # Ok::<(), RegistryError>(())
/// ```
#[derive(Clone)]
pub struct Registry {
    settings: Arc<Settings>,
    table: Arc<Mutex<Table>>,
}

#[derive(Clone, Debug)]
struct Settings {
    project: Arc<str>,
    codecs: Vec<Codec>,
    digest: Digest,
    naming: Naming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Automatic,
    Manual,
}

impl Registry {
    /// An empty registry of `project`; `""` is no project.
    pub fn new(project: impl Into<Arc<str>>) -> Self {
        Self {
            settings: Arc::new(Settings {
                project: project.into(),
                codecs: Vec::new(),
                digest: Digest::LeftOut,
                naming: Naming::Automatic,
            }),
            table: Arc::default(),
        }
    }

    /// Automatic names end in a digest of their function, so that two versions of a function never
    /// answer for each other.
    #[must_use = "the setting belongs to the returned registry"]
    pub fn strict(mut self) -> Self {
        Arc::make_mut(&mut self.settings).digest = Digest::Appended;
        self
    }

    /// A method whose attribute names no name is refused by [`register`](Self::register).
    #[must_use = "the setting belongs to the returned registry"]
    pub fn manual_names(mut self) -> Self {
        Arc::make_mut(&mut self.settings).naming = Naming::Manual;
        self
    }

    /// Formats [of your own](Codec::private) that calls of its methods come in where they are handed on to
    /// [child processes](crate::executor::ProcessPoolExecutor), which have postcard, MessagePack and JSON
    /// anyway; 13 at most. The children build the same registry, so they have them too. What a broker has
    /// for its peers, [its builder](crate::TcpBrokerBuilder::codecs) says.
    ///
    /// # Examples
    /// ```
    /// # struct Reversed;
    /// # impl bowline_rpc::PayloadCodec for Reversed {
    /// #     fn id(&self) -> u8 {
    /// #         200
    /// #     }
    /// #     fn name(&self) -> &str {
    /// #         "reversed"
    /// #     }
    /// #     fn encode(&self, plain: &[u8]) -> Result<Vec<u8>, bowline_rpc::PayloadError> {
    /// #         Ok(plain.iter().rev().copied().collect())
    /// #     }
    /// #     fn decode(&self, body: &[u8], _: usize) -> Result<Vec<u8>, bowline_rpc::PayloadError> {
    /// #         self.encode(body)
    /// #     }
    /// # }
    /// use bowline_rpc::{Codec, Registry};
    ///
    /// let registry = Registry::new("shop").codecs([Codec::private(&Reversed)?]);
    /// # drop(registry);
    /// # Ok::<(), bowline_rpc::Error>(())
    /// ```
    #[must_use = "the setting belongs to the returned registry"]
    pub fn codecs(mut self, codecs: impl IntoIterator<Item = Codec>) -> Self {
        let settings = Arc::make_mut(&mut self.settings);
        let own = codecs
            .into_iter()
            .filter(|codec| codec.id() >= FIRST_PRIVATE);
        settings.codecs = own.collect();
        self
    }

    /// The formats that were added to those every broker has.
    #[cfg(unix)]
    pub(crate) fn codecs_of_its_own(&self) -> &[Codec] {
        &self.settings.codecs
    }

    /// Registers a function with the attribute `#[bowline::rpc]` under the one its attribute gives, or its
    /// automatic name: project, module and function, as `shop.till.orders.order`.
    ///
    /// # Errors
    /// Every kind of [`RegistryError`] but `Unknown`; nothing has changed then.
    pub fn register<F, M>(&self, function: F) -> Result<MethodName, RegistryError>
    where
        F: Method<M>,
    {
        let _ = function;
        self.add(MethodDef::of::<F::Call>())
    }

    /// Registers a function with the attribute under `name`; one function may have several names. Calls that
    /// are values ask peers for the one it declares: another is for who calls by name. Within the process of a
    /// [`MemoryBroker`](crate::MemoryBroker) they find it under any.
    ///
    /// # Errors
    /// `Duplicate`, `Locked`, `BadName`, `ReservedName`; nothing has changed then.
    pub fn register_as<F, M>(
        &self,
        name: impl Into<Arc<str>>,
        function: F,
    ) -> Result<MethodName, RegistryError>
    where
        F: Method<M>,
    {
        let _ = function;
        self.add(MethodDef::of::<F::Call>().named(name))
    }

    /// Registers an async function or closure under `name`.
    ///
    /// Its argument is one tuple, which a [`Context`](crate::Context) may precede and an
    /// [`Incoming`](crate::Incoming), the items of the caller, may follow.
    ///
    /// # Errors
    /// `Duplicate`, `Locked`, `BadName`, `ReservedName`; nothing has changed then.
    pub fn register_fn<H, M>(
        &self,
        name: impl Into<Arc<str>>,
        handler: H,
    ) -> Result<MethodName, RegistryError>
    where
        H: Handler<M>,
        M: 'static,
    {
        self.add(MethodDef::function(name, handler))
    }

    /// Registers a function or closure that gives its caller a stream, under `name`.
    ///
    /// Its argument is one tuple, which a [`Context`](crate::Context) may precede and an
    /// [`Incoming`](crate::Incoming), the items of the caller, may follow. It returns a stream or an
    /// [`Outgoing`](crate::Outgoing).
    ///
    /// # Errors
    /// `Duplicate`, `Locked`, `BadName`, `ReservedName`; nothing has changed then.
    pub fn register_stream<H, M>(
        &self,
        name: impl Into<Arc<str>>,
        handler: H,
    ) -> Result<MethodName, RegistryError>
    where
        H: StreamHandler<M>,
        M: 'static,
    {
        self.add(MethodDef::stream(name, handler))
    }

    /// Registers a function or closure that may hold its thread under `name`; it runs where
    /// blocking work runs. Its argument is one tuple, which a [`Context`](crate::Context) may
    /// precede.
    ///
    /// # Errors
    /// `Duplicate`, `Locked`, `BadName`, `ReservedName`; nothing has changed then.
    pub fn register_blocking<H, M>(
        &self,
        name: impl Into<Arc<str>>,
        function: H,
    ) -> Result<MethodName, RegistryError>
    where
        H: BlockingHandler<M>,
        M: 'static,
    {
        self.add(MethodDef::with_spec(
            name,
            MethodSpec::new().blocking(),
            Blocking::new(function),
        ))
    }

    /// Registers all of `methods` or none.
    ///
    /// # Errors
    /// As [`register`](Self::register), for the first method that is refused.
    pub fn register_all(
        &self,
        methods: impl IntoIterator<Item = MethodDef>,
    ) -> Result<Vec<MethodName>, RegistryError> {
        // User code runs in the iterator: collected before the table is locked.
        let mut named = Vec::new();
        for method in methods {
            named.push(self.name(method)?);
        }
        let mut table = self.table();
        table.check_open()?;
        for (place, (name, _)) in named.iter().enumerate() {
            if table.by_name.contains_key(name)
                || named[..place].iter().any(|(other, _)| other == name)
            {
                return Err(RegistryError::Duplicate(name.clone()));
            }
        }
        let mut names = Vec::with_capacity(named.len());
        for (name, entry) in named {
            table.insert(name.clone(), entry);
            names.push(name);
        }
        Ok(names)
    }

    /// Gives the method called `existing` the further name `new`.
    ///
    /// # Errors
    /// `Unknown(existing)`, and as [`register_fn`](Self::register_fn) for `new`.
    pub fn alias(
        &self,
        new: impl Into<Arc<str>>,
        existing: &str,
    ) -> Result<MethodName, RegistryError> {
        let new = check_name(new.into())?;
        let mut table = self.table();
        table.check_open()?;
        let entry = match table.entry(existing) {
            Some((_, entry)) => entry.clone(),
            None => return Err(RegistryError::Unknown(existing.into())),
        };
        if table.by_name.contains_key(&new) {
            return Err(RegistryError::Duplicate(new));
        }
        table.insert(new.clone(), entry);
        Ok(new)
    }

    /// Removes `name`; other names of the same method stay.
    ///
    /// # Errors
    /// `Unknown`, `Locked`; nothing has changed then.
    pub fn remove(&self, name: &str) -> Result<(), RegistryError> {
        let removed = {
            let mut table = self.table();
            table.check_open()?;
            table.remove(name)
        };
        match removed {
            Some(_) => Ok(()),
            None => Err(RegistryError::Unknown(name.into())),
        }
    }

    /// A copy that may be changed, whether this one is locked or not; neither changes the other.
    #[must_use = "the registry itself is not changed"]
    pub fn to_unlocked(&self) -> Registry {
        Self {
            settings: self.settings.clone(),
            table: Arc::new(Mutex::new(self.table().unlocked())),
        }
    }

    /// Refuses every later change through every clone; again is fine.
    pub fn lock(&self) {
        self.table().locked = true;
    }

    /// Whether changes are refused.
    pub fn is_locked(&self) -> bool {
        self.table().locked
    }

    /// The project; `""` is none.
    pub fn project(&self) -> &str {
        &self.settings.project
    }

    /// Whether automatic names end in a digest of their function.
    pub fn is_strict(&self) -> bool {
        self.settings.digest == Digest::Appended
    }

    /// Whether `other` is a handle of the same table.
    pub(crate) fn is(&self, other: &Registry) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }

    /// Adds a method of the library's own under a name that is reserved for such, locked or not.
    #[cfg(unix)]
    pub(crate) fn reserve<H, M>(&self, name: &'static str, handler: H)
    where
        H: Handler<M>,
        M: 'static,
    {
        let (_, entry) = MethodDef::function(name, handler).into_parts();
        let name = MethodName::reserved(name);
        self.table().insert(name, entry);
    }

    fn add(&self, method: MethodDef) -> Result<MethodName, RegistryError> {
        let (name, entry) = self.name(method)?;
        let mut table = self.table();
        table.check_open()?;
        if table.by_name.contains_key(&name) {
            return Err(RegistryError::Duplicate(name));
        }
        table.insert(name.clone(), entry);
        Ok(name)
    }

    fn name(&self, method: MethodDef) -> Result<(MethodName, Arc<Entry>), RegistryError> {
        let (name, entry) = method.into_parts();
        let name = match name {
            NameSource::Given(name) => check_name(name)?,
            NameSource::Declared(name) => {
                if self.settings.naming == Naming::Manual && name.chosen().is_none() {
                    return Err(RegistryError::NameRequired);
                }
                self.complete(&name)?
            }
        };
        Ok((name, entry))
    }

    fn complete(&self, name: &DeclaredName) -> Result<MethodName, RegistryError> {
        name.complete(&self.settings.project, self.settings.digest)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under the lock, so a poisoned table is whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("project", &self.settings.project)
            .field("names", &self.names())
            .field("locked", &self.is_locked())
            .finish_non_exhaustive()
    }
}
