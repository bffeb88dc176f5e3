//! The number in front of a frame: how it is written, and how it relates to the payload's length.

use crate::OutputBatch;

/// The form and the meaning of a length header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    width: Width,
    order: Order,
    adjust: i32,
    counts: Counts,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    /// So many bytes, from 1 to 8.
    Fixed(usize),
    /// LEB128.
    Varint,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Big,
    Little,
}

/// What the number in the header counts, besides the adjustment.
#[derive(Clone, Copy, Debug)]
enum Counts {
    Payload,
    Whole,
}

/// What the bytes at the front of a frame say.
pub(super) enum Read {
    /// At least so many more bytes are needed to tell.
    Partial(usize),
    /// A payload of `payload` bytes after a header of `header`.
    Whole { header: usize, payload: u64 },
    /// A length that cannot be.
    Bad,
}

/// Why a payload has no header.
pub(super) enum Unstatable {
    TooLong,
    /// It is below the least payload that has one.
    TooShort(usize),
}

/// LEB128 of 64 bits, 7 at a time.
const VARINT_MAX: usize = 10;

impl Header {
    pub(super) fn new(width: Width) -> Self {
        Self {
            width,
            order: Order::Big,
            adjust: 0,
            counts: Counts::Payload,
        }
    }

    pub(super) fn little(self) -> Self {
        Self {
            order: Order::Little,
            ..self
        }
    }

    pub(super) fn adjusted(self, adjust: i32) -> Self {
        Self { adjust, ..self }
    }

    pub(super) fn counting_whole(self) -> Self {
        Self {
            counts: Counts::Whole,
            ..self
        }
    }

    pub(super) fn width(&self) -> Width {
        self.width
    }

    /// Fewest bytes a header takes.
    pub(super) fn min_len(&self) -> usize {
        match self.width {
            Width::Fixed(width) => width,
            Width::Varint => 1,
        }
    }

    fn max_len(&self) -> usize {
        match self.width {
            Width::Fixed(width) => width,
            Width::Varint => VARINT_MAX,
        }
    }

    /// The longest payload that every header can state.
    pub(super) fn max_payload(&self) -> usize {
        let room = self.max_number() - self.overhead(self.max_len());
        usize::try_from(room.max(0)).unwrap_or(usize::MAX)
    }

    /// The largest number a header holds.
    fn max_number(&self) -> i128 {
        match self.width {
            Width::Fixed(width) => (1 << (8 * width)) - 1,
            Width::Varint => i128::from(u64::MAX),
        }
    }

    /// What a header of `header` bytes adds to the length of the payload.
    ///
    /// 128 bits hold any u64 plus or minus it.
    fn overhead(&self, header: usize) -> i128 {
        let counted = match self.counts {
            Counts::Payload => 0,
            Counts::Whole => header as i128,
        };
        i128::from(self.adjust) + counted
    }

    /// Whether the number is the length of the payload, as in most protocols, and nothing else.
    fn is_plain(&self) -> bool {
        self.adjust == 0 && matches!(self.counts, Counts::Payload)
    }

    /// Reads the header at the front of `src`.
    pub(super) fn read(&self, src: &[u8]) -> Read {
        let (number, header) = match self.width {
            Width::Fixed(width) if src.len() < width => return Read::Partial(width - src.len()),
            Width::Fixed(width) => {
                let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
                let number = match self.order {
                    Order::Big => src[..width].iter().fold(0, fold),
                    Order::Little => src[..width].iter().rev().fold(0, fold),
                };
                (number, width)
            }
            Width::Varint => match read_varint(src) {
                Varint::Partial => return Read::Partial(1),
                Varint::Bad => return Read::Bad,
                Varint::Whole { number, len } => (number, len),
            },
        };
        if self.is_plain() {
            let payload = number;
            return Read::Whole { header, payload };
        }
        match u64::try_from(i128::from(number) - self.overhead(header)) {
            Ok(payload) => Read::Whole { header, payload },
            Err(_) => Read::Bad,
        }
    }

    /// Writes the header of a payload of `payload` bytes, or nothing.
    pub(super) fn write(&self, payload: usize, out: &mut OutputBatch) -> Result<(), Unstatable> {
        let (number, header) = self.number_for(payload)?;
        match (self.width, self.order) {
            // The widest use, and no call to copy four bytes.
            (Width::Fixed(4), Order::Big) => out.put_u32_be(number as u32),
            (Width::Fixed(_), Order::Big) => out.put_slice(&number.to_be_bytes()[8 - header..]),
            (Width::Fixed(_), Order::Little) => out.put_slice(&number.to_le_bytes()[..header]),
            (Width::Varint, _) => put_varint(number, out),
        }
        Ok(())
    }

    /// The number that states `payload`, and how many bytes it takes.
    fn number_for(&self, payload: usize) -> Result<(u64, usize), Unstatable> {
        if let Width::Fixed(width) = self.width
            && self.is_plain()
        {
            let number = payload as u64;
            let states = width == 8 || number >> (8 * width) == 0;
            return if states {
                Ok((number, width))
            } else {
                Err(Unstatable::TooLong)
            };
        }
        // Of the varints that count themselves, the shortest that is as long as it says.
        for header in self.min_len()..=self.max_len() {
            let number = payload as i128 + self.overhead(header);
            if number > self.max_number() {
                return Err(Unstatable::TooLong);
            }
            let Ok(number) = u64::try_from(number) else {
                continue;
            };
            let fits = match self.width {
                Width::Fixed(_) => true,
                Width::Varint => varint_len(number) == header,
            };
            if fits {
                return Ok((number, header));
            }
        }
        let least = usize::try_from(-self.overhead(self.min_len())).unwrap_or_default();
        Err(Unstatable::TooShort(least))
    }
}

enum Varint {
    Partial,
    Whole { number: u64, len: usize },
    Bad,
}

/// Reads the varint at the front of `src`.
fn read_varint(src: &[u8]) -> Varint {
    let mut number = 0u64;
    for (index, byte) in src.iter().enumerate().take(VARINT_MAX) {
        // The tenth byte holds the one bit that is left of 64, and is the last.
        if index + 1 == VARINT_MAX && *byte > 1 {
            return Varint::Bad;
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            // A last byte of zero says nothing that a shorter form would not.
            let canonical = *byte != 0 || index == 0;
            return if canonical {
                Varint::Whole {
                    number,
                    len: index + 1,
                }
            } else {
                Varint::Bad
            };
        }
    }
    Varint::Partial
}

fn varint_len(number: u64) -> usize {
    let bits = (u64::BITS - number.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

fn put_varint(mut number: u64, out: &mut OutputBatch) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}
