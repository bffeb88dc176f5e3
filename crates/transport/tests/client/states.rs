//! What a client shows of itself, while others change it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_codec::{DecodeError, EncodeError, Framing, Lines, MessageCodec, Text as TextCodec};
use bowline_transport::{
    Client, ClientState, DynTransport, ErrorKind, MemoryStream, MessageStream,
};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;

use crate::reconnecting::plain;
use crate::{Dialled, Text, on_every_backend};

on_every_backend!(
    a_connection_that_is_made_while_another_goes_is_shown,
    an_attempt_that_panics_is_none_any_more,
);

/// A codec that connects a client when its connection goes.
struct Connects {
    text: TextCodec,
    client: Arc<Mutex<Option<Text>>>,
}

impl MessageCodec for Connects {
    type Sent = String;
    type Received = String;

    fn encode(&self, message: &String, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.text.encode(message, out)
    }

    fn decode(&self, frame: &Bytes) -> Result<String, DecodeError> {
        self.text.decode(frame)
    }
}

impl Drop for Connects {
    fn drop(&mut self) {
        let client = self.client.lock().unwrap().take();
        if let Some(client) = client {
            client.connect().now_or_never().unwrap().unwrap();
        }
    }
}

// CL2
async fn a_connection_that_is_made_while_another_goes_is_shown() {
    let peers = Arc::new(Mutex::new(Vec::new()));
    let next = Arc::new(Mutex::new(None));
    let (far_ends, connects) = (peers.clone(), Arc::clone(&next));
    let client: Text = Client::with_dial(move || -> std::future::Ready<Dialled> {
        let (here, there) = MemoryStream::pair();
        far_ends.lock().unwrap().push(there);
        let text = TextCodec::new();
        let client = connects.clone();
        let codec = Lines::lf().with(Connects { text, client });
        std::future::ready(Ok(DynTransport::new(MessageStream::new(here, codec))))
    });
    let client = client.reconnect(plain(Duration::ZERO));
    let state = client.state();
    client.connect().await.unwrap();
    *next.lock().unwrap() = Some(client.clone());
    peers.lock().unwrap().clear();
    let error = client.recv().await.unwrap_err();
    assert!(error.is_connection(), "{error}");
    assert_eq!(peers.lock().unwrap().len(), 1, "it has connected again");
    assert_eq!(*state.latest(), ClientState::Ready);
}

// CL1
async fn an_attempt_that_panics_is_none_any_more() {
    let client: Text = Client::with_dial(|| async { panic!("a dial of somebody's") });
    let state = client.state();
    let panicked = std::panic::AssertUnwindSafe(client.connect())
        .catch_unwind()
        .await;
    assert!(panicked.is_err());
    assert_eq!(*state.latest(), ClientState::Idle);
    client.close().await.unwrap();
    assert_eq!(client.recv().await.unwrap_err().kind(), ErrorKind::Closed);
}
