//! The parts of smol alone, on one thread: async-executor and async-io.

use std::net::{TcpListener, TcpStream};

use async_executor::Executor;
use async_io::{Async, Timer};
use futures_util::{AsyncReadExt, AsyncWriteExt};

type Stream = Async<TcpStream>;

static EXECUTOR: Executor<'static> = Executor::new();

fn block_on<F: Future>(future: F) -> F::Output {
    async_io::block_on(EXECUTOR.run(future))
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    EXECUTOR.spawn(future).detach();
}

async fn pair() -> (Stream, Stream) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    let client = Stream::connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    client.get_ref().set_nodelay(true).unwrap();
    server.get_ref().set_nodelay(true).unwrap();
    (client, server)
}

fn sleep(span: Duration) -> impl Future<Output = Instant> {
    Timer::after(span)
}

crate::scenarios::scenarios!();
