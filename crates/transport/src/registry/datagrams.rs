//! The factories of transports over sockets of datagrams.

use std::sync::Arc;

use bowline_codec::{Decode, MessageCodec, Unframe};

use super::TransportFactory;
use crate::client::{Broken, lazy};
use crate::dyn_transport::{BoxFuture, DynTransport};
use crate::error::Error;
use crate::params::{KeySpec, Params};
use crate::scheme::{DialOptions, PacketScheme};

/// What makes the codec of a transport's packets.
pub(super) trait PacketCodecs: Send + Sync + 'static {
    type Codec: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static;

    /// A codec, and the longest packet that it is for, if it has an opinion.
    fn make(&self) -> (Self::Codec, Option<usize>);
}

/// Codecs of messages as they are.
pub(super) struct OfMessages<F>(pub(super) F);

/// Those inside of the codecs of streams.
pub(super) struct Unframed<F>(pub(super) Arc<F>);

impl<F, C> PacketCodecs for OfMessages<F>
where
    F: Fn() -> C + Send + Sync + 'static,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
{
    type Codec = C;

    fn make(&self) -> (C, Option<usize>) {
        ((self.0)(), None)
    }
}

impl<F, C> PacketCodecs for Unframed<F>
where
    F: Fn() -> C + Send + Sync + 'static,
    C: Unframe<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    type Codec = C::Message;

    fn make(&self) -> (C::Message, Option<usize>) {
        let codec = (self.0)();
        let most = Decode::limits(&codec).max_frame;
        (codec.unframe(), most)
    }
}

/// The factories there are, by name.
pub(super) fn factories<P: PacketCodecs>(
    codecs: &Arc<P>,
) -> impl Iterator<Item = (&'static str, Factory<P::Codec>)> + use<P> {
    let codecs = codecs.clone();
    PacketScheme::ALL.iter().map(move |scheme| {
        let factory = Packets {
            scheme: *scheme,
            codecs: codecs.clone(),
        };
        (scheme.name(), Arc::new(factory) as Factory<P::Codec>)
    })
}

type Factory<C> =
    Arc<dyn TransportFactory<<C as MessageCodec>::Sent, <C as MessageCodec>::Received>>;

/// Connected when it is first used.
struct Packets<P> {
    scheme: PacketScheme,
    codecs: Arc<P>,
}

impl<P, C> TransportFactory<C::Sent, C::Received> for Packets<P>
where
    P: PacketCodecs<Codec = C>,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
{
    fn create(&self, params: &Params) -> Result<DynTransport<C::Sent, C::Received>, Error> {
        let plan = self.scheme.plan(params)?;
        let limit = plan.limit();
        let shared = Arc::new((plan, self.codecs.clone()));
        let dial = Arc::new(move |options: &DialOptions| {
            let (shared, options) = (shared.clone(), options.clone());
            let dialled = async move {
                let (codec, frame) = shared.1.make();
                shared.0.dial(codec, frame, &options).await
            };
            Box::pin(dialled) as BoxFuture<'static, _>
        });
        Ok(lazy(dial, limit, Broken::Stays))
    }

    fn keys(&self) -> &'static [KeySpec] {
        self.scheme.keys()
    }
}
