//! Names of hosts.

use super::Sleep;
use crate::current;
use crate::machine::Machine;
use crate::oracle;
use crate::state::State;
use crate::task::Waits;
use crate::trace::EventKind;
use crate::xxhash::xxh64;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::task::{Context, Poll};

/// An answer takes 100 microseconds to this many nanoseconds more.
const DELAY: u64 = 100_000;
const SPREAD: u64 = 5_000_000;

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

/// Looks up the addresses of `name`: a number, `localhost`, or the name of a host of this world.
///
/// A number needs no time; a name takes a drawn one.
///
/// # Errors
/// `NotFound` for a name no host has, `AddrNotAvailable` where the name has no address of the
/// family.
///
/// # Cancel safety
/// *Nothing happened.*
pub fn resolve(name: &str, family: Family) -> Resolve {
    Resolve {
        name: name.to_owned(),
        family,
        delay: None,
    }
}

/// A look-up under way; made by [`resolve`].
#[derive(Debug)]
#[must_use = "a name is looked up only while the future is polled"]
pub struct Resolve {
    name: String,
    family: Family,
    delay: Option<Sleep>,
}

impl Resolve {
    fn answer(&self, state: &mut State) -> io::Result<Vec<IpAddr>> {
        let of = |machine: &Machine| [IpAddr::V4(machine.v4), IpAddr::V6(machine.v6)];
        let mut found = if self.name == "localhost" {
            [
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ]
        } else {
            let named = |machine: &&Machine| *machine.name == *self.name;
            match state.machines.iter().find(named) {
                Some(machine) => of(machine),
                None => {
                    let text = format!("no host of this world is named {:?}", self.name);
                    return Err(io::Error::new(io::ErrorKind::NotFound, text));
                }
            }
        };
        if state.choose(oracle::NAME_ORDER, 2) == 1 {
            found.reverse();
        }
        let name = xxh64(self.name.as_bytes(), 0);
        state.record(EventKind::Resolve, "", name, found.len() as u64);
        self.filter(&found)
    }

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
        if self.delay.is_none() {
            self.delay = Some(Sleep::new(answer_time()));
        }
        if let Some(delay) = &mut self.delay
            && Pin::new(delay).poll(cx).is_pending()
        {
            let name = self.name.clone();
            current::with("resolve", |state| state.waits(Waits::Name(name)));
            return Poll::Pending;
        }
        Poll::Ready(current::with("resolve", |state| self.answer(state)))
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
        let delay = self.delay.get_or_insert_with(|| Sleep::new(answer_time()));
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

/// When an answer that is asked for now comes.
fn answer_time() -> u64 {
    current::with("resolve", |state| {
        state.clock() + DELAY + state.choose(oracle::NAME_DELAY, SPREAD)
    })
}
