//! A handler that does what its peer writes, and tells what became of it.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_concurrency::cancelled;
use bowline_concurrency::sync::{Event, Queue};
use bowline_transport::{ConnectionHandler, End, Error, Messages, Peer, ServerHandle, Transport};

/// What the handler and its test share.
pub(crate) struct Scripted {
    pub(crate) ends: Queue<(String, End)>,
    /// Handlers told `wait` go on once it is set.
    pub(crate) gate: Event,
    /// Handlers that began to wait, in whatever way, have passed here.
    pub(crate) waiting: Queue<()>,
    /// The most connections there were at once.
    pub(crate) most: AtomicUsize,
}

impl Scripted {
    pub(crate) fn new() -> Arc<Scripted> {
        Arc::new(Scripted {
            ends: Queue::bounded(100_000).unwrap(),
            gate: Event::new(),
            waiting: Queue::bounded(100_000).unwrap(),
            most: AtomicUsize::new(0),
        })
    }

    /// How the next connection ended, and what it called itself.
    pub(crate) async fn end(&self) -> (String, End) {
        self.ends.recv().await.unwrap()
    }
}

/// The first line is the name of the connection; each further one is a command.
pub(crate) struct Script {
    pub(crate) shared: Arc<Scripted>,
    pub(crate) server: std::sync::OnceLock<ServerHandle>,
    names: std::sync::Mutex<std::collections::BTreeMap<u64, String>>,
}

impl Script {
    pub(crate) fn new(shared: &Arc<Scripted>) -> Script {
        Script {
            shared: shared.clone(),
            server: std::sync::OnceLock::new(),
            names: std::sync::Mutex::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Transport(#[from] Error),
    #[error("told to fail")]
    Told,
}

impl<T> ConnectionHandler<T> for Script
where
    T: Transport<Sent = String, Received = String> + 'static,
{
    type Error = Failure;

    async fn on_start(
        &self,
        server: &ServerHandle,
        _: &bowline_concurrency::TaskGroup<bowline_concurrency::AnyError>,
    ) {
        assert!(self.server.set(server.clone()).is_ok(), "started twice");
    }

    async fn on_connection(
        &self,
        peer: &Peer<T>,
        messages: &mut Messages<T>,
    ) -> Result<(), Failure> {
        let now = self.server.get().unwrap().connections();
        self.shared.most.fetch_max(now, Ordering::Relaxed);
        let name = messages.recv().await?.unwrap_or_default();
        match &*name {
            "unwanted" => return Err(Failure::Told),
            "unlucky" => panic!("told to panic"),
            _ => {}
        }
        peer.send(&format!("welcome {name}")).await?;
        let mut names = self.names.lock().unwrap();
        names.insert(peer.id().as_u64(), name);
        Ok(())
    }

    async fn handle(&self, peer: &Peer<T>, messages: &mut Messages<T>) -> Result<(), Failure> {
        while let Some(command) = messages.recv().await? {
            match &*command {
                "leave" => return Ok(()),
                "fail" => return Err(Failure::Told),
                "panic" => panic!("told to panic"),
                "close" => peer.close().await?,
                "abort" => peer.abort(),
                "wait" => {
                    self.shared.waiting.send(()).await.unwrap();
                    self.shared.gate.wait().await;
                    peer.send(&"waited".to_owned()).await?;
                }
                "hang" => {
                    self.shared.waiting.send(()).await.unwrap();
                    pending::<()>().await;
                }
                "hang until told" => {
                    self.shared.waiting.send(()).await.unwrap();
                    cancelled().await;
                    return Ok(());
                }
                other => peer.send(&other.to_owned()).await?,
            }
        }
        Ok(())
    }

    async fn on_end(&self, peer: &Peer<T>, end: End) {
        assert!(peer.is_closed(), "{end:?}");
        let name = self.names.lock().unwrap().remove(&peer.id().as_u64());
        let name = name.expect("it began, and ends once");
        self.shared.ends.send((name, end)).await.unwrap();
    }
}
