//! async-std alone, on its executor of the process.

use async_std::net::TcpListener;
use futures_util::{AsyncReadExt, AsyncWriteExt};

type Stream = async_std::net::TcpStream;

fn block_on<F: Future>(future: F) -> F::Output {
    async_std::task::block_on(future)
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    drop(async_std::task::spawn(future));
}

async fn pair() -> (Stream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Stream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

fn sleep(span: Duration) -> impl Future<Output = ()> {
    async_std::task::sleep(span)
}

crate::scenarios::scenarios!();
