use crate::Code;

/// What the peer did that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Its first bytes are not the preface.
    #[error("the peer does not speak this protocol; it looks like {guess}")]
    NotOurProtocol {
        /// What it speaks, by the first bytes.
        guess: Guess,
    },
    /// It belongs to another project.
    #[error("the peer belongs to another project")]
    WrongProject,
    /// There is no common version, codec or feature; the word says which.
    #[error("the peer and this side have no common {0}")]
    NothingCommon(&'static str),
    /// It offers no way of authentication that this side takes.
    #[error("the peer did not authenticate")]
    Unauthenticated,
    /// It sent more than may be sent before the connection is ready.
    #[error("the handshake is longer than {limit} bytes")]
    HandshakeTooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// A header declares more than a frame may hold. Nothing was allocated for it.
    #[error("a frame of {declared} bytes is above the limit of {limit}")]
    FrameTooLong {
        /// The length in the header.
        declared: u32,
        /// Bytes allowed.
        limit: u32,
    },
    /// It broke the rule with this name.
    #[error("the peer broke the rule {0}")]
    Rule(&'static str),
    /// It sent more of this than its rate allows.
    #[error("the peer sent too many {0}")]
    Flood(&'static str),
}

impl Violation {
    /// The code of the CLOSE that answers it.
    pub fn code(&self) -> Code {
        match self {
            Violation::WrongProject | Violation::NothingCommon(_) => Code::Unsupported,
            Violation::Unauthenticated => Code::Unauthenticated,
            Violation::Flood(_) => Code::Overloaded,
            _ => Code::Protocol,
        }
    }

    /// The message of the CLOSE: the name of the rule.
    pub fn rule(&self) -> &'static str {
        match self {
            Violation::NotOurProtocol { .. } => "preface",
            Violation::WrongProject => "project",
            Violation::NothingCommon(what) => what,
            Violation::Unauthenticated => "",
            Violation::HandshakeTooLong { .. } => "handshake-length",
            Violation::FrameTooLong { .. } => "frame-length",
            Violation::Rule(rule) | Violation::Flood(rule) => rule,
        }
    }

    /// Whether connecting again would end the same way.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Violation::NotOurProtocol { .. }
                | Violation::WrongProject
                | Violation::NothingCommon(_)
                | Violation::Unauthenticated
        )
    }
}

/// What a peer speaks that does not speak this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guess {
    /// HTTP, a request, a response or the preface of version 2.
    Http,
    /// TLS where plain bytes were expected.
    Tls,
    /// SSH.
    Ssh,
    /// None of these.
    Unknown,
}

impl Guess {
    /// Guesses from the first bytes, of which there are at most 8.
    pub(super) fn from_first_bytes(bytes: &[u8]) -> Guess {
        const HTTP: [&[u8]; 11] = [
            b"GET ",
            b"PUT ",
            b"POST ",
            b"HEAD ",
            b"PATCH ",
            b"TRACE ",
            b"DELETE ",
            b"OPTIONS ",
            b"CONNECT ",
            b"PRI * ",
            b"HTTP/",
        ];
        if bytes.starts_with(&[0x16, 0x03]) || bytes.starts_with(&[0x15, 0x03]) {
            Guess::Tls
        } else if bytes.starts_with(b"SSH-") {
            Guess::Ssh
        } else if HTTP.iter().any(|start| bytes.starts_with(start)) {
            Guess::Http
        } else {
            Guess::Unknown
        }
    }
}

impl std::fmt::Display for Guess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Guess::Http => "HTTP",
            Guess::Tls => "TLS",
            Guess::Ssh => "SSH",
            Guess::Unknown => "nothing known",
        })
    }
}
