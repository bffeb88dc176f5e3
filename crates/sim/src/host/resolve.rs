//! Names of hosts.

use super::Sleep;
use crate::current;
use crate::names::Question;
use crate::task::Waits;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Which addresses are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Both, in drawn order.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    fn wants(self, ip: IpAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        }
    }
}

/// Looks up the addresses of `name`: a number, `localhost`, the name of a host of this world, or
/// one of [another meaning](crate::Answer).
///
/// A number needs no time; a name takes a drawn one.
///
/// # Errors
/// `NotFound` for a name that means nothing, `AddrNotAvailable` where the name has no address of the
/// family, `WouldBlock` where no answer came or the server failed: asking again may help.
///
/// # Cancel safety
/// *Nothing happened.*
pub fn resolve(name: &str, family: Family) -> Resolve {
    Resolve {
        name: name.to_owned(),
        family,
        sent: None,
    }
}

/// A look-up under way; made by [`resolve`].
#[derive(Debug)]
#[must_use = "a name is looked up only while the future is polled"]
pub struct Resolve {
    name: String,
    family: Family,
    sent: Option<(Question, Sleep)>,
}

impl Resolve {
    fn filter(&self, found: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
        let wanted: Vec<_> = found
            .iter()
            .copied()
            .filter(|&ip| self.family.wants(ip))
            .collect();
        if wanted.is_empty() {
            return Err(crate::errno::Errno::AddrNotAvailable.error());
        }
        Ok(wanted)
    }
}

impl Future for Resolve {
    type Output = io::Result<Vec<IpAddr>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Ok(ip) = self.name.parse::<IpAddr>() {
            return Poll::Ready(self.filter(&[ip]));
        }
        let this = &mut *self;
        let (question, delay) = this.sent.get_or_insert_with(|| {
            let question = current::with("resolve", |state| state.ask(&this.name));
            (question, Sleep::new(question.at))
        });
        if Pin::new(delay).poll(cx).is_pending() {
            let name = this.name.clone();
            current::with("resolve", |state| state.waits(Waits::Name(name)));
            return Poll::Pending;
        }
        let question = *question;
        let found = current::with("resolve", |state| state.answer_name(&this.name, question));
        Poll::Ready(found.and_then(|found| this.filter(&found)))
    }
}

/// Looks up the name of the host that has the address `ip`; the number itself where none has it.
///
/// It takes a drawn time, as [`resolve`] does.
///
/// # Cancel safety
/// *Nothing happened.*
pub fn reverse(ip: IpAddr) -> Reverse {
    Reverse { ip, delay: None }
}

/// A look-up of a name under way; made by [`reverse`].
#[derive(Debug)]
#[must_use = "an address is looked up only while the future is polled"]
pub struct Reverse {
    ip: IpAddr,
    delay: Option<Sleep>,
}

impl Future for Reverse {
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<String> {
        let ip = self.ip.to_canonical();
        let ask = || current::with("reverse", |state| state.ask_reverse());
        let delay = self.delay.get_or_insert_with(|| Sleep::new(ask()));
        if Pin::new(delay).poll(cx).is_pending() {
            current::with("reverse", |state| state.waits(Waits::Name(ip.to_string())));
            return Poll::Pending;
        }
        Poll::Ready(current::with("reverse", |state| {
            let owner = state.machines.iter().find(|machine| machine.owns(ip));
            match owner {
                _ if ip.is_loopback() => "localhost".to_owned(),
                Some(machine) => machine.name.to_string(),
                None => ip.to_string(),
            }
        }))
    }
}
