//! Wrong use that the compiler finds in what the attributes make of it, at the places of the program.

use bowline::rpc::{Caller, Incoming, MemoryBroker, Registry, executor::AsyncExecutor};
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

#[bowline::rpc]
pub async fn sum(numbers: Incoming<u32>) -> u64 {
    drop(numbers);
    0
}

#[bowline::service]
pub trait Sums {
    async fn sum(&self, numbers: Incoming<u32>) -> u64;
    async fn last(&self) -> u64;
}

pub async fn awaits(broker: MemoryBroker) -> Result<(), bowline::rpc::Error> {
    let client = SumsClient::new(broker.clone());
    client.last().await?;
    client.last().open().await?; //~ no method named `open` found
    client.sum().await; //~ a call of `__Sums_sum` has items, so it is opened, not awaited
    broker.call(sum()).timeout(std::time::Duration::ZERO).await; //~ a call of `sum` has items, so it is opened, not awaited
    drop(broker.call(sum()).open().await?.sender);
    Ok(())
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
