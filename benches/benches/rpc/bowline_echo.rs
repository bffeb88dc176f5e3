//! The same echo through Bowline: a typed call over a `TcpBroker` on tokio.

use std::time::{Duration, Instant};

use bowline::backend::Backend;
use bowline::backend::task::{RunOptions, Threads};
use bowline::concurrency::{Root, task_group};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Caller, Error, Registry, TcpBroker};

use bowline_benches::server_process::say_port;

use crate::PAYLOAD;

#[bowline::rpc(name = "echo")]
async fn echo(payload: Vec<u8>) -> Vec<u8> {
    payload
}

fn root() -> Root {
    let options = RunOptions::default().threads(Threads::One);
    Root::new().backend(Backend::Tokio).options(options)
}

pub(crate) fn serve() {
    root().block_on(async {
        let registry = Registry::new("bench");
        registry.register(echo).unwrap();
        TcpBroker::builder(AsyncExecutor::new(registry, 1024))
            .listen("127.0.0.1:0")
            .run(async |server| -> Result<(), Error> {
                say_port(server.local_addrs()[0].port());
                std::future::pending().await
            })
            .await
            .unwrap();
    });
}

pub(crate) fn call(port: u16, calls: usize, in_flight: usize) -> Vec<Duration> {
    let address = format!("127.0.0.1:{port}");
    root().block_on(async move {
        TcpBroker::caller()
            .project("bench")
            .connect(address)
            .run(async |client| -> Result<Vec<Duration>, Error> {
                let each = calls / in_flight;
                let callers = task_group(async |group| {
                    let mut callers = Vec::with_capacity(in_flight);
                    for _ in 0..in_flight {
                        let client = client.clone();
                        callers.push(group.spawn(async move {
                            let mut latencies = Vec::with_capacity(each);
                            for _ in 0..each {
                                let start = Instant::now();
                                let reply = client.call(echo(PAYLOAD.to_vec())).await?;
                                latencies.push(start.elapsed());
                                assert_eq!(reply, PAYLOAD);
                            }
                            Ok::<_, Error>(latencies)
                        }));
                    }
                    let mut all = Vec::with_capacity(calls);
                    for caller in callers {
                        all.extend(caller.join().await.expect("a caller that ended"));
                    }
                    Ok::<_, Error>(all)
                });
                Ok(callers.await.expect("no call fails"))
            })
            .await
            .unwrap()
    })
}
