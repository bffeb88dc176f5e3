//! A child from its start until it serves.

use std::io;
use std::sync::Arc;

use bowline_backend::net::UnixStream;
use bowline_backend::time::Instant;
use bowline_backend::{blocking, time};
use bowline_concurrency::{Defer, timeout_at};

use super::super::build::{SAME_FILE, build_id, methods_id, this_program};
use super::super::child::{Child, Socket};
use super::super::lease::{Worker, tend};
use super::super::relay::Relays;
use super::super::worker::{IDENTITY, Identity, between_processes};
use super::{Entry, Pool, Refuses};
use crate::executor::AsyncExecutor;
use crate::proto::Side;
use crate::{Broker, Caller, Error, ErrorKind, MethodTable, TcpBroker, brokers};

/// Calls of one child that are passed on at once, as many as it may make: an eighth of it at each level.
const RELAYED: usize = 1024;

impl Pool {
    /// Starts a child that counts as starting.
    pub(super) fn start(self: &Arc<Self>) {
        let starting = Starting {
            pool: self.clone(),
            began: time::now(),
            ended: false,
        };
        // A closed group drops it; then the broker is over.
        drop(self.group.spawn_ok(async move {
            let started = starting.pool.start_one().await;
            starting.ended(started);
        }));
    }

    async fn start_one(&self) -> Result<(Worker, Defer<Child>), Error> {
        let until = time::now() + self.options.start_timeout;
        let failed = |error| Error::transport("no child was started", error);
        let (child, socket) = Child::start(&self.options).await.map_err(failed)?;
        let child = Defer::new(child, Child::kill);
        let late = |_| Error::new(ErrorKind::Transport, "the child did not serve in time");
        let served = timeout_at(until, self.meet(socket)).await;
        match served.map_err(late).flatten() {
            Ok(broker) => Ok((Worker::new(broker, child.pid()), child)),
            Err(error) => {
                child.into_inner().kill().await;
                Err(error)
            }
        }
    }

    /// Asks a child who it is, over its socket.
    async fn meet(&self, socket: Socket) -> Result<TcpBroker, Error> {
        let failed = |error| Error::transport("no child was started", error);
        let stream = UnixStream::from_std(socket).map_err(failed)?;
        let mut relays = Relays::new(self.origin, self.options.registry.project());
        let table = brokers::find(self.origin).map(|broker| broker.methods());
        let table = table.unwrap_or_else(|| MethodTable::fixed::<&str>([]));
        let executor = AsyncExecutor::new(relays.registry(&table), RELAYED);
        let broker = between_processes(TcpBroker::builder(executor), &self.options.registry)?
            .adopt(stream, Side::Dialer)
            .start(&self.group)
            .await?;
        drop(self.group.spawn_ok(relays.follow(table, broker.clone())));
        let broker = CloseOnDrop(Some(broker));
        let theirs = broker.get().call_named::<Identity>(IDENTITY, ());
        let (build, methods) = theirs.fail_fast().await.map_err(Error::from)?;
        if methods == methods_id(&self.options.registry) && is_ours(build).await.map_err(failed)? {
            Ok(broker.keep())
        } else {
            Err(Refuses::Mismatch.into())
        }
    }
}

/// Whether a child of this build has the same bytes as this program.
async fn is_ours(build: [u8; 16]) -> io::Result<bool> {
    if build == SAME_FILE {
        return Ok(true);
    }
    let ours = blocking::spawn_blocking(|| build_id(&this_program()?));
    let ours = ours
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error.to_string())))?;
    Ok(build == ours)
}

/// A child that counts as starting, until it serves or does not.
struct Starting {
    pool: Arc<Pool>,
    began: Instant,
    ended: bool,
}

impl Starting {
    fn ended(mut self, started: Result<(Worker, Defer<Child>), Error>) {
        self.ended = true;
        let pool = self.pool.clone();
        let now = time::now();
        let mut state = pool.state();
        let served = match started {
            Ok((worker, child)) => {
                let worker = Arc::new(worker);
                let entry = Entry::new(worker.clone(), self.began, now);
                state.workers.push(entry);
                Some((worker, child))
            }
            Err(error) => {
                if error.kind() == ErrorKind::WorkerMismatch {
                    state.refuses = Some(Refuses::Mismatch);
                }
                state.respawn.failed(self.began, now);
                None
            }
        };
        drop(state);
        if let Some((worker, child)) = served {
            drop(pool.group.spawn_ok(tend(pool.clone(), worker, child)));
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.starting -= 1;
        if !self.ended {
            state.refuses.get_or_insert(Refuses::Over);
        }
        drop(state);
        self.pool.changed();
    }
}

/// A broker to a child that is not known to fit yet.
struct CloseOnDrop(Option<TcpBroker>);

impl CloseOnDrop {
    fn get(&self) -> &TcpBroker {
        self.0.as_ref().expect("it is kept last")
    }

    fn keep(mut self) -> TcpBroker {
        self.0.take().expect("it is kept once")
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(broker) = &self.0 {
            broker.close();
        }
    }
}
