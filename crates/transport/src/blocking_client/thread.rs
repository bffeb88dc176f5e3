//! The thread that a blocking client owns.

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads};
use bowline_concurrency::sync::Once;
use bowline_concurrency::{Portal, Root};

use crate::error::{Error, ErrorKind, Operation};

/// A root on a backend, in a thread, with a portal into it. Dropped, it ends, and is waited for.
pub(super) struct ClientThread {
    backend: Backend,
    portal: Portal,
    ended: Arc<Once<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ClientThread {
    pub(super) fn start(backend: Backend) -> Result<ClientThread, Error> {
        if !backend.capabilities().multi_thread {
            let why = "a simulated world has one thread, and waits for no other";
            let source = std::io::Error::new(std::io::ErrorKind::Unsupported, why);
            return Err(Error::new(Operation::Connect, ErrorKind::Unsupported).with_source(source));
        }
        let (sender, opened) = std::sync::mpsc::sync_channel(1);
        let ended = Arc::new(Once::new());
        let until = ended.clone();
        let serve = move || {
            let open = Portal::open(|portal| async move {
                let _ = sender.send(portal);
                until.wait().await;
                Ok::<_, std::convert::Infallible>(())
            });
            let options = RunOptions::default().threads(Threads::One);
            let root = Root::new().backend(backend).options(options);
            let _ = root.name("client").block_on(open);
        };
        let thread = thread::Builder::new().name("bowline-client".to_owned());
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread of its own is what a blocking client is for; its drop joins it"
        )]
        let thread = thread.spawn(serve);
        let failed = |error| Error::new(Operation::Connect, ErrorKind::Resource).with_source(error);
        let thread = thread.map_err(failed)?;
        let Ok(portal) = opened.recv() else {
            let _ = thread.join();
            let why = "the thread of the client did not begin";
            return Err(failed(std::io::Error::other(why)));
        };
        Ok(ClientThread {
            backend,
            portal,
            ended,
            thread: Some(thread),
        })
    }

    pub(super) fn backend(&self) -> Backend {
        self.backend
    }

    pub(super) fn portal(&self) -> &Portal {
        &self.portal
    }
}

impl Drop for ClientThread {
    fn drop(&mut self) {
        let _ = self.ended.set(());
        let Some(thread) = self.thread.take() else {
            return;
        };
        // Dropped by what runs in it, such as an `on_connect` that had a clone, it ends by itself.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for ClientThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientThread")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
