//! Transports that any number of tasks use.

use std::sync::Mutex;

use bowline_backend::stream::ByteStream;
use bowline_transport::{Client, DynTransport, Error, Extra, Shared};
use bytes::Bytes;
use futures_util::future::{join, join_all};

use crate::{Frames, MESSAGES, below, dropped, frame, narrow, over, runs, tcp};

/// What the frames are that were said to be sent, in the order in which that was said.
type Sent = Mutex<Vec<Bytes>>;

/// What is the same of all of them.
pub(crate) trait ManyUsers: Clone {
    /// Waits for room, and then sends or does not.
    async fn offer(&self, frame: &Bytes, sent: &Sent) -> Result<(), Error>;
    async fn send(&self, frame: &Bytes) -> Result<(), Error>;
    async fn flush(&self) -> Result<(), Error>;
    async fn shutdown(&self) -> Result<(), Error>;
    async fn recv(&self) -> Result<Option<Bytes>, Error>;
    async fn close(&self) -> Result<(), Error>;
}

macro_rules! many_users {
    ($user:ty $(, $frames:ident: $bound:path)?) => {
        impl$(<$frames: $bound>)? ManyUsers for $user {
            async fn offer(&self, frame: &Bytes, sent: &Sent) -> Result<(), Error> {
                let permit = self.reserve().await?;
                if below(4) > 0 {
                    permit.send(frame)?;
                    sent.lock().unwrap().push(frame.clone());
                }
                Ok(())
            }

            async fn send(&self, frame: &Bytes) -> Result<(), Error> {
                self.send(frame).await
            }

            async fn flush(&self) -> Result<(), Error> {
                self.flush().await
            }

            async fn shutdown(&self) -> Result<(), Error> {
                self.shutdown().await
            }

            async fn recv(&self) -> Result<Option<Bytes>, Error> {
                self.recv().await
            }

            async fn close(&self) -> Result<(), Error> {
                self.close().await
            }
        }
    };
}

many_users!(Shared<T>, T: Frames);
many_users!(Client<Bytes, Bytes>);

/// Three tasks send over one end, and whoever receives at the other gives up often.
pub(crate) async fn many_users(here: impl ManyUsers, there: impl ManyUsers) {
    let sent = Sent::default();
    let send = join_all((0..3).map(|sender| {
        let (here, sent) = (here.clone(), &sent);
        async move {
            for number in 0..MESSAGES / 2 {
                let frame = frame(sender, number as u8);
                if below(3) > 0 {
                    let offered = dropped(here.offer(&frame, sent)).await;
                    offered.transpose().unwrap();
                } else if let Some(done) = dropped(here.send(&frame)).await {
                    done.unwrap();
                    sent.lock().unwrap().push(frame);
                }
            }
        }
    }));
    let flush = async {
        for _ in 0..3 {
            if let Some(flushed) = dropped(here.flush()).await {
                flushed.unwrap();
            }
        }
    };
    let send_and_end = async {
        join(send, flush).await;
        while dropped(here.shutdown())
            .await
            .transpose()
            .unwrap()
            .is_none()
        {}
        here.close().await.unwrap();
    };
    let recv = async {
        let mut got = Vec::new();
        loop {
            match dropped(there.recv()).await {
                None => {}
                Some(Ok(Some(frame))) => got.push(frame),
                Some(Ok(None)) => break got,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    };
    let ((), got) = join(send_and_end, recv).await;
    assert_eq!(got, *sent.lock().unwrap());
}

/// A client of the other end of `stream`.
async fn client<S: ByteStream + Extra>(stream: S) -> Client<Bytes, Bytes> {
    let stream = Mutex::new(Some(stream));
    let client = Client::with_dial(move || {
        let stream = stream.lock().unwrap().take().expect("it dials once");
        async move { Ok(DynTransport::new(over(stream))) }
    });
    client.connect().await.unwrap();
    client
}

pub(crate) async fn of_clients(seed: u64) {
    match seed % 3 {
        0 => {
            let (here, there) = tcp().await;
            many_users(client(here).await, Shared::new(over(there))).await;
        }
        1 => {
            let (here, there) = tcp().await;
            many_users(Shared::new(over(here)), client(there).await).await;
        }
        _ => {
            let (here, there) = narrow();
            many_users(client(here).await, client(there).await).await;
        }
    }
}

// TR1
#[test]
fn nothing_is_lost_or_cut_by_clients() {
    runs(0..1500, of_clients);
}
