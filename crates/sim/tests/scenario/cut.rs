//! A client that writes to a server while links are cut, and what tests note.

use super::echo::{self, accept, dial, listen, read_some, write_all};
use bowline_sim::{Builder, Latency, Link, Sim, host};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Between two bytes of [`stream_world`]; the next one is written half a second later.
pub(crate) const CUT: Duration = Duration::from_millis(20_500);

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn constant(latency: u64) -> Link {
    Link::lan().latency(Latency::constant(Duration::from_nanos(latency)))
}

pub(crate) async fn until(time: u64) {
    host::Sleep::new(time).await;
}

/// What a client notes, to be looked at after the run.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<u64>>>);

impl Notes {
    pub(crate) fn add(&self, note: u64) {
        self.0.lock().expect("not poisoned").push(note);
    }

    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

/// Times that polls and links do not add to: to the millisecond.
pub(crate) fn whole(time: u64) -> u64 {
    time / MS
}

/// A client that writes to a server every second from 10 s on, and notes when it fails and how;
/// the server reads all there is.
pub(crate) fn stream_world(seed: u64, user_timeout: Option<Duration>, notes: &Notes) -> Builder {
    let (read, wrote) = (notes.clone(), notes.clone());
    Sim::builder()
        .seed(seed)
        .client("server", move || {
            let read = read.clone();
            async move {
                let listener = listen(80)?;
                let stream = accept(&listener).await?;
                let mut next = 0_u8;
                while let Ok(bytes) = read_some(&stream, 100).await {
                    if bytes.is_empty() {
                        break;
                    }
                    for byte in bytes {
                        assert_eq!(byte, next);
                        next += 1;
                    }
                }
                read.add(u64::from(next));
                Ok::<(), io::Error>(())
            }
        })
        .client("client", move || {
            let wrote = wrote.clone();
            async move {
                until(SECOND).await;
                let stream = dial("server", 80).await?;
                stream.set_nodelay(true)?;
                stream.set_user_timeout(user_timeout)?;
                for number in 0..100_u64 {
                    until((10 + number) * SECOND).await;
                    write_all(&stream, &[number as u8]).await?;
                }
                // Half the end: a reset would be heard here.
                echo::shutdown(&stream).await?;
                let end = read_some(&stream, 1).await;
                if let Err(error) = end {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    wrote.add(whole(host::now()));
                    return Err(error);
                }
                Ok(())
            }
        })
        .link("server", "client", constant(MS))
}
