//! The proofs of a handshake between peers that share a secret.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Side;
use super::frame::{Header, PREFACE};
use crate::Secret;

/// Bytes of a proof.
pub(super) const PROOF_LEN: usize = 32;
/// Bytes of a pass.
pub(super) const PASS_LEN: usize = 16;
/// The longest key id, in bytes.
pub(crate) const MAX_KEY_ID: usize = 64;

/// The secrets of a broker.
// Invariant: `known` holds `own` too, and no id twice.
#[derive(Clone, Default)]
pub(super) struct Keys {
    /// By which this side proves itself when it dials.
    pub(super) own: Option<(Arc<str>, Secret)>,
    known: Vec<(Arc<str>, Secret)>,
}

impl Keys {
    pub(super) fn set_own(&mut self, id: Arc<str>, secret: Secret) {
        self.add(id.clone(), secret.clone());
        self.own = Some((id, secret));
    }

    /// A later secret of the same id takes the place of the former one.
    pub(super) fn add(&mut self, id: Arc<str>, secret: Secret) {
        self.known.retain(|(known, _)| *known != id);
        self.known.push((id, secret));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn find(&self, id: &[u8]) -> Option<&(Arc<str>, Secret)> {
        self.known.iter().find(|(known, _)| known.as_bytes() == id)
    }

    /// What a connection whose nonce is `nonce` uses where a random value is needed that no stranger
    /// knows. Fit for that only where there is a secret.
    pub(super) fn derive(&self, purpose: &[u8], nonce: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let key = self
            .known
            .first()
            .map_or(&[][..], |(_, secret)| secret.bytes());
        hmac(key, &[b"bowline-rpc/1 ", purpose, nonce])
    }
}

impl Keys {
    /// How long a failure is kept to oneself: 0 to 50 ms.
    pub(super) fn pause(&self, nonce: &[u8; 32]) -> Duration {
        let drawn = self.derive(b"pause", nonce);
        let micros = u32::from(u16::from_be_bytes([drawn[0], drawn[1]])) * 50_000 / 65_535;
        Duration::from_micros(micros.into())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.known.iter().map(|(id, _)| id))
            .finish()
    }
}

/// What both sides said before they prove themselves, and the key they prove it by.
pub(super) struct Handshake {
    transcript: Sha256,
    nonces: [[u8; 32]; 2],
    binding: Vec<u8>,
    /// Derived once both HELLOs are there.
    key: Zeroizing<[u8; 32]>,
    digest: [u8; 32],
    /// Whether the key is one the peer may have; an unknown one fails whatever it sends.
    known: bool,
}

impl Handshake {
    pub(super) fn new() -> Self {
        Self {
            transcript: Sha256::new(),
            nonces: [[0; 32]; 2],
            binding: Vec::new(),
            key: Zeroizing::new([0; 32]),
            digest: [0; 32],
            known: false,
        }
    }

    /// Nothing was said yet.
    pub(super) fn begin_again(&mut self) {
        self.transcript = Sha256::new();
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.binding.capacity()
    }

    pub(super) fn bind(&mut self, binding: &[u8]) {
        self.binding = binding.to_vec();
    }

    /// Takes note of a HELLO, the dialer's before the listener's.
    pub(super) fn hello(&mut self, side: Side, nonce: [u8; 32], header: &Header, payload: &[u8]) {
        self.transcript.update(PREFACE);
        self.transcript.update(header.to_bytes());
        self.transcript.update(payload);
        self.nonces[usize::from(side == Side::Listener)] = nonce;
    }

    /// Both HELLOs are there; `known` is whether `secret` is one the two may share.
    pub(super) fn agree(&mut self, secret: &[u8], project: &[u8], known: bool) {
        // `Machine::bound_to` takes no more than that.
        let length = self.binding.len() as u16;
        self.transcript.update(length.to_be_bytes());
        self.transcript.update(&self.binding);
        self.digest = self.transcript.clone().finalize().into();
        let prk = hmac(&self.nonces.concat(), &[secret]);
        self.key = hmac(&*prk, &[b"bowline-rpc/1 psk", &[0], project, &[1]]);
        self.known = known;
    }

    /// What `side` proves itself with.
    pub(super) fn proof(&self, side: Side) -> [u8; PROOF_LEN] {
        let label: &[u8] = match side {
            Side::Dialer => b"bowline-rpc/1 dialer",
            Side::Listener => b"bowline-rpc/1 listener",
        };
        *hmac(&*self.key, &[label, &self.digest])
    }

    /// Whether `proof` is that of `side`; takes as long whatever it is.
    pub(super) fn proves(&self, side: Side, proof: &[u8]) -> bool {
        let fits = self.proof(side).ct_eq(proof);
        bool::from(fits & subtle::Choice::from(u8::from(self.known)))
    }
}

/// The pass that a side with `secret` shows whom it dials at the place `of`, or answers whoever showed it `of`.
pub(super) fn pass(secret: &[u8; 32], side: Side, of: &[u8]) -> [u8; PASS_LEN] {
    let label: &[u8] = match side {
        Side::Dialer => b"bowline-rpc/1 dialer's pass",
        Side::Listener => b"bowline-rpc/1 listener's pass",
    };
    let whole = hmac(secret, &[label, of]);
    let mut pass = [0; PASS_LEN];
    pass.copy_from_slice(&whole[..PASS_LEN]);
    pass
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}
