//! Descriptors that go with messages, over the sockets of every backend that has them. Those of the
//! simulator are none of the kernel's, and carry none.

#![cfg(all(target_os = "linux", feature = "ancillary"))]

mod datagrams;
mod packets;
mod schedule;
mod servers;
mod streams;

use std::fs::File;
use std::future::Future;
use std::io::{PipeReader, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::time::{now, sleep_until};
use bowline_concurrency::Root;
use futures_util::future::{Either, select};

/// Nothing here takes a minute; a hang is a failure with a name, not a stuck run.
pub(crate) async fn within(case: impl Future<Output = ()>) {
    let limit = std::pin::pin!(sleep_until(now() + Duration::from_secs(60)));
    let case = std::pin::pin!(case);
    if let Either::Right(_) = select(case, limit).await {
        panic!("it did not end within a minute");
    }
}

pub(crate) fn on(backend: Backend, case: impl Future<Output = ()>) {
    Root::new().backend(backend).block_on(within(case));
}

/// Each case on each backend over the kernel.
macro_rules! on_the_kernel {
    ($($case:ident,)*) => {
        mod on_tokio {
            $(#[test] fn $case() {
                crate::on(crate::Backend::Tokio, super::$case());
            })*
        }
        mod on_smol {
            $(#[test] fn $case() {
                crate::on(crate::Backend::Smol, super::$case());
            })*
        }
        mod on_async_std {
            $(#[test] fn $case() {
                crate::on(crate::Backend::AsyncStd, super::$case());
            })*
        }
    };
}
pub(crate) use on_the_kernel;

/// A descriptor by which the receiver can tell that it got this one.
pub(crate) fn marked(mark: &str) -> OwnedFd {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(mark.as_bytes()).unwrap();
    reader.into()
}

/// What the descriptors are marked with.
pub(crate) fn marks(fds: Vec<OwnedFd>) -> Vec<String> {
    let read = |fd| {
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).unwrap();
        text
    };
    fds.into_iter().map(read).collect()
}

/// Descriptors, and what tells that all copies of them are closed.
pub(crate) fn watched(count: usize) -> (Vec<OwnedFd>, Watch) {
    let (reader, writer) = pipe().unwrap();
    let fds = (0..count).map(|_| writer.try_clone().unwrap().into());
    (fds.collect(), Watch(reader))
}

pub(crate) struct Watch(PipeReader);

impl Watch {
    /// Waits, in vain and for ever, while one is open.
    pub(crate) fn all_closed(mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
    }
}
