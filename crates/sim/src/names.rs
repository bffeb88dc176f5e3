//! How names are looked up: what the answer is, when it comes, and whether it does.

use crate::World;
use crate::link::{Chance, Latency, Wrong};
use crate::machine::Machine;
use crate::oracle::{self, Scope};
use crate::setup::SetupError;
use crate::state::State;
use crate::trace::EventKind;
use crate::xxhash::xxh64;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Two tries of five seconds each, as resolvers do where nothing else is configured.
const PATIENCE: u64 = 10_000_000_000;

/// How look-ups of names go; see [`Builder::names`](crate::Builder::names).
///
/// Without more an answer takes 0.1 to 5.1 ms and always comes. Numbers and `localhost` are known
/// without asking.
///
/// ```
/// use bowline_sim::Names;
/// use std::time::Duration;
///
/// let slow = Names::new()
///     .delay(Duration::from_millis(20)..Duration::from_millis(800))
///     .failure(0.05)
///     .silence(0.01);
/// # assert_ne!(slow, Names::new());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says how look-ups go to the world that is built with it"]
pub struct Names {
    delay: Latency,
    failure: Chance,
    silence: Chance,
    wrong: Option<Wrong>,
}

impl Default for Names {
    fn default() -> Names {
        let micros = Duration::from_micros;
        Names {
            delay: Latency::from(micros(100)..micros(5_100)),
            failure: Chance::NEVER,
            silence: Chance::NEVER,
            wrong: None,
        }
    }
}

impl Names {
    /// Look-ups as they go without more.
    pub fn new() -> Names {
        Names::default()
    }

    /// Sets how long an answer takes: a range, or another [`Latency`].
    pub fn delay(mut self, delay: impl Into<Latency>) -> Names {
        self.delay = delay.into();
        if !self.delay.is_possible() {
            let knob = "delay";
            self.wrong.get_or_insert(Wrong::Value { knob });
        }
        self
    }

    /// Answers with this probability that asking again may help (default 0).
    pub fn failure(mut self, probability: f64) -> Names {
        self.failure = self.chance("failure", probability);
        self
    }

    /// Gives no answer with this probability (default 0): after 10 s the look-up fails.
    pub fn silence(mut self, probability: f64) -> Names {
        self.silence = self.chance("silence", probability);
        self
    }

    fn chance(&mut self, knob: &'static str, probability: f64) -> Chance {
        Chance::of(probability).unwrap_or_else(|| {
            let bits = probability.to_bits();
            self.wrong.get_or_insert(Wrong::Probability { knob, bits });
            Chance::NEVER
        })
    }

    pub(crate) fn check(&self) -> Result<(), SetupError> {
        match self.wrong {
            Some(wrong) => Err(SetupError::wrong(wrong, "look-ups")),
            None => Ok(()),
        }
    }
}

/// What a name means; see [`Builder::name`](crate::Builder::name) and [`World::set_name`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Both addresses of this host.
    Host(String),
    /// The IPv4 address of this host alone.
    HostV4(String),
    /// The IPv6 address of this host alone.
    HostV6(String),
    /// These addresses, in drawn order. Nobody need have them.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NotFound,
    /// Asking again may help.
    TryAgain,
    /// No answer: after 10 s the look-up fails.
    Silence,
}

impl Answer {
    fn host(&self) -> Option<&str> {
        match self {
            Answer::Host(host) | Answer::HostV4(host) | Answer::HostV6(host) => Some(host),
            _ => None,
        }
    }

    /// Whether the host it names is among these.
    pub(crate) fn check<'a>(
        &self,
        name: &str,
        hosts: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), SetupError> {
        match self.host() {
            Some(host) if !hosts.clone().any(|other| other == host) => {
                let by = format!("the answer for {name:?}");
                Err(SetupError::unknown(&by, host, hosts))
            }
            _ => Ok(()),
        }
    }
}

/// What names mean that are not, or not only, names of hosts.
#[derive(Debug, Default)]
pub(crate) struct NameTable {
    pub(crate) names: Names,
    pub(crate) answers: BTreeMap<String, Answer>,
}

