//! Secrets that both ends of a secure connection can derive, for the protocols above it.

use std::fmt;
use std::sync::{Arc, Weak};

use bowline_backend::stream::ByteStream;

use super::failure;
use super::session::Session;
use super::stream::TlsStream;
use crate::attribute::Attribute;
use crate::error::{Error, ErrorKind, Operation};

/// Longest label: what the format of TLS 1.3 leaves of 255 bytes.
const MAX_LABEL: usize = 249;

/// Longest context: its length has 16 bits in TLS 1.2.
const MAX_CONTEXT: usize = 0xffff;

/// Most bytes at once: what HKDF with SHA-256 can expand to.
const MAX_OUTPUT: usize = 255 * 32;

/// Labels that TLS derives its own keys with (RFC 5705 section 4, RFC 7627).
const RESERVED: [&[u8]; 5] = [
    b"client finished",
    b"server finished",
    b"master secret",
    b"extended master secret",
    b"key expansion",
];

/// What derives secrets from a secure connection, for whoever has no hold of the [`TlsStream`]
/// itself: a message stream over it, the peer of a server, either half.
#[derive(Debug)]
pub enum TlsExporter {}

impl Attribute for TlsExporter {
    type Value = KeyExporter;
}

/// Derives secrets from a secure connection; the answer to [`TlsExporter`]. It does not keep the
/// connection.
#[derive(Clone)]
pub struct KeyExporter(Weak<dyn Exports>);

/// What was asked of an exporter of keys cannot be derived: the source of an error of the kind
/// [`Config`](ErrorKind::Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyExportError {
    /// A label has at least one byte, and a limit.
    #[error("a label of {len} bytes is not from 1 to {limit} long")]
    Label {
        /// How long it is.
        len: usize,
        /// How long it may be.
        limit: usize,
    },
    /// TLS derives its own keys with this label.
    #[error("the label is one of TLS itself")]
    ReservedLabel,
    /// The context is too long.
    #[error("a context of {len} bytes is above the limit of {limit}")]
    Context {
        /// How long it is.
        len: usize,
        /// How long it may be.
        limit: usize,
    },
    /// At least one byte is derived, and there is a limit.
    #[error("{len} bytes are not from 1 to {limit}")]
    Output {
        /// How many were asked for.
        len: usize,
        /// How many may be.
        limit: usize,
    },
}

/// A session of whatever stream.
trait Exports: Send + Sync {
    fn export(&self, label: &[u8], context: Option<&[u8]>, output: &mut [u8]) -> Result<(), Error>;
}

impl<S: ByteStream> TlsStream<S> {
    /// Fills `output` with bytes that both ends of this connection derive alike, and nobody else
    /// can: what binds the authentication of a protocol above to this very connection (channel
    /// binding), or keys for it. They are the same for the same `label`, `context` and length, others
    /// for any other, and others in every connection. (RFC 5705; RFC 8446 section 7.5)
    ///
    /// A label of one's own begins with `EXPERIMENTAL` or `EXPORTER`. It has 1 to 249 bytes, a
    /// context at most 65 535; 1 to 8160 bytes are derived. In TLS 1.3 no context is as an empty
    /// one, in TLS 1.2 it is not.
    ///
    /// In TLS 1.2 they are bound to this connection alone only where both ends speak the extended
    /// master secret (RFC 7627), as rustls does with whoever can.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config) with a [`KeyExportError`] as its source, where a length is none
    /// of these, or the label one of TLS itself. `output` is then as before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bowline_backend::stream::ByteStream;
    /// # use bowline_transport::{Error, TlsStream};
    /// /// What a client signs to prove that it is at the other end of this very connection.
    /// fn binding<S: ByteStream>(stream: &TlsStream<S>) -> Result<[u8; 32], Error> {
    ///     let mut binding = [0; 32];
    ///     stream.export_keying_material(b"EXPORTER-Channel-Binding", None, &mut binding)?;
    ///     Ok(binding)
    /// }
    /// ```
    pub fn export_keying_material(
        &self,
        label: &[u8],
        context: Option<&[u8]>,
        output: &mut [u8],
    ) -> Result<(), Error> {
        self.session().export(label, context, output)
    }
}

impl KeyExporter {
    pub(super) fn of<S: ByteStream>(session: &Arc<Session<S>>) -> Self {
        let session: Arc<dyn Exports> = session.clone();
        KeyExporter(Arc::downgrade(&session))
    }

    /// As [`TlsStream::export_keying_material`].
    ///
    /// # Errors
    ///
    /// As there; and [`NotConnected`](ErrorKind::NotConnected) once the stream, or both of its
    /// halves, are dropped.
    pub fn export_keying_material(
        &self,
        label: &[u8],
        context: Option<&[u8]>,
        output: &mut [u8],
    ) -> Result<(), Error> {
        match self.0.upgrade() {
            Some(session) => session.export(label, context, output),
            None => Err(Error::new(Operation::Handshake, ErrorKind::NotConnected)),
        }
    }
}

impl<S: ByteStream> Exports for Session<S> {
    fn export(&self, label: &[u8], context: Option<&[u8]>, output: &mut [u8]) -> Result<(), Error> {
        check(label, context, output).map_err(|error| {
            Error::new(Operation::Handshake, ErrorKind::Config).with_source(error)
        })?;
        let mut derived = vec![0; output.len()];
        self.export_keying_material(label, context, &mut derived)
            .map_err(failure::of_export)?;
        output.copy_from_slice(&derived);
        Ok(())
    }
}

fn check(label: &[u8], context: Option<&[u8]>, output: &[u8]) -> Result<(), KeyExportError> {
    let (len, limit) = (label.len(), MAX_LABEL);
    if len == 0 || len > limit {
        return Err(KeyExportError::Label { len, limit });
    }
    if RESERVED.contains(&label) {
        return Err(KeyExportError::ReservedLabel);
    }
    let (len, limit) = (context.unwrap_or_default().len(), MAX_CONTEXT);
    if len > limit {
        return Err(KeyExportError::Context { len, limit });
    }
    let (len, limit) = (output.len(), MAX_OUTPUT);
    if len == 0 || len > limit {
        return Err(KeyExportError::Output { len, limit });
    }
    Ok(())
}

impl fmt::Debug for KeyExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyExporter")
    }
}
