//! HELLO: what each side says about itself, and what the two agree on.

mod encoding;
#[cfg(test)]
mod tests;

pub(super) use encoding::{decode_ready, encode_ready};

use std::time::Duration;

use super::auth::{PASS_LEN, pass};
use super::{CodecId, Config, Side, StreamProof, Violation};
use crate::Limits;

const VERSION: u16 = 1;
pub(super) const AUTH_NONE: u8 = 1;
pub(super) const AUTH_PSK: u8 = 2;
pub(super) const AUTH_CERTIFICATE: u8 = 4;
pub(super) const AUTH_USER: u8 = 8;

/// The payload of a HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) versions: (u16, u16),
    pub(super) required: u32,
    pub(super) optional: u32,
    pub(super) nonce: [u8; 32],
    pub(super) instance: [u8; 16],
    pub(super) max_frame: u32,
    pub(super) max_message: u32,
    pub(super) call_window: u32,
    pub(super) max_calls: u32,
    pub(super) notify_window: u32,
    pub(super) max_methods: u32,
    pub(super) heartbeat_ms: u32,
    pub(super) max_metadata: u16,
    pub(super) auth: u8,
    pub(super) codecs: Vec<CodecId>,
    pub(super) project: Vec<u8>,
    pub(super) key_id: Vec<u8>,
    /// By which its sender is recognised when it comes back, by whom it showed it to.
    pub(super) pass: Option<[u8; PASS_LEN]>,
}

/// What the peer takes, once the two have agreed. Zero before: nothing may be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Agreed {
    /// Longest payload of a frame to the peer.
    pub(super) max_frame: usize,
    /// Longest message to the peer.
    pub(super) max_body: usize,
    pub(super) call_window: u32,
    /// Calls open at once at level 0.
    pub(super) max_calls: u32,
    pub(super) max_methods: u32,
    pub(super) notify_window: u32,
    /// Bytes of metadata of one call.
    pub(super) max_metadata: u16,
    pub(super) codecs: Vec<CodecId>,
}

impl Hello {
    /// What the side with `config` says first.
    pub(super) fn offer(config: &Config, nonce: [u8; 32]) -> Hello {
        let limits = &config.limits;
        Hello {
            versions: (VERSION, VERSION),
            required: 0,
            optional: 0,
            nonce,
            instance: config.instance,
            max_frame: limits.max_frame,
            max_message: limits.max_message,
            call_window: limits.call_window,
            max_calls: limits.max_calls,
            notify_window: limits.notify_window,
            max_methods: limits.max_methods,
            heartbeat_ms: millis(limits.heartbeat),
            max_metadata: limits.max_metadata,
            auth: AUTH_NONE,
            codecs: config.codecs.clone(),
            project: config.project.as_bytes().to_vec(),
            key_id: Vec::new(),
            pass: None,
        }
    }

    /// The same as a dialer says it at `place`: it proves itself if it has a secret, and offers nothing less;
    /// otherwise it may be known by the stream.
    pub(super) fn dial(
        config: &Config,
        nonce: [u8; 32],
        stream: &StreamProof,
        place: &[u8],
    ) -> Hello {
        let mut hello = Hello::offer(config, nonce);
        if let Some((id, _)) = &config.keys.own {
            hello.auth = AUTH_PSK;
            hello.key_id = id.as_bytes().to_vec();
        } else {
            hello.auth = stream.offers();
        }
        let passes = config.passes.as_ref();
        hello.pass = passes.map(|secret| pass(secret, Side::Dialer, place));
        hello
    }

