//! The factories that are built in.

use std::sync::Arc;

use bowline_codec::Codec;

use super::TransportFactory;
use crate::client::{Broken, lazy};
use crate::dyn_transport::DynTransport;
use crate::error::Error;
use crate::memory::MemoryNetwork;
use crate::params::{KeySpec, Params};
use crate::scheme::{DialOptions, Scheme};

pub(super) struct Builtin<F> {
    scheme: Scheme,
    codec: Arc<F>,
    network: MemoryNetwork,
}

impl<F> Builtin<F> {
    pub(super) fn new(scheme: Scheme, codec: Arc<F>, network: MemoryNetwork) -> Self {
        Builtin {
            scheme,
            codec,
            network,
        }
    }
}

impl<F, C> TransportFactory<C::Sent, C::Item> for Builtin<F>
where
    F: Fn() -> C + Send + Sync + 'static,
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    fn create(&self, params: &Params) -> Result<DynTransport<C::Sent, C::Item>, Error> {
        let plan = self.scheme.plan(params, Some(&self.network))?;
        plan.check()?;
        let broken = match plan.reconnect {
            true => Broken::IsReplaced,
            false => Broken::Stays,
        };
        let limit = plan.limit();
        let shared = Arc::new((plan, self.codec.clone()));
        let dial = Arc::new(move |options: &DialOptions| {
            let (shared, options) = (shared.clone(), options.clone());
            let dialled = async move { shared.0.dial(&*shared.1, &options).await };
            Box::pin(dialled) as crate::dyn_transport::BoxFuture<'static, _>
        });
        Ok(lazy(dial, limit, broken))
    }

    fn keys(&self) -> &'static [KeySpec] {
        self.scheme.keys()
    }
}
