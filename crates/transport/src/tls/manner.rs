//! How secure streams come about and end, whichever side begins them.

use std::time::Duration;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a stream that ends may wait for its peer to take what is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How the end of a secure stream is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CloseMode {
    /// By a `close_notify`. An end without one is
    /// [`Broken(TruncatedTls)`](crate::Break::TruncatedTls): somebody between us may have cut the
    /// end off.
    #[default]
    Strict,
    /// By the end of the stream below: we send no `close_notify`, and need none. For peers that
    /// do not keep to the standard, with protocols that say themselves where a message ends.
    Lenient,
}

/// What client and server have in common.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) close: CloseMode,
    pub(super) handshake_timeout: Duration,
    pub(super) close_timeout: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Manner {
            close: CloseMode::Strict,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            close_timeout: CLOSE_TIMEOUT,
        }
    }
}

/// The methods by which a builder that has a `manner` is told.
macro_rules! takes_manner {
    ($builder:ident) => {
        impl $builder {
            /// How streams end; strictly by default.
            pub fn close_mode(mut self, mode: CloseMode) -> Self {
                self.manner.close = mode;
                self
            }

            /// How long a handshake may take; default 60 s.
            pub fn handshake_timeout(mut self, most: Duration) -> Self {
                self.manner.handshake_timeout = most;
                self
            }

            /// How long a stream that is shut down may wait for its peer to take what is left, the
            /// `close_notify` included; default 30 s. It never waits for that of the peer. Afterwards it has
            /// failed, and what is left is lost.
            pub fn close_timeout(mut self, most: Duration) -> Self {
                self.manner.close_timeout = most;
                self
            }
        }
    };
}

pub(super) use takes_manner;
