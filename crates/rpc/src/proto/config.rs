use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::auth::{Keys, MAX_KEY_ID};
use crate::access::Access;
use crate::sys::Reserved;
use crate::{Limits, Right, Secret};

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

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CodecId::POSTCARD => f.write_str("codec 1 (postcard)"),
            CodecId::MESSAGE_PACK => f.write_str("codec 2 (MessagePack)"),
            CodecId::JSON => f.write_str("codec 3 (JSON)"),
            CodecId(id) => write!(f, "codec {id}"),
        }
    }
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
#[derive(Clone)]
pub struct Config {
    pub(super) project: Arc<str>,
    pub(super) instance: [u8; 16],
    pub(super) codecs: Vec<CodecId>,
    pub(super) principal: Arc<str>,
    pub(super) keys: Keys,
    /// Peers are known by their certificates.
    pub(super) certificates: bool,
    /// The users that peers on Unix sockets are known as.
    pub(super) users: Vec<u32>,
    /// What the passes are made of that peers are shown.
    pub(super) passes: Option<Arc<Zeroizing<[u8; 32]>>>,
    pub(super) access: Access,
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
            keys: Keys::default(),
            certificates: false,
            users: Vec::new(),
            passes: None,
            access: Access::default(),
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

    /// The secret by which this broker proves who it is where it dials, under the id that peers know
    /// it by. Peers that dial may prove themselves by it too.
    ///
    /// With a secret, a peer that has none is not let in.
    ///
    /// # Panics
    /// If `id` is longer than 64 bytes.
    pub fn secret(mut self, id: impl Into<Arc<str>>, secret: Secret) -> Self {
        self.keys.set_own(checked_id(id.into()), secret);
        self
    }

    /// One more secret by which a peer that dials may prove itself: it is then known by `id`.
    ///
    /// # Panics
    /// If `id` is longer than 64 bytes.
    pub fn key(mut self, id: impl Into<Arc<str>>, secret: Secret) -> Self {
        self.keys.add(checked_id(id.into()), secret);
        self
    }

    /// Lets in peers that dial over TLS and have shown a certificate, as [`StreamProof::Certificate`] tells.
    ///
    /// [`StreamProof::Certificate`]: super::StreamProof::Certificate
    pub fn certificates(mut self) -> Self {
        self.certificates = true;
        self
    }

    /// Lets in peers that dial over a Unix socket and run as one of these users, as [`StreamProof::User`]
    /// tells.
    ///
    /// [`StreamProof::User`]: super::StreamProof::User
    pub fn users(mut self, users: impl IntoIterator<Item = u32>) -> Self {
        self.users.extend(users);
        self
    }

    /// Shows each peer a pass of its own, derived from `secret`: fresh for each start of a broker, from a
    /// cryptographic generator. A peer that has proved nothing is recognised by it when it comes back.
    pub fn passes(mut self, secret: [u8; 32]) -> Self {
        self.passes = Some(Arc::new(Zeroizing::new(secret)));
        self
    }

    /// Gives `principal` a right to the methods named by a pattern: a name, or its beginning and `*`.
    /// From the first rule for a right on, nobody has it whom no rule names.
    pub fn allow(
        mut self,
        principal: impl Into<Arc<str>>,
        methods: impl Into<Arc<str>>,
        right: Right,
    ) -> Self {
        self.access.allow(principal.into(), methods.into(), right);
        self
    }

    /// Whether there is a rule for a right.
    pub fn restricts(&self, right: Right) -> bool {
        self.access.restricts(right)
    }

    /// Whether `principal` has a right to `method`.
    pub fn allows(&self, principal: &str, method: &str, right: Right) -> bool {
        self.access.allows(principal, method, right)
    }

    /// Whether a peer at the other end of a connection whose near end is `side` may call `method`, which
    /// may be a reserved one.
    pub(crate) fn may_call(&self, side: Side, principal: &str, method: &str) -> bool {
        match Reserved::named(method) {
            Some(reserved) => {
                let known = self.asks_for_proof(side);
                self.access.allows_reserved(known, principal, reserved)
            }
            None => self.allows(principal, method, Right::Call),
        }
    }

    /// Whether a peer that may call this reserved method is told of `method` there: of all if a rule names it for
    /// that, else of those that it may call.
    pub(crate) fn tells_of(&self, principal: &str, reserved: Reserved, method: &str) -> bool {
        self.access.names(principal, reserved) || self.allows(principal, method, Right::Call)
    }

    /// Whether such a peer may have reserved methods to call.
    pub(crate) fn tells(&self, side: Side) -> bool {
        self.access.tells(self.asks_for_proof(side))
    }

    /// Whether such a peer may prove itself by a secret.
    pub(super) fn takes_secrets(&self, side: Side) -> bool {
        match side {
            Side::Dialer => self.keys.own.is_some(),
            Side::Listener => !self.keys.is_empty(),
        }
    }

    /// Whether such a peer has to prove itself.
    pub(super) fn asks_for_proof(&self, side: Side) -> bool {
        match side {
            Side::Dialer => self.keys.own.is_some(),
            Side::Listener => !self.keys.is_empty() || self.certificates || !self.users.is_empty(),
        }
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

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("project", &self.project)
            .field("instance", &self.instance)
            .field("codecs", &self.codecs)
            .field("keys", &self.keys)
            .field("certificates", &self.certificates)
            .field("users", &self.users)
            .field("access", &self.access)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn checked_id(id: Arc<str>) -> Arc<str> {
    assert!(id.len() <= MAX_KEY_ID, "a key id has at most 64 bytes");
    id
}
