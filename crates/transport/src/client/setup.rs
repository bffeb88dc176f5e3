//! How a client is made.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bowline_codec::{Codec, MessageCodec};
use bowline_concurrency::Backoff;
use bowline_concurrency::sync::{Event, Lock, ResourceGuard};

use super::dialling::Dial;
use super::line::Line;
use super::{Client, ClientTarget, DatagramTarget, Parts, RECONNECT};
use crate::dyn_transport::DynTransport;
use crate::error::Error;
use crate::message_stream::MessageStreamBuilder;
use crate::scheme::DialOptions;
#[cfg(feature = "tls")]
use crate::scheme::Tls;
#[cfg(feature = "tls")]
use crate::tls::TlsClientConfig;
use crate::transport::Transport;

impl<S, R> Client<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// A client of `target`, an address or a [`Url`](crate::Url), as a value or as text, that speaks
    /// what `codec` makes, a codec for each connection. For those of `udp` and `unixgram` there is
    /// [`datagrams`](Client::datagrams).
    ///
    /// What is wrong with a text is said by the first use.
    pub fn new<C>(
        target: impl Into<ClientTarget>,
        codec: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self
    where
        C: Codec<Sent = S, Item = R> + 'static,
    {
        target.into().client(codec)
    }

    /// A client of a socket of datagrams at `target`, which speaks what `codec` makes, a codec for each
    /// socket, one message to a packet.
    ///
    /// It is a [`DatagramTransport`](crate::DatagramTransport) that connects when it is used: messages
    /// may be lost and the peer does not end, so give a [`call`](Client::call) a time limit. Given up, it
    /// costs the socket: a late answer is nobody's, and the next call goes from another port. So does an
    /// error in place of the reply, as that an earlier packet found nobody. Told to a `send` or `recv`, it
    /// leaves the socket as it is, but where the client [reconnects](Client::reconnect), which makes another
    /// socket. What came unasked, or twice, before a call is no reply to it, but a message of the next `recv`.
    /// What comes twice while a call waits is: a protocol that has to be sure numbers its messages.
    ///
    /// What is wrong with a text is said by the first use.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "smol")] {
    /// use bowline_backend::Backend;
    /// use bowline_codec::Text;
    /// use bowline_transport::{Client, Server};
    ///
    /// # Backend::Smol.block_on(async {
    /// let server = Server::url_datagrams("udp://127.0.0.1:0").codec(Text::new).bind().await?;
    /// let at = server.local_addrs()[0].as_inet().unwrap();
    /// # let serving = std::pin::pin!(server.serve_each(|peer, text| async move { peer.send(&text).await }));
    /// # let asking = std::pin::pin!(async move {
    /// let client = Client::datagrams(format!("udp://{at}"), Text::new);
    /// assert_eq!(client.call(&"echo".to_owned()).await?, "echo");
    /// # Ok::<(), bowline_transport::Error>(())
    /// # });
    /// # futures_util::future::select(serving, asking).await.factor_first().0
    /// # }).unwrap();
    /// # }
    /// ```
    pub fn datagrams<C>(
        target: impl Into<DatagramTarget>,
        codec: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self
    where
        C: MessageCodec<Sent = S, Received = R> + 'static,
    {
        target.into().client(codec)
    }

    /// A client over whatever `dial` makes, for transports that have no address here. What connects when
    /// it is used is connected.
    pub fn with_dial<F>(dial: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<DynTransport<S, R>, Error>> + Send + 'static,
    {
        let dial: Dial<S, R> = Arc::new(move |options: &DialOptions| {
            #[cfg(feature = "tls")]
            if options.tls.is_some() {
                let why = "a client over a dial of the program's own makes nothing secure itself";
                return Box::pin(std::future::ready(Err(crate::scheme::wrong(
                    why.to_owned(),
                ))));
            }
            if options.stream.is_some() {
                let why = "a client over a dial of the program's own makes no stream itself: the dial \
                           has its limits";
                return Box::pin(std::future::ready(Err(crate::scheme::wrong(
                    why.to_owned(),
                ))));
            }
            let dialled = dial();
            Box::pin(async move {
                let mut transport = dialled.await?;
                transport.connect().await?;
                Ok(transport)
            })
        });
        Client::of_dial(dial, None)
    }

    /// A client over a dial that takes no longer than the limit, where it has one.
    pub(super) fn of_dial(dial: Dial<S, R>, limit: Option<Duration>) -> Self {
        let line = Line::new(dial);
        line.dialling().set(|setup| setup.limit = limit);
        Client {
            parts: Arc::new(Parts {
                line,
                turn: Lock::new(()),
                receiving: ResourceGuard::new("receiving"),
                closed: Event::new(),
            }),
            queued: Arc::default(),
        }
    }

    /// Makes each connection secure. The certificate has to be for the host that is dialled. Of a
    /// byte stream alone: packets are not made secure, and connecting says so.
    ///
    /// For a URL of `tls` this replaces whom the URL trusts, so that there has to be none: the key `sni`
    /// names who is to answer, while `ca`, `alpn` and `close`, or `sni` beside a
    /// [`server_name`](crate::TlsClientBuilder::server_name), are [`Config`](crate::ErrorKind::Config)
    /// errors of the first use. The handshake is part of connecting, and has the time that its dial
    /// leaves of 10 s, or of `connect_timeout`.
    #[cfg(feature = "tls")]
    pub fn tls(self, config: TlsClientConfig) -> Self {
        let tls = Some(Tls::with(config));
        self.line().dialling().set(|setup| setup.options.tls = tls);
        self
    }

    /// Limits of each connection: how much may wait to be sent, and for how long; how long a `recv` or a
    /// [`call`](Client::call) may wait for a byte, or for the rest of a message. Without it a server that
    /// sends a byte now and then holds a call for as long as it likes, unless that has a limit itself. Of
    /// the longest frame the shorter counts, of what a URL says and this.
    ///
    /// Of byte streams alone: with [`datagrams`](Client::datagrams) and [`with_dial`](Client::with_dial),
    /// which have other builders, it is a [`Config`](crate::ErrorKind::Config) error of the first use.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use bowline_codec::Lines;
    /// use bowline_transport::{Client, MessageStreamBuilder};
    ///
    /// let stream = MessageStreamBuilder::default()
    ///     .frame_timeout(Duration::from_secs(30))
    ///     .write_stall_timeout(Duration::from_secs(5));
    /// let client = Client::new("localhost:7878", || Lines::lf().text()).stream(stream);
    /// ```
    pub fn stream(self, stream: MessageStreamBuilder) -> Self {
        self.line()
            .dialling()
            .set(|setup| setup.options.stream = Some(stream));
        self
    }

    /// Connects again when a connection breaks, and goes on where the first one fails, with these
    /// pauses in between.
    ///
    /// Attempts are counted until a connection lasts for 10 s; a pause precedes each but the first
    /// of all, so that those who lost a server do not come back together. A connection that is dropped
    /// because a [`call`](Client::call) was given up counts as one that broke, except that after the first
    /// the next is made at once. If something was received on it the server is only slow: it is replaced at
    /// once, and the count begins again.
    ///
    /// Only errors that no time mends are given up at once: [`Config`](crate::ErrorKind::Config),
    /// [`Unsupported`](crate::ErrorKind::Unsupported), and a certificate that the server wants while there
    /// is none to show. All else may pass, and must not be the end because of somebody who stood between
    /// for a moment: a server of another name, or of an authority that is not trusted, as a portal that
    /// wants a login shows it, a peer that speaks no TLS, a system that forbids to connect. So a client
    /// without [`reconnect_attempts`](Client::reconnect_attempts) and
    /// [`reconnect_overall`](Client::reconnect_overall) goes on for ever: what it waits for is to be seen in
    /// its [`state`](Client::state). A file that `ca` of a URL names is read again after a certificate that
    /// was not accepted; where that fails those stay trusted who were.
    ///
    /// Set it, and what follows, before the first use.
    pub fn reconnect(self, backoff: Backoff) -> Self {
        self.line()
            .dialling()
            .set(|setup| setup.backoff = Some(backoff));
        self.line().set_reconnects();
        self
    }

    /// [`reconnect`](Client::reconnect) with pauses of 100 ms, doubled up to 30 s, with
    /// [`Jitter::Full`](bowline_concurrency::Jitter::Full).
    pub fn reconnecting(self) -> Self {
        self.reconnect(RECONNECT)
    }

    /// Gives up after so many attempts without a connection that lasts; no bound unless set.
    ///
    /// An attempt that is dropped because nobody waits for it any more is none of them. The next one
    /// keeps the pause of the backoff from when that one began, so an operation that is given up again
    /// and again dials no more often.
    ///
    /// # Panics
    ///
    /// If `most` is zero.
    #[track_caller]
    pub fn reconnect_attempts(self, most: usize) -> Self {
        assert!(most > 0, "a client attempts to connect at least once");
        self.line().dialling().set(|setup| setup.attempts = most);
        self
    }

    /// Gives up once so long has passed without a connection that lasts; no bound unless set. It runs
    /// from the break, or from when the first attempt began that was not dropped.
    pub fn reconnect_overall(self, most: Duration) -> Self {
        self.line().dialling().set(|setup| setup.overall = most);
        self
    }

    /// Does this with each connection before anybody's messages: to log in, to subscribe.
    ///
    /// It takes the transport and gives it back; its error is that of the attempt. It stands in no
    /// task: what is cancelled around those who wait for the connection does not cancel it. It takes 10 s
    /// at most, after those of the dial, or what [`on_connect_timeout`](Client::on_connect_timeout) says;
    /// then it is dropped with the connection.
    pub fn on_connect<F>(
        self,
        act: impl Fn(DynTransport<S, R>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<DynTransport<S, R>, Error>> + Send + 'static,
    {
        self.line().dialling().set(|setup| {
            setup.on_connect = Some(Arc::new(move |transport| Box::pin(act(transport))));
        });
        self
    }

    /// How long [`on_connect`](Client::on_connect) may take with one connection, until the attempt is a
    /// [`ConnectTimeout`](crate::ErrorKind::ConnectTimeout); 10 s by default, [`Duration::MAX`] for ever.
    /// Where no backend runs there is no clock, and no limit.
    pub fn on_connect_timeout(self, most: Duration) -> Self {
        self.line()
            .dialling()
            .set(|setup| setup.on_connect_timeout = most);
        self
    }
}
