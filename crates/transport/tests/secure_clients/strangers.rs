//! Who answers in the place of a server, and what a client makes of it.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpListener;
use bowline_backend::stream::ByteStreamExt;
use bowline_concurrency::{Backoff, Root, timeout};
use bowline_transport::{
    CertStore, Client, ClientCertificates, Error, ErrorKind, MessageStream, TlsClientConfig,
    TlsFailure, TlsServerConfig, Transport,
};
use futures_util::future::join;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, date_time_ymd};

use crate::line;

const BACKENDS: [Backend; 3] = [Backend::Tokio, Backend::Smol, Backend::AsyncStd];

/// Long enough for anything here.
const WITHIN: Duration = Duration::from_secs(60);

fn soon() -> Backoff {
    Backoff::exponential(Duration::from_millis(1)).max(Duration::from_millis(20))
}

/// Who signs certificates.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority(Issuer::new(params, key), pem)
    }

    fn server(&self, params: CertificateParams) -> TlsServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        let store = CertStore::new(&certificate, &key.serialize_pem()).unwrap();
        TlsServerConfig::builder(&store).build().unwrap()
    }

    /// A server of this name.
    fn named(&self, name: &str) -> TlsServerConfig {
        self.server(CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// A client at this address that trusts this authority, and asks for `there`.
    fn client(&self, at: SocketAddr) -> Client<String, String> {
        let trusting = TlsClientConfig::builder().root_pem(&*self.1);
        let trusting = trusting.server_name("there").build().unwrap();
        Client::new(at, line).tls(trusting).reconnect(soon())
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// Answers the next with this in place of TLS.
async fn says(listener: &TcpListener, said: &[u8]) {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(said).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = bytes::BytesMut::new();
    while let Ok(1..) = stream.read_into(&mut rest, 1024.try_into().unwrap()).await {}
}

/// Shows the next this certificate, which he does not take.
async fn is_refused(listener: &TcpListener, config: &TlsServerConfig) {
    let (stream, _) = listener.accept().await.unwrap();
    let refused = config.handshake(stream).unwrap().await;
    assert!(refused.is_err(), "it was taken");
}

/// Shows the next this certificate, tells him something, and is gone.
async fn tells(listener: &TcpListener, config: &TlsServerConfig, something: &str) {
    let (stream, _) = listener.accept().await.unwrap();
    let stream = config.handshake(stream).unwrap().await.unwrap();
    let mut peer = MessageStream::new(stream, line());
    peer.send(&something.to_owned()).await.unwrap();
    peer.close().await.unwrap();
}

/// The next that is told, whatever breaks before.
async fn heard(client: &Client<String, String>) -> String {
    let heard = timeout(WITHIN, async {
        loop {
            match client.recv().await {
                Ok(Some(told)) => return told,
                Err(error) if error.kind() == ErrorKind::NotConnected => panic!("{error}"),
                Ok(None) | Err(_) => {}
            }
        }
    });
    heard.await.unwrap()
}

/// The error beneath of a client that gave up after so many attempts.
fn cause_of(error: &Error, attempts: usize) -> &Error {
    assert_eq!(error.gave_up_after(), Some(attempts), "{error}");
    error.source().unwrap().downcast_ref::<Error>().unwrap()
}

// CL2, T2
#[test]
fn a_fault_of_a_server_that_passes_is_not_the_end_of_a_client() {
    for backend in BACKENDS {
        Root::new().backend(backend).block_on(async {
            let trusted = Authority::new("ours");
            let mut expired = CertificateParams::new(["there".to_owned()]).unwrap();
            expired.not_after = date_time_ymd(1991, 1, 1);
            let (listener, at) = listen();
            let server = async {
                // What a balancer says whose servers are away, then an alert (`internal_error`), then one that
                // somebody made who has proved nothing (`certificate_required`).
                says(&listener, b"HTTP/1.1 503 \r\n\r\n").await;
                says(&listener, &[21, 3, 3, 0, 2, 2, 80]).await;
                says(&listener, &[21, 3, 3, 0, 2, 2, 116]).await;
                is_refused(&listener, &trusted.server(expired)).await;
                tells(&listener, &trusted.named("there"), "still there").await;
            };
            let client = trusted.client(at);
            let (told, ()) = join(heard(&client), server).await;
            assert_eq!(told, "still there");
        });
    }
}

// CL2, T2
#[test]
fn a_stranger_in_the_place_of_a_server_is_not_the_end_of_a_client() {
    for backend in BACKENDS {
        Root::new().backend(backend).block_on(async {
            let trusted = Authority::new("ours");
            let (listener, at) = listen();
            let server = async {
                for stranger in [
                    Authority::new("a portal").named("there"),
                    Authority::new("ours").named("there"),
                    trusted.named("elsewhere"),
                ] {
                    is_refused(&listener, &stranger).await;
                }
                tells(&listener, &trusted.named("there"), "the portal is gone").await;
            };
            let client = trusted.client(at);
            let (told, ()) = join(heard(&client), server).await;
            assert_eq!(told, "the portal is gone");
        });
    }
}

// TR12, CL2, T2
#[test]
fn an_error_about_a_stranger_says_who_that_is() {
    for backend in BACKENDS {
        Root::new().backend(backend).block_on(async {
            let trusted = Authority::new("ours");
            let portal = Authority::new("a \"portal\"").named("there");
            let elsewhere = trusted.named("elsewhere");
            for (stranger, why) in [
                (
                    portal,
                    "asked for `there`, the certificate is issued by `a \\\"portal\\\"`: \
                     invalid peer certificate: UnknownIssuer",
                ),
                (
                    elsewhere,
                    "asked for `there`, the certificate is issued by `ours`: invalid peer certificate: \
                     certificate not valid for name \"there\"; certificate is only valid for \
                     DnsName(\"elsewhere\")",
                ),
            ] {
                let failed = "the TLS handshake failed: the certificate of the peer is not accepted";
                let (listener, at) = listen();
                let client = trusted.client(at).reconnect_attempts(2);
                let server = async {
                    is_refused(&listener, &stranger).await;
                    is_refused(&listener, &stranger).await;
                };
                let (connected, ()) = join(client.connect(), server).await;
                let error = connected.unwrap_err();
                let said = error.to_string();
                assert!(
                    said.starts_with(&format!(
                        "connect: there is no connection (peer {at}), given up after 2 attempts in "
                    )),
                    "{said}"
                );
                assert!(said.ends_with(&format!(": {failed}: {why}")), "{said}");
                let cause = cause_of(&error, 2);
                assert_eq!(cause.kind(), ErrorKind::Tls(TlsFailure::Certificate));
                assert_eq!(
                    cause.to_string(),
                    format!("handshake: {failed} (peer {at}): {why}")
                );
            }
        });
    }
}

// CL2, T2
#[test]
fn a_certificate_that_the_client_lacks_is_lacking_for_good() {
    for backend in BACKENDS {
        Root::new().backend(backend).block_on(async {
            let trusted = Authority::new("ours");
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["there".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &trusted.0).unwrap().pem();
            let store = CertStore::new(&certificate, &key.serialize_pem()).unwrap();
            let asking = TlsServerConfig::builder(&store);
            let asking = asking.client_roots(ClientCertificates::Require, &*trusted.1);
            let asking = asking.build().unwrap();
            // Found by whoever receives first: by a login, or by a `recv`.
            for logs_in in [false, true] {
                let (listener, at) = listen();
                let mut client = trusted.client(at);
                if logs_in {
                    client = client.on_connect(|mut transport| async move {
                        transport.recv().await?;
                        Ok(transport)
                    });
                }
                let receiving = timeout(WITHIN, async {
                    loop {
                        let error = client.recv().await.unwrap_err();
                        if error.gave_up_after().is_some() {
                            return error;
                        }
                        assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Refused));
                    }
                });
                let (error, ()) = join(receiving, is_refused(&listener, &asking)).await;
                let error = error.unwrap();
                assert_eq!(
                    cause_of(&error, 1).kind(),
                    ErrorKind::Tls(TlsFailure::Refused)
                );
                let why =
                    "the TLS handshake failed: the peer refused: it wants a certificate, and was shown none";
                assert!(error.to_string().ends_with(why), "{error}");
            }
        });
    }
}

/// A file that is gone with this.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

// CL2, TR11
#[test]
fn a_file_of_authorities_is_read_again_once_a_certificate_is_not_accepted() {
    for backend in BACKENDS {
        Root::new().backend(backend).block_on(async {
            let (listener, at) = listen();
            let name = format!("bowline-rotated-{}-{}.pem", std::process::id(), at.port());
            let file = Gone(std::env::temp_dir().join(name));
            let (former, next) = (Authority::new("former"), Authority::new("next"));
            std::fs::write(&file.0, &former.1).unwrap();
            let url = format!("tls://{at}?ca={}&sni=there", file.0.display());
            let client = Client::new(url, line).reconnect(soon());
            let of_former = former.named("there");
            let of_next = next.named("there");
            let server = async {
                tells(&listener, &of_former, "1").await;
                // Where there is nothing to read, or nothing good, they stay trusted who were.
                std::fs::remove_file(&file.0).unwrap();
                is_refused(&listener, &of_next).await;
                is_refused(&listener, &of_next).await;
                std::fs::write(&file.0, "no certificate").unwrap();
                is_refused(&listener, &of_next).await;
                is_refused(&listener, &of_next).await;
                tells(&listener, &of_former, "2").await;
                // A connection that is good puts nobody in doubt.
                std::fs::write(&file.0, &next.1).unwrap();
                tells(&listener, &of_former, "3").await;
                is_refused(&listener, &of_next).await;
                tells(&listener, &of_next, "4").await;
            };
            let receiving = async {
                let mut told = String::new();
                for _ in 0..4 {
                    told += &heard(&client).await;
                }
                told
            };
            let (told, ()) = join(receiving, server).await;
            assert_eq!(told, "1234");
        });
    }
}
