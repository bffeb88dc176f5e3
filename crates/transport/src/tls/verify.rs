//! Verifiers: one that accepts every certificate, and one that notes whose it refused.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::issuer::issuer_of;

thread_local! {
    /// Of the verification that this thread did last, where it refused.
    static REFUSED: Cell<Option<Refused>> = const { Cell::new(None) };
}

/// A certificate that was not accepted.
#[derive(Debug)]
pub(super) struct Refused {
    /// Whom it was to be for.
    pub(super) name: String,
    /// Who issued it, as far as can be told.
    pub(super) issuer: Option<String>,
}

impl Refused {
    /// What a [`Noting`] has refused on this thread and nobody has asked for yet. A certificate is verified
    /// where TLS is handed the records that it came in, so who did that and was told of an error finds it
    /// here: TLS has no room in its errors for what they are about.
    pub(super) fn take() -> Option<Refused> {
        REFUSED.try_with(Cell::take).ok().flatten()
    }
}

/// Verifies as WebPKI has it, and notes for [`Refused::take`] what it refused.
#[derive(Debug)]
pub(super) struct Noting(pub(super) Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .0
            .verify_server_cert(certificate, others, name, stapled, now);
        verified.inspect_err(|_| {
            let refused = Refused {
                name: name.to_str().into_owned(),
                issuer: issuer_of(certificate),
            };
            // A thread that ends tells nobody.
            let _ = REFUSED.try_with(|place| place.set(Some(refused)));
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts whoever answers. The signatures of the handshake are still checked: the peer has the key
/// of the certificate that it shows, whoever it is.
#[derive(Debug)]
pub(super) struct AcceptAnybody(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
