//! The broker that handlers in a child find.

use std::time::Duration;

use super::note::with_hash;
use crate::{
    Addressed, Broker, CallError, CallType, CloseCause, DrainReport, DynBroker, MethodName,
    MethodTable, OutCall, RawStream, RegistryError, Reply, TcpBroker,
};

/// The broker to the parent, which tells it of calls what is for the broker there.
#[derive(Clone)]
pub(super) struct Upward(TcpBroker);

impl Upward {
    pub(super) fn over(broker: TcpBroker) -> DynBroker {
        DynBroker::new(Self(broker))
    }
}

fn noted(mut call: OutCall) -> OutCall {
    let options = &mut call.options;
    let mut extensions = with_hash(&options.extensions, options.hash);
    if let Some(schema) = call
        .expected
        .schema
        .filter(|_| extensions.schema().is_none())
    {
        extensions = extensions.with_schema(schema.hash);
    }
    options.extensions = extensions;
    call.expected.is_passed_on = true;
    call
}

impl Broker for Upward {
    async fn submit(&self, call: OutCall) -> Result<Reply, CallError> {
        self.0.submit(noted(call)).await
    }

    async fn open(&self, call: OutCall) -> Result<RawStream, CallError> {
        self.0.open(noted(call)).await
    }

    async fn notify_raw(&self, call: OutCall) -> Result<(), CallError> {
        self.0.notify_raw(noted(call)).await
    }

    async fn submit_each(&self, call: OutCall) -> Result<Vec<Addressed>, CallError> {
        self.0.submit_each(noted(call)).await
    }

    fn methods(&self) -> MethodTable {
        self.0.methods()
    }

    fn name_of(&self, call: CallType) -> Result<MethodName, RegistryError> {
        self.0.name_of(call)
    }

    async fn drain(&self, most: Duration) -> DrainReport {
        self.0.drain(most).await
    }

    fn close(&self) {
        self.0.close();
    }

    async fn closed(&self) -> CloseCause {
        self.0.closed().await
    }
}
