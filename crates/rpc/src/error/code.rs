//! Why a call failed, as a number.

use std::fmt;

use super::Certainty;

/// Why a call failed.
///
/// The numbers are those of the wire. A code the peer sends that is unknown here, or that only
/// this side can know, reads as [`Internal`](Self::Internal).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum Code {
    /// The caller, or whoever owns it, cancelled the call.
    Cancelled = 1,
    /// The deadline passed.
    DeadlineExceeded = 2,
    /// The method failed in its own terms; the error carries its value.
    Application = 3,
    /// The executor has no such method.
    UnknownMethod = 4,
    /// Caller and executor disagree about the types of the method.
    WrongSchema = 5,
    /// The arguments, or what was said besides, do not fit the method.
    BadArguments = 6,
    /// The handler panicked.
    Panic = 7,
    /// No room for one more call; perhaps later.
    Overloaded = 8,
    /// The arguments or the reply are larger than a limit.
    TooLarge = 9,
    /// The caller did not prove who it is.
    Unauthenticated = 10,
    /// The caller may not call this method.
    PermissionDenied = 11,
    /// Nothing at the peer runs handlers.
    NoExecutor = 12,
    /// No peer offers the method. Known to this side only.
    NoPeer = 13,
    /// The caller calls too often.
    RateLimited = 14,
    /// The connection is gone. Known to this side only.
    ConnectionLost = 15,
    /// A peer broke the protocol.
    Protocol = 16,
    /// The peer does not know this kind of call.
    Unsupported = 17,
    /// The call is nested too deep.
    HopLimit = 18,
    /// The peer takes no new calls because it is about to leave.
    Draining = 19,
    /// The reply did not decode. Known to this side only.
    BadReply = 20,
    /// Something went wrong that has no code.
    Internal = 21,
}

const CODES: [Code; 21] = [
    Code::Cancelled,
    Code::DeadlineExceeded,
    Code::Application,
    Code::UnknownMethod,
    Code::WrongSchema,
    Code::BadArguments,
    Code::Panic,
    Code::Overloaded,
    Code::TooLarge,
    Code::Unauthenticated,
    Code::PermissionDenied,
    Code::NoExecutor,
    Code::NoPeer,
    Code::RateLimited,
    Code::ConnectionLost,
    Code::Protocol,
    Code::Unsupported,
    Code::HopLimit,
    Code::Draining,
    Code::BadReply,
    Code::Internal,
];

impl Code {
    /// The number on the wire.
    pub const fn as_u16(self) -> u16 {
        self as u16
    }

    /// The code with this number, as counted here.
    pub(crate) fn from_number(number: u16) -> Option<Code> {
        CODES.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// What a number received from a peer means: numbers that are unknown, or that a peer has no
    /// business to send, are [`Internal`](Self::Internal).
    pub fn from_wire(number: u16) -> Code {
        match Code::from_number(number) {
            None | Some(Code::NoPeer | Code::ConnectionLost | Code::BadReply) => Code::Internal,
            Some(code) => code,
        }
    }

    /// How far a call got that an executor answered with this code, where nothing more is known.
    pub const fn usual_certainty(self) -> Certainty {
        match self {
            Code::UnknownMethod
            | Code::WrongSchema
            | Code::BadArguments
            | Code::Overloaded
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::NoExecutor
            | Code::RateLimited
            | Code::Unsupported
            | Code::HopLimit
            | Code::Draining => Certainty::Refused,
            Code::Application | Code::Panic => Certainty::Executed,
            _ => Certainty::MaybeExecuted,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Code::Cancelled => "the call was cancelled",
            Code::DeadlineExceeded => "the deadline of the call passed",
            Code::Application => "the method failed",
            Code::UnknownMethod => "the peer has no such method",
            Code::WrongSchema => "the peer has the method with other types",
            Code::BadArguments => "the arguments do not fit",
            Code::Panic => "the handler panicked",
            Code::Overloaded => "there is no room for the call",
            Code::TooLarge => "the arguments or the reply are too large",
            Code::Unauthenticated => "the caller is not authenticated",
            Code::PermissionDenied => "the caller may not call this method",
            Code::NoExecutor => "nothing runs handlers at the peer",
            Code::NoPeer => "no peer offers the method",
            Code::RateLimited => "the caller calls too often",
            Code::ConnectionLost => "the connection was lost",
            Code::Protocol => "the protocol was broken",
            Code::Unsupported => "this kind of call is not supported",
            Code::HopLimit => "the call is nested too deep",
            Code::Draining => "the peer takes no new calls",
            Code::BadReply => "the reply did not decode",
            Code::Internal => "the call failed for an internal reason",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_keeps_its_number_and_local_ones_are_not_taken_from_peers() {
        for (at, code) in CODES.iter().enumerate() {
            assert_eq!(usize::from(code.as_u16()), at + 1);
            let local = matches!(code, Code::NoPeer | Code::ConnectionLost | Code::BadReply);
            let expected = if local { Code::Internal } else { *code };
            assert_eq!(Code::from_wire(code.as_u16()), expected);
        }
        assert_eq!(Code::from_wire(0), Code::Internal);
        assert_eq!(Code::from_wire(22), Code::Internal);
        assert_eq!(Code::from_wire(u16::MAX), Code::Internal);
    }
}
