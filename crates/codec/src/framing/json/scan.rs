//! Where a JSON document ends, found without parsing it.

/// What is between two documents.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_printable(byte: u8) -> bool {
    (0x20..=0x7e).contains(&byte)
}

/// What the bytes at the front are, and how far into it we are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scan {
    Document(Document),
    /// A value without brackets or quotes.
    Plain,
    /// Bytes that begin no document.
    Noise,
}

/// A document in brackets or quotes: a counter and two flags.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document {
    open: u8,
    close: u8,
    /// Brackets of the one kind that are open.
    depth: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Outside,
    InString,
    /// After a backslash in a string.
    Escaped,
}

impl Scan {
    /// The state before a frame whose first byte is `first`.
    pub(super) fn starting(first: u8) -> Self {
        let close = match first {
            b'{' => b'}',
            b'[' => b']',
            // A string is a document of no brackets.
            b'"' => b'"',
            _ if is_printable(first) => return Self::Plain,
            _ => return Self::Noise,
        };
        Self::Document(Document {
            open: first,
            close,
            depth: 0,
            place: Place::Outside,
        })
    }

    /// Goes over `bytes`; how many of them belong to the frame, if it ends among them.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Document(document) => document.advance(bytes),
            Self::Plain => bytes.iter().position(|byte| !is_printable(*byte)),
            Self::Noise => bytes.iter().position(|byte| is_printable(*byte)),
        }
    }

    /// Fewest bytes that end the frame.
    pub(super) fn need(&self) -> usize {
        match self {
            Self::Document(document) => document.need(),
            Self::Plain | Self::Noise => 1,
        }
    }
}

impl Document {
    fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Escaped => {
                    self.place = Place::InString;
                    at += 1;
                }
                Place::InString => {
                    at += memchr::memchr2(b'"', b'\\', &bytes[at..])? + 1;
                    if bytes[at - 1] == b'\\' {
                        self.place = Place::Escaped;
                    } else {
                        self.place = Place::Outside;
                        if self.depth == 0 {
                            return Some(at);
                        }
                    }
                }
                Place::Outside => {
                    at += memchr::memchr3(b'"', self.open, self.close, &bytes[at..])? + 1;
                    let byte = bytes[at - 1];
                    if byte == b'"' {
                        self.place = Place::InString;
                    } else if byte == self.open {
                        self.depth += 1;
                    } else {
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Some(at);
                        }
                    }
                }
            }
        }
        None
    }

    fn need(&self) -> usize {
        let to_outside = match self.place {
            Place::Outside => 0,
            Place::InString => 1,
            Place::Escaped => 2,
        };
        self.depth + to_outside
    }
}
