//! Wrong use that the compiler finds in what the attributes make of it, at the places of the program.

use bowline::rpc::{Caller, MemoryBroker, Registry, executor::AsyncExecutor};
use std::rc::Rc;

pub struct Opaque;

#[bowline::rpc] //~ `Opaque: serde::Serialize` //~ `Opaque: serde::
pub async fn takes_opaque(
    count: u32,
    opaque: Opaque, //~ `Opaque: serde::Serialize` //~ `Opaque: serde::
) -> u32 {
    drop(opaque);
    count
}

#[bowline::rpc]
pub async fn gives_opaque() -> Opaque //~ `Opaque: serde::Serialize` //~ `Opaque: serde::
{
    Opaque
}

#[bowline::rpc]
pub async fn fails_with_opaque() -> Result<u32, Opaque> //~ `Opaque: serde::Serialize` //~ `Opaque: serde::
{
    Err(Opaque)
}

#[bowline::rpc] //~ `Rc<u8>: serde:: //~ cannot be sent between threads safely
pub async fn takes_what_stays( //~ cannot be sent between threads safely
    shared: Rc<u8>, //~ `Rc<u8>: serde:: //~ cannot be sent between threads safely
) {
    drop(shared);
}

#[bowline::rpc]
pub async fn add(a: i64, b: i64) -> i64 {
    a + b
}

pub fn registers(registry: &Registry) {
    let _ = registry.register(add);
    let _ = registry.register(plain); //~ is no function with `#[bowline::rpc]`
}

pub struct Plain;

fn plain(_: i64) -> Plain {
    Plain
}

pub async fn calls(registry: Registry) -> Result<(), bowline::rpc::Error> {
    let run = MemoryBroker::new(AsyncExecutor::new(registry, 1)).run(async |broker| {
        broker.call(add(1)).await?; //~ this function takes 2 arguments but 1 argument was supplied
        let text: String = broker.call(add(1, 2)).await?; //~ `?` operator has incompatible types
        broker.call(add("one", 2)).await?; //~ mismatched types
        drop(text);
        Ok::<(), bowline::rpc::Error>(())
    });
    run.await
}
