//! The authorities that the system trusts.

use rustls::RootCertStore;

use super::pem;
use crate::error::Error;

/// Adds them all. Where some cannot be read the others are taken: systems have broken ones among them.
pub(super) fn add(roots: &mut RootCertStore) -> Result<(), Error> {
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    match (added, found.errors.into_iter().next()) {
        (0, Some(error)) => Err(pem::config_error(error)),
        (0, None) => Err(pem::wrong("the system trusts no authority")),
        _ => Ok(()),
    }
}
