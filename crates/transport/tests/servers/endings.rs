//! How connections end.

use std::time::Duration;

use bowline_transport::{Error, Server, Transport};

use crate::{beside, connect, line};

pub(crate) async fn a_handler_that_returns_closes() {
    let server = Server::tcp(("127.0.0.1", 0)).codec(line);
    let bound = server.bind().await.unwrap();
    let handle = bound.handle();
    let serving = bound.serve_fn(|peer, mut messages| async move {
        if let Some(message) = messages.recv().await? {
            peer.send(&message).await?;
        }
        Ok::<(), Error>(())
    });
    beside(serving, async {
        let mut client = connect(&handle).await;
        client.send(&"hello".to_owned()).await.unwrap();
        assert_eq!(client.recv().await.unwrap().as_deref(), Some("hello"));
        assert_eq!(client.recv().await.unwrap(), None);
        let report = handle.drain(Duration::from_secs(10)).await;
        assert_eq!(report, Default::default());
        assert_eq!(handle.counters().completed, 1);
    })
    .await;
}
