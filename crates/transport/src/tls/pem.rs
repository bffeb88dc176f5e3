//! Certificates and keys as text (PEM).

use std::io;

use rustls::RootCertStore;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use crate::error::{Error, ErrorKind, Operation};

/// What was given to set up is wrong.
pub(super) fn config_error(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Operation::Setup, ErrorKind::Config).with_source(source)
}

/// What was given to set up is wrong in a way for which rustls has no word.
pub(super) fn wrong(why: impl Into<String>) -> Error {
    let why: String = why.into();
    config_error(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// At least one certificate.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(unreadable)?;
    match found.is_empty() {
        true => Err(wrong("there is no certificate in the PEM text")),
        false => Ok(found),
    }
}

pub(super) fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong("there is no private key in the PEM text"),
        error => unreadable(error),
    })
}

/// A text that breaks the rules of PEM; rustls says which.
fn unreadable(error: pem::Error) -> Error {
    wrong(format!("the PEM text cannot be read: {error}"))
}

/// A chain with the key of its first certificate, which must belong together.
pub(super) fn certified_key(
    chain: &str,
    key: &str,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Error> {
    let (chain, key) = (certificates(chain)?, private_key(key)?);
    CertifiedKey::from_der(chain, key, provider).map_err(config_error)
}

/// Whether clients that ask for `name` may be shown `certified`.
pub(super) fn is_for(certified: &CertifiedKey, name: &str) -> Result<(), Error> {
    let Ok(wanted @ ServerName::DnsName(_)) = ServerName::try_from(name) else {
        return Err(wrong(format!("{name:?} is no name that a client asks for")));
    };
    let shown = certified
        .end_entity_cert()
        .and_then(ParsedCertificate::try_from);
    let shown = shown.map_err(config_error)?;
    verify_server_name(&shown, &wanted).map_err(config_error)
}

/// The authorities whose certificates are in `texts`.
pub(super) fn root_store(texts: &[String]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for text in texts {
        for (n, root) in certificates(text)?.into_iter().enumerate() {
            roots
                .add(root)
                .map_err(|error| unreadable_authority(n + 1, &error))?;
        }
    }
    Ok(roots)
}

/// One of those that are to be trusted is no certificate: rustls would say so of a peer's.
fn unreadable_authority(number: usize, error: &rustls::Error) -> Error {
    let why = match error {
        rustls::Error::InvalidCertificate(why) => why.to_string(),
        other => other.to_string(),
    };
    wrong(format!(
        "certificate {number} of those that are to be trusted cannot be read: {why}"
    ))
}
