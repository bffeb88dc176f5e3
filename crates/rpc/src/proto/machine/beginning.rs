//! How a machine begins, and what is settled before anything else.

use std::collections::VecDeque;
use std::sync::Arc;

use bowline_backend::time::Instant;
use bytes::BytesMut;

use super::{Machine, Phase, Stats};
use crate::proto::adverts::Adverts;
use crate::proto::auth::Handshake;
use crate::proto::bucket::Bucket;
use crate::proto::frame::{HELLO, Header, PREFACE};
use crate::proto::handshake::{Agreed, Hello};
use crate::proto::inbound::UNKNOWN;
use crate::proto::incoming::Incoming;
use crate::proto::inlet::Inlets;
use crate::proto::methods::Directory;
use crate::proto::outgoing::Outgoing;
use crate::proto::outlets::Outlets;
use crate::proto::{Config, Side, StreamProof};
use crate::small_bodies::SmallBodies;

impl Machine {
    /// One end of a connection that begins now.
    ///
    /// `seed` is what is random about it: fresh for each connection, from a cryptographic
    /// generator. The peer sees it, as the nonce of the handshake; what nobody may guess is derived
    /// from it and a secret of `config`.
    pub fn new(config: Arc<Config>, side: Side, now: Instant, seed: [u8; 32]) -> Machine {
        let limits = &config.limits;
        // 0.9 to 1.1 of the heartbeat, so that many connections do not beat together.
        let jitter = 900 + u32::from(u16::from_be_bytes([seed[30], seed[31]])) * 201 / 65536;
        let interval = limits.heartbeat / 1000 * jitter;
        let changes = Bucket::new(1000, u64::from(limits.max_methods));
        // One frame is never a flood.
        let (rate, burst) = UNKNOWN;
        let unknown = Bucket::new(rate, burst + u64::from(limits.max_frame) / 1024);
        let mut machine = Machine {
            side,
            seed,
            phase: Phase::Preface,
            handshake: None,
            principal: "".into(),
            stream: StreamProof::Nothing,
            known: false,
            proves: false,
            shown: None,
            silent_until: None,
            started: now,
            violation: None,
            handshake_bytes: 0,
            preface: [0; 8],
            preface_len: 0,
            tail: (0, PREFACE.len()),
            holding: false,
            peer: None,
            agreed: Agreed::default(),
            control: BytesMut::new(),
            pongs: 0,
            asked_to_drain: false,
            adverts: Adverts::default(),
            snapshot: Vec::new(),
            offers_later: false,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            outlets: Outlets::default(),
            inlets: Inlets::default(),
            since_part: 0,
            credits: 0,
            directory: Directory::default(),
            discovered: false,
            draining: false,
            leaving: false,
            notifications: 0,
            notifications_taken: 0,
            forgiven: 10_000,
            pings: Bucket::new(10, 20),
            changes,
            unknown,
            events: VecDeque::new(),
            held: 0,
            bodies: SmallBodies::default(),
            buffer: 0,
            handed: 0,
            transmitted: 0,
            received_at: now,
            pinged_at: None,
            interval,
            round_trip: None,
            stats: Stats::default(),
            config,
        };
        if machine.config.takes_secrets(side) {
            machine.handshake = Some(Box::new(Handshake::new()));
        }
        machine.begin(b"");
        machine
    }

    /// Takes what the stream below proves of the peer. A dialer without a secret of its own offers to be known
    /// by the stream, and a listener lets it in by that if its configuration says so. Comes before
    /// everything else.
    ///
    /// # Panics
    /// If a principal is longer than 255 bytes.
    pub fn over(mut self, stream: StreamProof) -> Machine {
        assert!(
            stream.principal().is_none_or(|name| name.len() <= 255),
            "a principal has at most 255 bytes"
        );
        self.stream = stream;
        self.begin(b"");
        self
    }

    /// Says where this side dials: at `place` it shows another [pass](Config::passes) than
    /// elsewhere, so that whoever listens at one place cannot take it for this one at another. Comes right
    /// after [`over`](Self::over), and before everything else.
    pub fn dialing(mut self, place: &[u8]) -> Machine {
        self.begin(place);
        self
    }

    fn begin(&mut self, place: &[u8]) {
        if self.side == Side::Dialer {
            self.control.clear();
            if let Some(handshake) = &mut self.handshake {
                handshake.begin_again();
            }
            let hello = Hello::dial(&self.config, self.seed, &self.stream, place);
            self.shown = hello.pass;
            self.put_hello(&hello);
        }
    }

    /// Binds the proofs of the handshake to the channel below: `binding` is what both its ends know and
    /// nobody in between, as the 32 bytes that TLS exports under the label `EXPORTER-bowline-rpc`. Comes
    /// before everything else; without a secret it changes nothing.
    ///
    /// # Panics
    /// If it is longer than 65 535 bytes.
    pub fn bound_to(mut self, binding: &[u8]) -> Machine {
        assert!(
            u16::try_from(binding.len()).is_ok(),
            "a channel binding has at most 65 535 bytes"
        );
        if let Some(handshake) = &mut self.handshake {
            handshake.bind(binding);
        }
        self
    }

    /// Has the methods that the peer is told first come with the first [`Command::Advertise`] after
    /// [`Event::Ready`], which has to come, with no methods if there are none: so a peer that is a
    /// stranger yet costs no list of them.
    ///
    /// [`Command::Advertise`]: crate::proto::Command::Advertise
    /// [`Event::Ready`]: crate::proto::Event::Ready
    pub fn offering_later(mut self) -> Machine {
        self.offers_later = true;
        self
    }

    /// Has the time for the handshake begin at `began`: what is below may have had one of its own since.
    pub fn begun_at(mut self, began: Instant) -> Machine {
        self.started = began;
        self
    }

    pub(in crate::proto) fn put_hello(&mut self, hello: &Hello) {
        self.control.extend_from_slice(&PREFACE);
        let payload = hello.encode();
        if let Some(handshake) = &mut self.handshake {
            let header = Header::new(HELLO, payload.len(), 0, 0);
            handshake.hello(self.side, hello.nonce, &header, &payload);
        }
        self.put_control(HELLO, 0, &payload);
    }
}
