//! A calculator as a service: one trait is the client, the server and the names on the wire.
//!
//! `cargo run -p bowline --example calculator --all-features`

use bowline::rpc::executor::ThreadPoolExecutor;
use bowline::rpc::{Broker, Caller, MemoryBroker, Registry, TcpBroker, named};
use serde::{Deserialize, Serialize};

/// Calculates.
#[bowline::service(name = "calculator")]
pub trait Calculator {
    /// The sum.
    #[rpc(idempotent)]
    async fn add(&self, a: i64, b: i64) -> i64;

    /// The quotient.
    #[rpc(idempotent, timeout = "5s")]
    async fn div(&self, dividend: i64, #[rpc(default)] divisor: Divisor) -> Result<i64, DivError>;
}

/// What is divided by: 2 where nothing is said.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Divisor(i64);

impl Default for Divisor {
    fn default() -> Self {
        Divisor(2)
    }
}

/// Why there is no quotient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DivError {
    /// The dividend was to be divided by zero.
    ByZero {
        /// That dividend.
        dividend: i64,
    },
}

struct Here;

impl Calculator for Here {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn div(&self, dividend: i64, Divisor(divisor): Divisor) -> Result<i64, DivError> {
        dividend
            .checked_div(divisor)
            .ok_or(DivError::ByZero { dividend })
    }
}

/// The same through any broker.
async fn calculate<B: Broker>(broker: B) -> Result<(), bowline::Error> {
    let calculator = CalculatorClient::new(broker.clone());
    assert_eq!(calculator.add(2, 3).await?, 5);
    assert_eq!(calculator.div(7, Divisor(2)).await?, 3);
    let error = calculator
        .div(7, Divisor(0))
        .await
        .expect_err("there is none");
    assert_eq!(error.application(), Some(&DivError::ByZero { dividend: 7 }));
    // A program that has not got the trait uses names.
    let half: Result<i64, _> = broker
        .call_named_with("calculator.div", named! { dividend: 42 })
        .await;
    assert_eq!(half?, 21);
    Ok(())
}

fn registry() -> Result<Registry, bowline::Error> {
    let registry = Registry::new("example");
    registry.register_all(calculator_service(Here))?;
    Ok(registry)
}

#[bowline::main]
async fn main() -> Result<(), bowline::Error> {
    MemoryBroker::new(ThreadPoolExecutor::new(registry()?, 4))
        .run(calculate)
        .await?;
    println!("calculated within the process");
    TcpBroker::builder(ThreadPoolExecutor::new(registry()?, 4))
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), bowline::Error> {
            let address = server.local_addrs()[0];
            let client = TcpBroker::caller().project("example").connect(address);
            client.run(calculate).await?;
            println!("calculated at {address}");
            Ok(())
        })
        .await
}
