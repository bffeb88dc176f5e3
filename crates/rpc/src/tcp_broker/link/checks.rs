//! What a peer may call, and how.

use super::super::offering::Offer;
use super::Link;
use crate::offers::Served;
use crate::proto::{CallKind, IncomingCall, Target};
use crate::stream::Streaming;
use crate::sys::Reserved;
use crate::{Code, Codec};

impl Link {
    /// Whom the peer has proved to be.
    pub(super) fn principal(&self) -> &str {
        self.peer.as_ref().map_or("", |peer| peer.principal())
    }

    /// Whether the rules let the peer call `target`; what was never there, it may not call either. An id that
    /// was withdrawn meanwhile has no name any more, and is unknown.
    fn may_call(&self, target: &Target) -> bool {
        let name = match target {
            Target::Method(id) if self.offering.is_withdrawn(*id) => return true,
            Target::Method(_) => self.method(target).map(|offer| match offer {
                Offer::Served(served) => served.method.name.shared().clone(),
                Offer::Reserved(reserved) => reserved.name().into(),
            }),
            Target::Name(name) => Some(name.clone()),
        };
        let config = &self.place.shared.config;
        name.is_some_and(|name| config.may_call(self.side, self.principal(), &name))
    }

    /// What `incoming` calls and the codec of its arguments, if it may be called so.
    pub(super) fn check(&self, incoming: &IncomingCall) -> Result<(Offer, Codec), (Code, String)> {
        let refused = |code| Err((code, String::new()));
        if self.offering.workers() == 0 {
            return refused(Code::NoExecutor);
        }
        if self.restricted && !self.may_call(&incoming.target) {
            return refused(Code::PermissionDenied);
        }
        let Some(offer) = self.method(&incoming.target) else {
            let name = match &incoming.target {
                Target::Name(name) => name.to_string(),
                Target::Method(_) => "no such id".into(),
            };
            return Err((Code::UnknownMethod, name));
        };
        let checked = match &offer {
            Offer::Reserved(reserved) => self.check_reserved(*reserved, incoming),
            Offer::Served(served) => self.check_served(served, incoming),
        };
        match checked {
            Ok(codec) => Ok((offer, codec)),
            Err((code, message)) => {
                if let Offer::Served(served) = &offer {
                    served.meter.refused(code);
                }
                Err((code, message))
            }
        }
    }

    fn check_reserved(
        &self,
        reserved: Reserved,
        incoming: &IncomingCall,
    ) -> Result<Codec, (Code, String)> {
        let config = &self.place.shared.config;
        if !config.may_call(self.side, self.principal(), reserved.name()) {
            return Err((Code::PermissionDenied, String::new()));
        }
        match incoming.kind {
            CallKind::UNARY => self.codec_of(incoming),
            CallKind::NAMED_ARGUMENTS => {
                Err((Code::BadArguments, "its arguments have no names".into()))
            }
            _ => Err((Code::Unsupported, Streaming::No.asked_wrongly().into())),
        }
    }

    /// The codec of what `incoming` carries: one that this broker has, as the two agreed on it.
    fn codec_of(&self, incoming: &IncomingCall) -> Result<Codec, (Code, String)> {
        let id = incoming.codec;
        let codecs = &self.place.shared.codecs;
        let codec = codecs.iter().find(|codec| codec.id() == id.0).copied();
        codec.ok_or_else(|| (Code::Unsupported, id.to_string()))
    }

    fn check_served(
        &self,
        served: &Served,
        incoming: &IncomingCall,
    ) -> Result<Codec, (Code, String)> {
        let method = &served.method;
        let codec = self.codec_of(incoming)?;
        if method.entry.refuses(incoming.extensions.schema(), codec) {
            return Err((Code::WrongSchema, String::new()));
        }
        let has = method.entry.spec.streams();
        if has != Streaming::of(incoming.kind) {
            return Err((Code::Unsupported, has.asked_wrongly().into()));
        }
        Ok(codec)
    }
}