    /// What the listener with `config` answers to `offered`.
    pub(super) fn answer(
        config: &Config,
        nonce: [u8; 32],
        offered: &Hello,
        stream: &StreamProof,
    ) -> Result<Hello, Violation> {
        offered.check(config)?;
        let auth = offered.choose(config, stream);
        let auth = auth.ok_or(Violation::Unauthenticated)?;
        let mut answer = Hello::offer(config, nonce);
        answer.auth = auth;
        answer.codecs.retain(|codec| offered.codecs.contains(codec));
        if answer.codecs.is_empty() {
            return Err(Violation::NothingCommon("codec"));
        }
        answer.key_id.clone_from(&offered.key_id);
        // Who shows none is not recognised, and so has nothing to recognise.
        let passes = config.passes.as_ref().zip(offered.pass);
        answer.pass = passes.map(|(secret, shown)| pass(secret, Side::Listener, &shown));
        Ok(answer)
    }

    /// How the dialer that said `self` proves itself to the listener with `config`, if it offers a way.
    fn choose(&self, config: &Config, stream: &StreamProof) -> Option<u8> {
        let known_by_stream = match stream {
            StreamProof::Certificate(Some(_)) if config.certificates => AUTH_CERTIFICATE,
            StreamProof::User(Some(user)) if config.users.contains(user) => AUTH_USER,
            _ => 0,
        };
        let ways = if !config.asks_for_proof(Side::Listener) {
            [AUTH_NONE, 0]
        } else if config.keys.is_empty() {
            [known_by_stream, 0]
        } else {
            [AUTH_PSK, known_by_stream]
        };
        ways.into_iter().find(|way| self.auth & way != 0)
    }

    /// Whether `self`, the listener's answer, fits what the dialer with `config` offered.
    pub(super) fn check_answer(
        &self,
        config: &Config,
        stream: &StreamProof,
    ) -> Result<(), Violation> {
        self.check(config)?;
        if self.versions.0 != self.versions.1 {
            return Err(Violation::Rule("hello-version"));
        }
        let own = config.keys.own.as_ref();
        let offered = own.map_or(stream.offers(), |_| AUTH_PSK);
        if !self.auth.is_power_of_two() || self.auth & offered == 0 {
            return Err(Violation::Unauthenticated);
        }
        if !self
            .codecs
            .iter()
            .all(|codec| config.codecs.contains(codec))
        {
            return Err(Violation::Rule("hello-codecs"));
        }
        let key_id = own.map_or(&[][..], |(id, _)| id.as_bytes());
        if self.key_id != key_id {
            return Err(Violation::Rule("hello-key"));
        }
        Ok(())
    }

    /// What holds for either side's HELLO.
    fn check(&self, config: &Config) -> Result<(), Violation> {
        if self.versions.0 > self.versions.1 {
            return Err(Violation::Rule("hello-version"));
        }
        if !(self.versions.0..=self.versions.1).contains(&VERSION) {
            return Err(Violation::NothingCommon("version"));
        }
        if self.required != 0 {
            return Err(Violation::NothingCommon("feature"));
        }
        let zero = [
            self.max_calls,
            self.notify_window,
            self.max_methods,
            self.heartbeat_ms,
        ]
        .contains(&0);
        if zero
            || self.max_metadata == 0
            || self.call_window < 4096
            || !(1024..=16_777_215).contains(&self.max_frame)
            || self.max_message < self.max_frame
        {
            return Err(Violation::Rule("hello-limits"));
        }
        if self.project != config.project.as_bytes() {
            return Err(Violation::WrongProject);
        }
        Ok(())
    }

    /// What may be sent to the peer that said `self`, with codecs `codecs`.
    pub(super) fn agree(&self, ours: &Limits, codecs: Vec<CodecId>) -> Agreed {
        let max_body = ours.max_message.min(self.max_message);
        Agreed {
            max_frame: self.max_frame.min(ours.max_frame) as usize,
            max_body: max_body as usize,
            call_window: self.call_window,
            max_calls: self.max_calls.min(ours.max_calls),
            max_methods: self.max_methods,
            notify_window: self.notify_window,
            max_metadata: self.max_metadata.min(ours.max_metadata),
            codecs,
        }
    }
}

pub(super) fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
