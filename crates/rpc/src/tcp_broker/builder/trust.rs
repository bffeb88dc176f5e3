//! Whom a broker trusts, and how it proves itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_backend::entropy;

use super::TcpBrokerBuilder;
use crate::proto::{CodecId, Config, MAX_KEY_ID};
use crate::{Error, ErrorKind, Right, Secret};

impl TcpBrokerBuilder {
    /// The secret that this broker shares with its peers. Each side of a connection proves to the other
    /// that it has it, and whoever does not have it is not let in, on either side.
    ///
    /// It proves who opened a connection and does not hide what is sent on it: on a network that others
    /// can write to, use TLS.
    ///
    /// # Examples
    /// ```
    /// use bowline_backend::Backend;
    /// use bowline_rpc::{Caller, Error, ErrorKind, Registry, Secret, TcpBroker, executor::AsyncExecutor};
    ///
    /// let registry = Registry::new("example");
    /// registry.register_fn("add", |(a, b): (i64, i64)| async move { a + b })?;
    /// let secret = Secret::new(*b"a secret that nobody can guess..")?;
    /// let server = TcpBroker::builder(AsyncExecutor::new(registry, 4))
    ///     .secret(secret.clone())
    ///     .listen("127.0.0.1:0");
    /// Backend::Tokio.block_on(server.run(async |server| -> Result<(), Error> {
    ///     let client = || TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
    ///     let sum = client().secret(secret).run(async |c| -> Result<i64, Error> {
    ///         Ok(c.call_named("add", (2, 3)).await?)
    ///     }).await?;
    ///     assert_eq!(sum, 5);
    ///     let stranger = client().run(async |_| -> Result<(), Error> { Ok(()) }).await;
    ///     assert_eq!(stranger.unwrap_err().kind(), ErrorKind::Unauthenticated);
    ///     Ok(())
    /// }))?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// The name of [`secret`](Self::secret), at most 64 bytes: what peers look it up by and know this
    /// broker as. Without it the name is empty. A name without a secret fails the start, and so do two
    /// secrets of one name, of [`keys`](Self::keys) or this.
    pub fn key_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.key_id = id.into();
        self
    }

    /// More secrets, each with its name, by which peers that connect here may prove themselves: one for
    /// each of them, or the former and the next one while they are being changed.
    pub fn keys<I: Into<Arc<str>>>(mut self, keys: impl IntoIterator<Item = (I, Secret)>) -> Self {
        self.keys
            .extend(keys.into_iter().map(|(id, secret)| (id.into(), secret)));
        self
    }

    /// Peers that connect over TLS and show a certificate are let in by it, without a secret: the
    /// [configuration](Self::tls) of the server asks for certificates and says whose it trusts. Such a peer's
    /// principal is `cert:` and the subject of its certificate as RFC 4514 writes it, as
    /// `cert:CN=shop,O=Example`.
    ///
    /// From here on everybody that connects has to prove who it is, in one of the ways that this broker takes:
    /// others end with [`Unauthenticated`](ErrorKind::Unauthenticated), and so does a peer whose certificate has
    /// no subject, or one of more than 250 bytes. A peer that has a secret proves itself by that.
    #[cfg(feature = "tls")]
    pub fn certificates(mut self) -> Self {
        self.certificates = true;
        self
    }

    /// Peers that connect over a Unix socket and run as one of these users are let in by that, without a
    /// secret. Such a peer's principal is `uid:` and the number, as `uid:1000`. On systems other than Linux
    /// the user of a peer is not known.
    ///
    /// From here on everybody that connects has to prove who it is, as with
    /// [`secret`](Self::secret).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bowline_backend::Backend;
    /// use bowline_rpc::{Caller, Context, Error, ErrorKind, Registry, TcpBroker, executor::AsyncExecutor};
    ///
    /// let registry = Registry::new("example");
    /// registry.register_fn("who", |context: Context, (): ()| async move {
    ///     context.caller().map(|peer| peer.principal().to_owned())
    /// })?;
    /// let me = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?);
    /// let serve = |user| {
    ///     let name = format!("unix:@bowline-example-{}-{user}", std::process::id());
    ///     TcpBroker::builder(AsyncExecutor::new(registry.clone(), 4)).listen(name).unix_users([user])
    /// };
    /// Backend::Tokio.block_on(serve(me).run(async |server| -> Result<(), Error> {
    ///     let client = TcpBroker::caller().project("example").connect(server.endpoints()[0].clone());
    ///     client.run(async |client| -> Result<(), Error> {
    ///         let who: Option<String> = client.call_named("who", ()).await?;
    ///         assert_eq!(who, Some(format!("uid:{me}")));
    ///         Ok(())
    ///     }).await
    /// }))?;
    /// Backend::Tokio.block_on(serve(me + 1).run(async |server| -> Result<(), Error> {
    ///     let client = TcpBroker::caller().project("example").connect(server.endpoints()[0].clone());
    ///     let refused = client.run(async |_| -> Result<(), Error> { Ok(()) }).await;
    ///     assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unauthenticated);
    ///     Ok(())
    /// }))?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(unix)]
    pub fn unix_users(mut self, users: impl IntoIterator<Item = u32>) -> Self {
        self.users.extend(users);
        self
    }

    /// Gives `principal` a right to methods. Both may be a name, or the beginning of one and `*`: `*`
    /// alone is everybody, or every method; elsewhere in that of methods it fails the start. A peer's principal is the name of the key it proved itself
    /// by, or what it is known by without one (`certificates`, `unix_users`); that of one that proved
    /// nothing is empty.
    ///
    /// From the first rule for a right on, nobody has it whom no rule names; without a rule everybody
    /// that is let in has it. A method that a peer may not call is not offered to it, and a call of it
    /// all the same is answered with [`PermissionDenied`](crate::Code::PermissionDenied). What a peer may
    /// not execute is not sent to it.
    pub fn allow(
        mut self,
        principal: impl Into<Arc<str>>,
        methods: impl Into<Arc<str>>,
        right: Right,
    ) -> Self {
        self.rules.push((principal.into(), methods.into(), right));
        self
    }

    /// Listens at and connects to addresses that are not loopback, though what is sent there is not
    /// encrypted: whoever is on the way can read and change it. Without this such addresses fail the
    /// start, or the connection, with [`InsecureNetwork`](ErrorKind::InsecureNetwork). So does, over TLS, an
    /// address at which this broker listens for everybody: with no [`secret`](Self::secret) or
    /// [`keys`](Self::keys), no certificates of clients and no users whoever finds it may call.
    pub fn allow_insecure_network(mut self) -> Self {
        self.insecure_network = true;
        self
    }

    /// What makes `tls://` addresses secure: a [`TlsServerConfig`](bowline_transport::TlsServerConfig)
    /// for those it listens at, a [`TlsClientConfig`](bowline_transport::TlsClientConfig) for those it
    /// connects to; a broker that does both is given both.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: impl Into<crate::TlsConfig>) -> Self {
        match config.into() {
            crate::TlsConfig::Server(config) => self.wires.server = Some(config),
            crate::TlsConfig::Client(config) => self.wires.client = Some(config),
        }
        self
    }

    /// Whether a peer that connects over a network need not prove who it is.
    #[cfg(feature = "tls")]
    pub(super) fn lets_strangers_in(&self) -> bool {
        let server = self.wires.server.as_ref();
        if self.certificates || server.is_some_and(|tls| tls.requires_certificates()) {
            return false;
        }
        #[cfg(unix)]
        if !self.users.is_empty() {
            return false;
        }
        self.secret.is_none() && self.keys.is_empty()
    }

    pub(super) fn check_trust(&self) -> Result<(), Error> {
        let wrong = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        if self.secret.is_none() && !self.key_id.is_empty() {
            let id = &self.key_id;
            return wrong(format!(
                "the key id {id:?} is that of a secret, and there is none"
            ));
        }
        let ours = self.secret.iter().map(|_| &self.key_id);
        let mut known = BTreeSet::new();
        for id in self.keys.iter().map(|(id, _)| id).chain(ours) {
            let length = id.len();
            if length > MAX_KEY_ID {
                return wrong(format!("a key id of {length} bytes; {MAX_KEY_ID} at most"));
            }
            if !known.insert(id) {
                return wrong(format!("two secrets have the key id {id:?}"));
            }
        }
        for (principal, methods, _) in &self.rules {
            if methods.find('*').is_some_and(|at| at + 1 < methods.len()) {
                return wrong(format!(
                    "a rule for {principal:?} is about {methods:?}: a `*` stands at the end, for all that begins so"
                ));
            }
        }
        Ok(())
    }

    /// What all connections have in common.
    pub(super) fn config(&self, instance: [u8; 16]) -> Config {
        let codecs = self.codecs.iter().map(|codec| CodecId(codec.id()));
        let mut config = Config::new(self.registry.project(), instance)
            .limits(self.limits.clone())
            .codecs(codecs);
        for (id, secret) in &self.keys {
            config = config.key(id.clone(), secret.clone());
        }
        if let Some(secret) = &self.secret {
            config = config.secret(self.key_id.clone(), secret.clone());
        }
        #[cfg(feature = "tls")]
        if self.certificates {
            config = config.certificates();
        }
        #[cfg(unix)]
        {
            config = config.users(self.users.iter().copied());
        }
        let mut secret = [0; 32];
        entropy::fill(&mut secret);
        config = config.passes(secret);
        for (principal, methods, right) in &self.rules {
            config = config.allow(principal.clone(), methods.clone(), *right);
        }
        config
    }
}
