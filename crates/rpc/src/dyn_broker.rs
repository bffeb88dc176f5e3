//! Any broker behind one type.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::submit_encoded;
use crate::{
    Addressed, Broker, Call, CallError, CallOptions, CallType, CloseCause, DrainReport,
    MemoryBroker, MethodName, MethodTable, OutCall, RawStream, RegistryError, Reply, TcpBroker,
};

/// Any broker: for programs that choose one while they run, and keep it in a field without a type
/// parameter.
///
/// The brokers of this crate are called through it as they are, so nothing is lost by it: a
/// [`MemoryBroker`] does not encode calls that are values. Others are boxed, and their calls are encoded.
///
/// A handle, as every broker is.
///
/// # Examples
/// ```
/// use bowline_backend::Backend;
/// use bowline_rpc::{Caller, DynBroker, Error, MemoryBroker, Registry, executor::AsyncExecutor};
///
/// struct Shop {
///     broker: DynBroker,
/// }
///
/// let registry = Registry::new("example");
/// registry.register_fn("price", |(item,): (String,)| async move { item.len() })?;
/// let price = Backend::Tokio.block_on(
///     MemoryBroker::new(AsyncExecutor::new(registry, 4)).run(async |broker| -> Result<usize, Error> {
///         let shop = Shop { broker: DynBroker::new(broker) };
///         Ok(shop.broker.call_named("price", ("rope",)).await?)
///     }),
/// )?;
/// assert_eq!(price, 4);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct DynBroker(Kind);

#[derive(Clone)]
enum Kind {
    Memory(MemoryBroker),
    Tcp(TcpBroker),
    Other(Arc<dyn Boxed>),
}

impl DynBroker {
    /// `broker` as one of this type.
    pub fn new(broker: impl Broker) -> DynBroker {
        let any: &dyn Any = &broker;
        if let Some(broker) = any.downcast_ref::<DynBroker>() {
            return broker.clone();
        }
        DynBroker(if let Some(memory) = any.downcast_ref::<MemoryBroker>() {
            Kind::Memory(memory.clone())
        } else if let Some(tcp) = any.downcast_ref::<TcpBroker>() {
            Kind::Tcp(tcp.clone())
        } else {
            Kind::Other(Arc::new(broker))
        })
    }
}

impl Broker for DynBroker {
    async fn submit(&self, call: OutCall) -> Result<Reply, CallError> {
        match &self.0 {
            Kind::Memory(broker) => broker.submit(call).await,
            Kind::Tcp(broker) => broker.submit(call).await,
            Kind::Other(broker) => broker.submit_boxed(call).await,
        }
    }

    async fn open(&self, call: OutCall) -> Result<RawStream, CallError> {
        match &self.0 {
            Kind::Memory(broker) => broker.open(call).await,
            Kind::Tcp(broker) => broker.open(call).await,
            Kind::Other(broker) => broker.open_boxed(call).await,
        }
    }

    async fn notify_raw(&self, call: OutCall) -> Result<(), CallError> {
        match &self.0 {
            Kind::Memory(broker) => broker.notify_raw(call).await,
            Kind::Tcp(broker) => broker.notify_raw(call).await,
            Kind::Other(broker) => broker.notify_boxed(call).await,
        }
    }

    async fn submit_typed<C: Call>(
        &self,
        call: C,
        options: CallOptions,
    ) -> Result<C::Reply, CallError<C::Error>> {
        match &self.0 {
            Kind::Memory(broker) => broker.submit_typed(call, options).await,
            Kind::Tcp(broker) => broker.submit_typed(call, options).await,
            Kind::Other(_) => submit_encoded(self, call, options).await,
        }
    }

    async fn submit_each(&self, call: OutCall) -> Result<Vec<Addressed>, CallError> {
        match &self.0 {
            Kind::Memory(broker) => broker.submit_each(call).await,
            Kind::Tcp(broker) => broker.submit_each(call).await,
            Kind::Other(broker) => broker.submit_each_boxed(call).await,
        }
    }

    fn methods(&self) -> MethodTable {
        match &self.0 {
            Kind::Memory(broker) => broker.methods(),
            Kind::Tcp(broker) => broker.methods(),
            Kind::Other(broker) => broker.methods_boxed(),
        }
    }

    fn name_of(&self, call: CallType) -> Result<MethodName, RegistryError> {
        match &self.0 {
            Kind::Memory(broker) => broker.name_of(call),
            Kind::Tcp(broker) => broker.name_of(call),
            Kind::Other(broker) => broker.name_boxed(call),
        }
    }

    async fn drain(&self, most: Duration) -> DrainReport {
        match &self.0 {
            Kind::Memory(broker) => broker.drain(most).await,
            Kind::Tcp(broker) => broker.drain(most).await,
            Kind::Other(broker) => broker.drain_boxed(most).await,
        }
    }

    fn close(&self) {
        match &self.0 {
            Kind::Memory(broker) => broker.close(),
            Kind::Tcp(broker) => broker.close(),
            Kind::Other(broker) => broker.close_boxed(),
        }
    }

    async fn closed(&self) -> CloseCause {
        match &self.0 {
            Kind::Memory(broker) => broker.closed().await,
            Kind::Tcp(broker) => broker.closed().await,
            Kind::Other(broker) => broker.closed_boxed().await,
        }
    }
}

impl fmt::Debug for DynBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_tuple("DynBroker");
        match &self.0 {
            Kind::Memory(broker) => out.field(broker).finish(),
            Kind::Tcp(broker) => out.field(broker).finish(),
            Kind::Other(_) => out.finish_non_exhaustive(),
        }
    }
}

type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What every broker is, without type parameters.
trait Boxed: Send + Sync {
    fn submit_boxed(&self, call: OutCall) -> Pending<'_, Result<Reply, CallError>>;

    fn open_boxed(&self, call: OutCall) -> Pending<'_, Result<RawStream, CallError>>;

    fn notify_boxed(&self, call: OutCall) -> Pending<'_, Result<(), CallError>>;

    fn submit_each_boxed(&self, call: OutCall) -> Pending<'_, Result<Vec<Addressed>, CallError>>;

    fn methods_boxed(&self) -> MethodTable;

    fn name_boxed(&self, call: CallType) -> Result<MethodName, RegistryError>;

    fn drain_boxed(&self, most: Duration) -> Pending<'_, DrainReport>;

    fn close_boxed(&self);

    fn closed_boxed(&self) -> Pending<'_, CloseCause>;
}

impl<B: Broker> Boxed for B {
    fn submit_boxed(&self, call: OutCall) -> Pending<'_, Result<Reply, CallError>> {
        Box::pin(self.submit(call))
    }

    fn open_boxed(&self, call: OutCall) -> Pending<'_, Result<RawStream, CallError>> {
        Box::pin(self.open(call))
    }

    fn notify_boxed(&self, call: OutCall) -> Pending<'_, Result<(), CallError>> {
        Box::pin(self.notify_raw(call))
    }

    fn submit_each_boxed(&self, call: OutCall) -> Pending<'_, Result<Vec<Addressed>, CallError>> {
        Box::pin(self.submit_each(call))
    }

    fn methods_boxed(&self) -> MethodTable {
        self.methods()
    }

    fn name_boxed(&self, call: CallType) -> Result<MethodName, RegistryError> {
        self.name_of(call)
    }

    fn drain_boxed(&self, most: Duration) -> Pending<'_, DrainReport> {
        Box::pin(self.drain(most))
    }

    fn close_boxed(&self) {
        self.close();
    }

    fn closed_boxed(&self) -> Pending<'_, CloseCause> {
        Box::pin(self.closed())
    }
}