/// A look-up that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// When the answer comes, by the host's clock.
    pub(crate) at: u64,
    silent: bool,
}

impl World {
    /// Makes `name` mean something else from now on, also for those who asked and have no answer
    /// yet. An answer that names an unknown host fails the run.
    pub fn set_name(&mut self, name: &str, answer: Answer) {
        self.act(|state| {
            let hosts = state.machines.iter().map(|machine| &*machine.name);
            if let Err(error) = answer.check(name, hosts) {
                state.fail(crate::FailureKind::Setup, error.to_string());
                return;
            }
            state.record(EventKind::Fault, "name", xxh64(name.as_bytes(), 0), 0);
            state.names.answers.insert(name.to_owned(), answer);
        });
    }

    /// Makes `name` mean again what it means by itself: the host of that name, if there is one.
    pub fn restore_name(&mut self, name: &str) {
        self.act(|state| {
            state.record(EventKind::Fault, "name", xxh64(name.as_bytes(), 0), 1);
            state.names.answers.remove(name);
        });
    }
}

impl State {
    /// Sends a question for `name`.
    pub(crate) fn ask(&mut self, name: &str) -> Question {
        let names = self.names.names;
        let scope = Scope::Host(self.host());
        let delay = names
            .delay
            .draw_as(oracle::NAME_DELAY, &mut self.oracle, scope);
        let known = name == "localhost";
        let silent = !known
            && (self.names.answers.get(name) == Some(&Answer::Silence)
                || names
                    .silence
                    .happens(&mut self.oracle, oracle::NAME_SILENCE, scope));
        let delay = if silent { PATIENCE } else { delay };
        let at = self.clock().saturating_add(delay);
        Question { at, silent }
    }

    /// When the answer comes to a question for the name of an address.
    pub(crate) fn ask_reverse(&mut self) -> u64 {
        let (delay, scope) = (self.names.names.delay, Scope::Host(self.host()));
        let delay = delay.draw_as(oracle::NAME_DELAY, &mut self.oracle, scope);
        self.clock().saturating_add(delay)
    }

    /// The answer to a question, when it comes.
    pub(crate) fn answer_name(
        &mut self,
        name: &str,
        question: Question,
    ) -> io::Result<Vec<IpAddr>> {
        let again = |text: String| Err(io::Error::new(io::ErrorKind::WouldBlock, text));
        if question.silent {
            return again(format!("no answer for {name:?}"));
        }
        let scope = Scope::Host(self.host());
        let failure = self.names.names.failure;
        let mut found = if name == "localhost" {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else if failure.happens(&mut self.oracle, oracle::NAME_FAILURE, scope) {
            return again(format!("the name server failed for {name:?}"));
        } else {
            let by_itself = Answer::Host(name.to_owned());
            match self.names.answers.get(name).unwrap_or(&by_itself) {
                Answer::Addresses(addresses) => addresses.clone(),
                Answer::TryAgain => return again(format!("the name server failed for {name:?}")),
                // One that became silent after it was asked did answer.
                Answer::NotFound | Answer::Silence => Vec::new(),
                Answer::Host(host) => self.addresses_of(host, |_| true),
                Answer::HostV4(host) => self.addresses_of(host, IpAddr::is_ipv4),
                Answer::HostV6(host) => self.addresses_of(host, IpAddr::is_ipv6),
            }
        };
        if found.is_empty() {
            let text = format!("no host of this world is named {name:?}");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        for last in 1..found.len() {
            let back = self.choose(oracle::NAME_ORDER, last as u64 + 1) as usize;
            found.swap(last, last - back);
        }
        let hash = xxh64(name.as_bytes(), 0);
        self.record(EventKind::Resolve, "", hash, found.len() as u64);
        Ok(found)
    }

    fn addresses_of(&self, host: &str, wanted: impl Fn(&IpAddr) -> bool) -> Vec<IpAddr> {
        let named = |machine: &&Machine| *machine.name == *host;
        let addresses = self.machines.iter().find(named).map(|machine| {
            let both = [IpAddr::V4(machine.v4), IpAddr::V6(machine.v6)];
            both.into_iter().filter(wanted).collect()
        });
        addresses.unwrap_or_default()
    }
}
