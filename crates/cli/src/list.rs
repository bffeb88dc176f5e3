//! `bowline list`: the methods of a broker.

use std::io::Write;

use bowline::rpc::sys::{MethodReflection, Reflection};
use bowline::rpc::{Caller, TcpBroker};
use serde_json::Value;

use crate::command_line::List;
use crate::failure::Failure;
use crate::table;

/// Asks for the methods and prints them.
pub(crate) async fn run(broker: &TcpBroker, list: &List) -> Result<(), Failure> {
    if list.json {
        let reflection: Value = broker.call_named("sys.reflect", ()).fail_fast().await?;
        writeln!(std::io::stdout(), "{reflection}")?;
        return Ok(());
    }
    let reflection: Reflection = broker.call_named("sys.reflect", ()).fail_fast().await?;
    let mut rows = vec![vec!["METHOD".into(), "KIND".into(), "OPTIONS".into()]];
    for method in &reflection.methods {
        rows.push(vec![
            method.name.clone(),
            method.kind.clone(),
            options(method),
        ]);
    }
    Ok(table::print(&rows)?)
}

fn options(method: &MethodReflection) -> String {
    let mut said = Vec::new();
    for (is, word) in [
        (method.idempotent, "idempotent"),
        (method.no_cancel, "no_cancel"),
        (method.blocking, "blocking"),
        (method.strict_schema, "strict_schema"),
    ] {
        if is {
            said.push(word.to_owned());
        }
    }
    said.extend(method.timeout_ms.map(|ms| format!("timeout={ms}ms")));
    said.extend(method.concurrency.map(|most| format!("concurrency={most}")));
    said.join(" ")
}
