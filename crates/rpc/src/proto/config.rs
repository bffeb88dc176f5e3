use std::sync::Arc;

use crate::Limits;

/// The longest project, in bytes: its length is one byte of HELLO.
pub(crate) const MAX_PROJECT: usize = 255;

/// Which end of the connection a machine is: it decides the parity of ids and who speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Opened the stream; its calls have odd ids.
    Dialer,
    /// Accepted the stream; its calls have even ids.
    Listener,
}

impl Side {
    /// The lowest bit of the ids of this side's calls.
    pub(super) fn parity(self) -> u64 {
        match self {
            Side::Dialer => 1,
            Side::Listener => 0,
        }
    }
}

/// The number of a payload codec on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodecId(pub u8);

impl CodecId {
    /// postcard: compact, both sides must know the types.
    pub const POSTCARD: CodecId = CodecId(1);
    /// MessagePack with field names.
    pub const MESSAGE_PACK: CodecId = CodecId(2);
    /// JSON.
    pub const JSON: CodecId = CodecId(3);
}

/// What all connections of a broker have in common.
///
/// # Examples
/// ```
/// use bowline_rpc::proto::{CodecId, Config};
///
/// let config = Config::new("example", [7; 16]).codecs([CodecId::JSON]);
/// assert_eq!(config.project(), "example");
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) project: Arc<str>,
    pub(super) instance: [u8; 16],
    pub(super) codecs: Vec<CodecId>,
    pub(super) principal: Arc<str>,
    pub(super) limits: Limits,
}

impl Config {
    /// A broker of `project` (may be empty) with a fresh random `instance` id, default limits and
    /// the codecs postcard, MessagePack and JSON in this order.
    ///
    /// # Panics
    /// If `project` is longer than 255 bytes.
    pub fn new(project: impl Into<Arc<str>>, instance: [u8; 16]) -> Self {
        let project = project.into();
        assert!(
            project.len() <= MAX_PROJECT,
            "a project name has at most 255 bytes"
        );
        Self {
            project,
            instance,
            codecs: vec![CodecId::POSTCARD, CodecId::MESSAGE_PACK, CodecId::JSON],
            principal: "".into(),
            limits: Limits::default(),
        }
    }

    /// The codecs this broker understands, the preferred one first.
    ///
    /// # Panics
    /// Unless there are 1 to 16.
    pub fn codecs(mut self, codecs: impl IntoIterator<Item = CodecId>) -> Self {
        self.codecs = codecs.into_iter().collect();
        assert!(
            (1..=16).contains(&self.codecs.len()),
            "a broker has 1 to 16 codecs"
        );
        self
    }

    /// The name this broker gives its peers. Without authentication it is the same for all.
    ///
    /// # Panics
    /// If it is longer than 255 bytes.
    pub fn principal(mut self, name: impl Into<Arc<str>>) -> Self {
        self.principal = name.into();
        assert!(
            self.principal.len() <= 255,
            "a principal has at most 255 bytes"
        );
        self
    }

    /// The limits of each connection.
    ///
    /// # Panics
    /// If they do not fit each other: see [`Limits::check`].
    pub fn limits(mut self, limits: Limits) -> Self {
        if let Err(bad) = limits.check() {
            panic!("{bad}");
        }
        self.limits = limits;
        self
    }

    /// The project.
    pub fn project(&self) -> &str {
        &self.project
    }
}
