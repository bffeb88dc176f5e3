//! Bowline on each runtime, on one thread where the runtime has a choice.

use bowline::backend::Backend;
use bowline::backend::task::{RunOptions, Threads};

macro_rules! entrant {
    ($module:ident, $backend:expr) => {
        pub(crate) mod $module {
            use bowline::backend::net::{TcpListener, TcpStream};
            use bowline::backend::{task, time};
            use futures_util::{AsyncReadExt, AsyncWriteExt};

            type Stream = TcpStream;

            fn block_on<F: Future>(future: F) -> F::Output {
                super::block_on($backend, future)
            }

            fn spawn(future: impl Future<Output = ()> + Send + 'static) {
                task::spawn_detached(future);
            }

            async fn pair() -> (Stream, Stream) {
                let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
                let address = listener.local_addr().unwrap();
                let client = TcpStream::connect(address).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                (client, server)
            }

            fn sleep(span: Duration) -> impl Future<Output = ()> {
                time::sleep_until(time::now() + span)
            }

            crate::scenarios::scenarios!();
        }
    };
}

entrant!(tokio, super::Backend::Tokio);
entrant!(smol, super::Backend::Smol);
entrant!(async_std, super::Backend::AsyncStd);

fn block_on<F: Future>(backend: Backend, future: F) -> F::Output {
    backend.block_on_with(RunOptions::default().threads(Threads::One), future)
}
