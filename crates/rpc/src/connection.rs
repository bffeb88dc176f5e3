//! One connection: the mailbox through which the rest of the program reaches it, and the driver
//! that owns the stream and the protocol machine.

mod driver;
mod gauges;
mod mailbox;

pub(crate) use driver::{CallPipes, Driver, Ended, Flow, Host};
#[cfg(test)]
pub(crate) use mailbox::Mail;
pub(crate) use mailbox::{InFlight, Mailbox, Untaken};
