use std::sync::Arc;

use super::handshake::{AUTH_CERTIFICATE, AUTH_NONE, AUTH_USER};

/// What the stream below proves of the peer, without a word of the peer's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamProof {
    /// Nothing.
    #[default]
    Nothing,
    /// TLS: the principal of the certificate that the peer has shown to be its own, if it has shown one.
    Certificate(Option<Arc<str>>),
    /// A Unix socket: the user that the process at the other end runs as, if the system tells.
    User(Option<u32>),
}

impl StreamProof {
    /// The ways of authentication that a dialer offers because of it.
    pub(super) fn offers(&self) -> u8 {
        match self {
            StreamProof::Nothing => AUTH_NONE,
            StreamProof::Certificate(_) => AUTH_NONE | AUTH_CERTIFICATE,
            StreamProof::User(_) => AUTH_NONE | AUTH_USER,
        }
    }

    /// Whom the peer is known as, if anything is proven of it.
    pub(super) fn principal(&self) -> Option<Arc<str>> {
        match self {
            StreamProof::Certificate(principal) => principal.clone(),
            StreamProof::User(Some(user)) => Some(format!("uid:{user}").into()),
            StreamProof::Nothing | StreamProof::User(None) => None,
        }
    }
}
