//! A certificate for the servers, made for the run and handed to them by their environment.

use std::env;

use rcgen::{CertificateParams, KeyPair};

/// Whom it is for.
pub const NAME: &str = "localhost";

const CERTIFICATE: &str = "BENCH_CERTIFICATE";
const KEY: &str = "BENCH_KEY";

/// Makes it, for this process and for those that it starts; before there is a second thread.
///
/// # Panics
///
/// Where there is no entropy.
#[expect(
    unsafe_code,
    reason = "the environment of a process belongs to all of its threads"
)]
pub fn make() {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    // SAFETY: no other thread runs yet.
    unsafe {
        env::set_var(CERTIFICATE, certificate.pem());
        env::set_var(KEY, key.serialize_pem());
    }
}

/// The certificate, its own authority (PEM).
///
/// # Panics
///
/// Where none was made.
pub fn certificate() -> String {
    env::var(CERTIFICATE).expect("it was made")
}

/// Its key (PEM).
///
/// # Panics
///
/// Where none was made.
pub fn key() -> String {
    env::var(KEY).expect("it was made")
}
