//! Base64, padded, and strict in what it accepts.

use bytes::BytesMut;

/// Which characters stand for 62 and 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// `+` and `/`.
    Standard,
    /// `-` and `_`.
    #[cfg_attr(
        not(feature = "base64"),
        expect(dead_code, reason = "a choice of `Base64`")
    )]
    UrlSafe,
}

/// Not a character of the alphabet.
const FOREIGN: u8 = 0xff;

struct Table {
    characters: [u8; 64],
    values: [u8; 256],
}

static STANDARD: Table = Table::new(b"+/");
static URL_SAFE: Table = Table::new(b"-_");

impl Table {
    const fn new(last: &[u8; 2]) -> Self {
        let mut characters = [0; 64];
        let mut values = [FOREIGN; 256];
        let mut value = 0;
        while value < 64 {
            let character = match value {
                0..=25 => b'A' + value,
                26..=51 => b'a' + (value - 26),
                52..=61 => b'0' + (value - 52),
                _ => last[value as usize - 62],
            };
            characters[value as usize] = character;
            values[character as usize] = value;
            value += 1;
        }
        Self { characters, values }
    }
}

impl Alphabet {
    fn table(self) -> &'static Table {
        match self {
            Self::Standard => &STANDARD,
            Self::UrlSafe => &URL_SAFE,
        }
    }

    /// Appends `data` as text.
    pub(crate) fn encode(self, data: &[u8], out: &mut BytesMut) {
        let characters = &self.table().characters;
        out.reserve(data.len().div_ceil(3) * 4);
        for group in data.chunks(3) {
            let byte = |index| u32::from(group.get(index).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            let mut text = [b'='; 4];
            for (index, character) in text.iter_mut().enumerate().take(group.len() + 1) {
                *character = characters[(bits >> (18 - 6 * index)) as usize & 63];
            }
            out.extend_from_slice(&text);
        }
    }

    /// The data that `text` stands for, if it is exactly what [`encode`](Self::encode) makes of it.
    pub(crate) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        let values = &self.table().values;
        let (groups, rest) = text.as_chunks::<4>();
        if !rest.is_empty() {
            return None;
        }
        let mut data = Vec::with_capacity(groups.len() * 3);
        let last = groups.len().checked_sub(1);
        for (index, group) in groups.iter().enumerate() {
            let padding = match group {
                [_, _, b'=', b'='] if Some(index) == last => 2,
                [_, _, _, b'='] if Some(index) == last => 1,
                _ => 0,
            };
            let mut bits = 0;
            for character in &group[..4 - padding] {
                let value = values[usize::from(*character)];
                if value == FOREIGN {
                    return None;
                }
                bits = bits << 6 | u32::from(value);
            }
            bits <<= 6 * padding;
            let [_, bytes @ ..] = bits.to_be_bytes();
            let (kept, spare) = bytes.split_at(3 - padding);
            if spare.iter().any(|byte| *byte != 0) {
                return None;
            }
            data.extend_from_slice(kept);
        }
        Some(data)
    }
}
