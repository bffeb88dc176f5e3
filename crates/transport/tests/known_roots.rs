//! Authorities that nobody has to name: Mozilla's, and the system's.
#![cfg(all(feature = "webpki-roots", feature = "native-roots"))]

use std::env;
use std::process::Command;

use bowline_backend::Backend;
use bowline_transport::{
    CertStore, Error, ErrorKind, MemoryStream, TlsClientBuilder, TlsClientConfig, TlsFailure,
    TlsServerConfig,
};
use futures_util::future::join;

/// What a client says of a server that shows `certificate`, for it is that of `there`.
fn shake(client: TlsClientBuilder, certificate: &str, key: &str) -> Result<(), Error> {
    Backend::Smol.block_on(async {
        let store = CertStore::new(certificate, key)?;
        let server = TlsServerConfig::builder(&store).build()?;
        let (here, there) = MemoryStream::pair();
        let client = client.build()?.handshake(here, "there")?;
        let server = server.handshake(there)?;
        let (ours, _) = join(client.into_future(), server.into_future()).await;
        ours.map(drop)
    })
}

fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["there".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

// T2
#[test]
fn mozilla_trusts_many_and_not_us() {
    let (certificate, key) = made();
    let client = TlsClientConfig::builder().webpki_roots();
    let refused = shake(client, &certificate, &key).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Tls(TlsFailure::Certificate));
    // Beside them others can be trusted.
    let client = TlsClientConfig::builder().webpki_roots();
    shake(client.root_pem(certificate.clone()), &certificate, &key).unwrap();
}

// T2
#[test]
fn who_the_system_trusts_is_trusted() {
    const FILE: &str = "SSL_CERT_FILE";
    const CHILD: &str = "BOWLINE_KNOWN_ROOTS";
    if env::var(CHILD).is_ok() {
        // In a process of its own: the system is told by its environment.
        let certificate = std::fs::read_to_string(env::var(FILE).unwrap()).unwrap();
        let key = env::var(CHILD).unwrap();
        let client = || TlsClientConfig::builder().native_roots();
        shake(client(), &certificate, &key).unwrap();
        let (stranger, key) = made();
        let refused = shake(client(), &stranger, &key).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Tls(_)), "{refused}");
        return;
    }
    let (certificate, key) = made();
    let file = env::temp_dir().join(format!("bowline-roots-{}.pem", std::process::id()));
    std::fs::write(&file, certificate).unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "who_the_system_trusts_is_trusted"])
        .env(FILE, &file)
        .env_remove("SSL_CERT_DIR")
        .env(CHILD, key)
        .status();
    std::fs::remove_file(&file).unwrap();
    assert!(status.unwrap().success());
}
