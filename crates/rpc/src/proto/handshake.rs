//! HELLO: what each side says about itself, and what the two agree on.

mod encoding;

pub(super) use encoding::{decode_ready, encode_ready};

use std::time::Duration;

use super::{CodecId, Config, Violation};
use crate::Limits;

const VERSION: u16 = 1;
pub(super) const AUTH_NONE: u8 = 1;
pub(super) const AUTH_PSK: u8 = 2;

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
        }
    }

    /// The same as a dialer says it: it proves itself if it has a secret, and offers nothing less.
    pub(super) fn dial(config: &Config, nonce: [u8; 32]) -> Hello {
        let mut hello = Hello::offer(config, nonce);
        if let Some((id, _)) = &config.keys.own {
            hello.auth = AUTH_PSK;
            hello.key_id = id.as_bytes().to_vec();
        }
        hello
    }

    /// What the listener with `config` answers to `offered`.
    pub(super) fn answer(
        config: &Config,
        nonce: [u8; 32],
        offered: &Hello,
    ) -> Result<Hello, Violation> {
        offered.check(config)?;
        let auth = if config.keys.is_empty() {
            AUTH_NONE
        } else {
            AUTH_PSK
        };
        if offered.auth & auth == 0 {
            return Err(Violation::Unauthenticated);
        }
        let mut answer = Hello::offer(config, nonce);
        answer.auth = auth;
        answer.codecs.retain(|codec| offered.codecs.contains(codec));
        if answer.codecs.is_empty() {
            return Err(Violation::NothingCommon("codec"));
        }
        answer.key_id.clone_from(&offered.key_id);
        Ok(answer)
    }

    /// Whether `self`, the listener's answer, fits what the dialer with `config` offered.
    pub(super) fn check_answer(&self, config: &Config) -> Result<(), Violation> {
        self.check(config)?;
        if self.versions.0 != self.versions.1 {
            return Err(Violation::Rule("hello-version"));
        }
        let own = config.keys.own.as_ref();
        let auth = if own.is_some() { AUTH_PSK } else { AUTH_NONE };
        if self.auth != auth {
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

#[cfg(test)]
mod tests {
    use super::super::frame::{HELLO, Header};
    use super::*;
    use sha2::{Digest, Sha256};

    fn example() -> Hello {
        let mut hello = Hello::offer(&Config::new("example", [0x0D; 16]), [0xD0; 32]);
        hello.auth = 2;
        hello.key_id = b"k1".to_vec();
        hello
    }

    // R11: the HELLO of the dialer with a key, the whole frame.
    #[test]
    fn hello_has_the_golden_bytes() {
        let payload = example().encode();
        let frame = [
            &Header::new(HELLO, payload.len(), 0, 0).to_bytes()[..],
            &payload,
        ]
        .concat();
        assert_eq!(frame.len(), 122);
        let hash: String = Sha256::digest(&frame)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hash,
            "1eb94113e86cc0e8add2bd2cedd035bdc867a346ef18a7a009b68e9759074abc"
        );
        assert_eq!(Hello::decode(&payload), Ok(example()));
    }

    #[test]
    fn a_longer_hello_is_fine_and_every_shorter_one_is_not() {
        let payload = example().encode();
        let longer = [&payload[..], b"later"].concat();
        assert_eq!(Hello::decode(&longer), Ok(example()));
        for cut in 0..payload.len() {
            assert_eq!(
                Hello::decode(&payload[..cut]),
                Err(Violation::Rule("hello-length")),
                "{cut}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let config = Config::new("example", [7; 16]);
        let good = Hello::offer(&config, [1; 32]);
        let answer = |change: &dyn Fn(&mut Hello)| {
            let mut hello = good.clone();
            change(&mut hello);
            Hello::answer(&config, [2; 32], &hello).map(|_| ())
        };
        let limits = Err(Violation::Rule("hello-limits"));
        assert_eq!(answer(&|_| ()), Ok(()));
        assert_eq!(answer(&|h| h.optional = u32::MAX), Ok(()));
        assert_eq!(answer(&|h| h.versions = (0, 9)), Ok(()));
        assert_eq!(
            answer(&|h| h.versions = (2, 9)),
            Err(Violation::NothingCommon("version"))
        );
        assert_eq!(
            answer(&|h| h.versions = (1, 0)),
            Err(Violation::Rule("hello-version"))
        );
        assert_eq!(
            answer(&|h| h.required = 1 << 31),
            Err(Violation::NothingCommon("feature"))
        );
        assert_eq!(
            answer(&|h| h.codecs = vec![CodecId(200)]),
            Err(Violation::NothingCommon("codec"))
        );
        assert_eq!(
            answer(&|h| h.project = b"other".to_vec()),
            Err(Violation::WrongProject)
        );
        assert_eq!(answer(&|h| h.auth = 2), Err(Violation::Unauthenticated));
        assert_eq!(answer(&|h| h.call_window = 4095), limits);
        assert_eq!(answer(&|h| h.max_frame = 1023), limits);
        assert_eq!(answer(&|h| h.max_frame = 1 << 24), limits);
        assert_eq!(answer(&|h| h.max_message = h.max_frame - 1), limits);
        assert_eq!(answer(&|h| h.max_calls = 0), limits);
        assert_eq!(answer(&|h| h.heartbeat_ms = 0), limits);
    }

    #[test]
    fn the_answer_holds_the_common_codecs_in_the_listeners_order() {
        let dialer = Config::new("", [1; 16]).codecs([CodecId(1), CodecId(2), CodecId(128)]);
        let listener = Config::new("", [2; 16]).codecs([CodecId(2), CodecId(3), CodecId(1)]);
        let answer = Hello::answer(&listener, [0; 32], &Hello::offer(&dialer, [0; 32])).unwrap();
        assert_eq!(answer.codecs, [CodecId(2), CodecId(1)]);
        assert_eq!(answer.check_answer(&dialer), Ok(()));
        let mut wrong = answer.clone();
        wrong.codecs.push(CodecId(3));
        assert_eq!(
            wrong.check_answer(&dialer),
            Err(Violation::Rule("hello-codecs"))
        );
    }
}
