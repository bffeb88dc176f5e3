//! Frames before the connection is ready.

use crate::proto::frame::{CLOSE, HELLO, Header, OPEN_HEAD, READY};
use crate::proto::handshake::{Hello, decode_ready, encode_ready};
use crate::proto::machine::{Phase, saturate};
use crate::proto::{Event, Machine, PeerHello, Side, Violation};

impl Machine {
    pub(super) fn on_handshake(
        &mut self,
        header: &Header,
        payload: &[u8],
    ) -> Result<(), Violation> {
        match (self.phase, header.kind) {
            (_, CLOSE) => {
                self.on_close(header, payload);
                Ok(())
            }
            (Phase::Hello, HELLO) => self.on_hello(payload),
            (Phase::Ready, READY) => self.on_ready(payload),
            _ => Err(Violation::Rule("handshake-order")),
        }
    }

    fn on_hello(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let hello = Hello::decode(payload)?;
        let codecs = match self.side {
            Side::Listener => {
                let answer = Hello::answer(&self.config, self.seed, &hello)?;
                self.put_hello(&answer);
                self.put_ready();
                answer.codecs
            }
            Side::Dialer => {
                hello.check_answer(&self.config)?;
                hello.codecs.clone()
            }
        };
        self.agreed = hello.agree(&self.config.limits, codecs);
        self.peer = Some(Box::new(hello));
        self.phase = Phase::Ready;
        Ok(())
    }

    fn put_ready(&mut self) {
        let payload = encode_ready(&self.config.principal);
        self.put_control(READY, 0, &payload);
    }

    fn on_ready(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let principal = decode_ready(payload)?;
        if self.side == Side::Dialer {
            self.put_ready();
        }
        self.phase = Phase::Open;
        let instance = self.peer.take().map_or([0; 16], |hello| hello.instance);
        let room = self.agreed.max_frame - OPEN_HEAD;
        self.push(Event::Ready(Box::new(PeerHello {
            instance,
            codecs: self.agreed.codecs.clone(),
            principal,
            max_body: saturate(self.agreed.max_body.min(room)),
            max_calls: self.agreed.max_calls,
        })));
        self.put_snapshot();
        Ok(())
    }
}
