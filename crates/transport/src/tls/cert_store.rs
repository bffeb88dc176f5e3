use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{pem, provider};
use crate::error::Error;

/// The certificates of a server, which can be replaced while it runs.
///
/// Clones are the same store. There is one certificate for whoever asks for no name or for one that
/// the store does not know, unless it was [told](CertStore::only_names) to refuse those, and one
/// for each name that it was given.
#[derive(Clone)]
pub struct CertStore {
    certificates: Arc<Certificates>,
}

/// What rustls asks. Keys are looked up under the lock and never used there.
struct Certificates(RwLock<Table>);

struct Table {
    /// For clients that ask for no name, or for one that is not in `names`.
    default: Option<Arc<CertifiedKey>>,
    /// In lower case.
    names: BTreeMap<String, Arc<CertifiedKey>>,
}

impl CertStore {
    /// A certificate with its chain and its private key, both as PEM, for all names.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) where there is no certificate or key in the text, or
    /// the key is not that of the certificate.
    pub fn new(chain: &str, key: &str) -> Result<Self, Error> {
        let store = CertStore::only_names();
        store.replace(chain, key)?;
        Ok(store)
    }

    /// A store without certificates, to be given one for each name: who asks for no name, or for
    /// another, is refused.
    pub fn only_names() -> Self {
        CertStore {
            certificates: Arc::new(Certificates(RwLock::new(Table {
                default: None,
                names: BTreeMap::new(),
            }))),
        }
    }

    /// Uses another certificate for new connections; those that are there keep theirs.
    ///
    /// # Errors
    ///
    /// As [`new`](CertStore::new); nothing is changed then.
    pub fn replace(&self, chain: &str, key: &str) -> Result<(), Error> {
        let new = pem::certified_key(chain, key, &provider())?;
        self.change(|table| table.default.replace(Arc::new(new)));
        Ok(())
    }

    /// Uses this certificate for new connections of clients that ask for `name` (SNI).
    ///
    /// # Errors
    ///
    /// As [`new`](CertStore::new), and where no client can ask for `name`, as for a pattern or an address,
    /// or the certificate is not for it; nothing is changed then.
    pub fn replace_name(&self, name: &str, chain: &str, key: &str) -> Result<(), Error> {
        let new = pem::certified_key(chain, key, &provider())?;
        pem::is_for(&new, name)?;
        let name = name.to_ascii_lowercase();
        self.change(|table| table.names.insert(name, Arc::new(new)));
        Ok(())
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        self.certificates.clone()
    }

    /// What was there before is dropped after the lock is.
    fn change(&self, act: impl FnOnce(&mut Table) -> Option<Arc<CertifiedKey>>) {
        let mut table = self
            .certificates
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = act(&mut table);
        drop(table);
        drop(before);
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let named = name.and_then(|name| table.names.get(&name));
        named.or(table.default.as_ref()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("CertStore")
            .field("default", &table.default.is_some())
            .field("names", &table.names.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl fmt::Debug for CertStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificates.fmt(f)
    }
}
