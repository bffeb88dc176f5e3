//! Frames before the connection is ready.

use bowline_backend::time::Instant;

use crate::proto::auth::PROOF_LEN;
use crate::proto::frame::{CLOSE, HELLO, Header, PROOF, READY};
use crate::proto::handshake::{AUTH_NONE, AUTH_PSK, Hello, decode_ready, encode_ready};
use crate::proto::machine::{Phase, saturate};
use crate::proto::{Event, KnownAs, Machine, PeerHello, Side, Violation};

impl Machine {
    pub(super) fn on_handshake(
        &mut self,
        now: Instant,
        header: &Header,
        payload: &[u8],
    ) -> Result<(), Violation> {
        let taken = match (self.phase, header.kind) {
            (_, CLOSE) => {
                self.on_close(header, payload);
                Ok(())
            }
            (Phase::Hello, HELLO) => self.on_hello(header, payload),
            (Phase::Proof, PROOF) => self.on_proof(payload),
            (Phase::Ready, READY) => self.on_ready(payload),
            _ => Err(Violation::Rule("handshake-order")),
        };
        if taken == Err(Violation::Unauthenticated) {
            // How long it took says nothing of why it failed.
            self.silent_until = Some(now.saturating_add(self.config.keys.pause(&self.seed)));
        }
        taken
    }

    fn on_hello(&mut self, header: &Header, payload: &[u8]) -> Result<(), Violation> {
        let hello = Hello::decode(payload)?;
        let codecs = match self.side {
            Side::Listener => {
                let answer = Hello::answer(&self.config, self.seed, &hello, &self.stream)?;
                self.note_hello(Side::Dialer, hello.nonce, header, payload);
                self.put_hello(&answer);
                self.note_stream(answer.auth);
                // The dialer may know a stream that says nothing of who listens.
                self.proves = answer.auth == AUTH_PSK;
                self.shown = answer.pass;
                if answer.auth != AUTH_PSK {
                    self.put_ready(&self.principal.clone());
                }
                answer.codecs
            }
            Side::Dialer => {
                hello.check_answer(&self.config, &self.stream)?;
                self.note_hello(Side::Listener, hello.nonce, header, payload);
                self.note_stream(hello.auth);
                self.proves = hello.auth != AUTH_NONE;
                hello.codecs.clone()
            }
        };
        self.phase = Phase::Ready;
        if let Some(mut handshake) = self.handshake.take() {
            let keys = &self.config.keys;
            let project = self.config.project.as_bytes();
            match keys.find(&hello.key_id) {
                Some((_, secret)) => handshake.agree(secret.bytes(), project, true),
                // It takes as long, and no proof fits.
                None => handshake.agree(&*keys.derive(b"decoy", &self.seed), project, false),
            }
            if self.side == Side::Dialer {
                self.put_control(PROOF, 0, &handshake.proof(Side::Dialer));
            }
            self.handshake = Some(handshake);
            self.phase = Phase::Proof;
        }
        self.agreed = hello.agree(&self.config.limits, codecs);
        self.peer = Some(Box::new(hello));
        Ok(())
    }

    /// The two agreed on this way of authentication: by any other than a secret it is done.
    fn note_stream(&mut self, auth: u8) {
        if auth == AUTH_PSK {
            return;
        }
        self.handshake = None;
        if auth != AUTH_NONE
            && let Some(principal) = self.stream.principal()
        {
            self.principal = principal;
            self.known = true;
        }
    }

    fn note_hello(&mut self, side: Side, nonce: [u8; 32], header: &Header, payload: &[u8]) {
        if let Some(handshake) = &mut self.handshake {
            handshake.hello(side, nonce, header, payload);
        }
    }

    fn on_proof(&mut self, payload: &[u8]) -> Result<(), Violation> {
        if payload.len() != PROOF_LEN {
            return Err(Violation::Rule("proof-length"));
        }
        let prover = match self.side {
            Side::Dialer => Side::Listener,
            Side::Listener => Side::Dialer,
        };
        let handshake = self.handshake.take();
        let proven = handshake.filter(|handshake| handshake.proves(prover, payload));
        let Some(handshake) = proven else {
            return Err(Violation::Unauthenticated);
        };
        // By what the keys say, not the peer: it is the same, but text.
        let key_id = self.peer.as_ref().map(|hello| &hello.key_id[..]);
        if let Some((id, _)) = key_id.and_then(|id| self.config.keys.find(id)) {
            self.principal = id.clone();
        }
        self.known = true;
        if self.side == Side::Listener {
            self.put_control(PROOF, 0, &handshake.proof(Side::Listener));
            self.put_ready(&self.principal.clone());
        }
        self.phase = Phase::Ready;
        Ok(())
    }

    /// `name` is whom the peer has proved to be.
    fn put_ready(&mut self, name: &str) {
        let name = if name.is_empty() {
            &*self.config.principal
        } else {
            name
        };
        let payload = encode_ready(name);
        self.put_control(READY, 0, &payload);
    }

    fn on_ready(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let principal = decode_ready(payload)?;
        if self.side == Side::Dialer {
            self.put_ready(&self.principal.clone());
        }
        self.phase = Phase::Open;
        let peer = self.peer.take();
        let (instance, pass) = peer.map_or(([0; 16], None), |hello| (hello.instance, hello.pass));
        let known_as = match (self.proves, self.shown) {
            (true, _) => KnownAs::Proven((&*principal).into()),
            (false, Some(pass)) => KnownAs::Shown(pass),
            (false, None) => KnownAs::Nothing,
        };
        self.push(Event::Ready(Box::new(PeerHello {
            instance,
            codecs: self.agreed.codecs.clone(),
            principal,
            proven: self.principal.clone(),
            is_known: self.known,
            pass,
            known_as,
            max_body: saturate(self.agreed.max_body),
            max_calls: self.agreed.max_calls,
        })));
        if !self.offers_later {
            self.put_snapshot();
        }
        Ok(())
    }
}
