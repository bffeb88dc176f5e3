//! `bowline call`: one call, its arguments and its reply JSON.

use std::io::Write;

use bowline::backend::time;
use bowline::rpc::proto::Extensions;
use bowline::rpc::{Broker, CallError, CallOptions, Codec, OutCall, TcpBroker, UnknownMethod};
use bytes::Bytes;
use serde_json::Value;

use crate::command_line::Called;
use crate::failure::Failure;

/// Calls, and prints the reply.
pub(crate) async fn run(broker: &TcpBroker, call: &Called) -> Result<(), Failure> {
    let reply = submit(broker, call).await?;
    // As it came, with its fields in their order, once it is known to be JSON.
    serde_json::from_slice::<Value>(&reply).map_err(|error| Failure::NoJson(error.to_string()))?;
    let mut out = std::io::stdout().lock();
    out.write_all(&reply)?;
    Ok(writeln!(out)?)
}

/// Calls; the answer is what the method replied.
pub(crate) async fn submit(broker: &TcpBroker, call: &Called) -> Result<Bytes, CallError> {
    let mut options = CallOptions::new(Codec::Json);
    options.deadline = time::now() + call.timeout;
    if !call.wait {
        options.unknown = UnknownMethod::FailFast;
    }
    if !call.metadata.is_empty() {
        let said = call.metadata.iter();
        let said = said.fold(Extensions::builder(), |said, (key, value)| {
            said.metadata(key, value.as_bytes())
        });
        options.extensions = said.build();
    }
    let body = Bytes::from(call.arguments.to_string());
    let mut out = OutCall::new(&*call.method, body, options);
    out.named = call.named;
    Ok(broker.submit(out).await?.body)
}
