//! Items that are handed on together.

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::Codec;
use crate::codec::FormatError;
use crate::proto::{HEADER, Items, charge, finish};

/// Most charge of items that are joined to be handed on together.
pub(crate) const TOGETHER: u64 = 8 * 1024;
/// Most bytes of an item that came alone and is joined with others where it waits.
const SHORT: usize = 128;
/// Room for the first items of a buffer.
const FIRST: usize = 2 * 1024;
/// Room for as many items as are handed on together, and for the one that makes them enough.
const WHOLE: usize = TOGETHER as usize + 2 * Items::LONGEST;

/// Items that are handed on together, or one that is too long for that.
#[derive(Debug)]
pub(crate) enum Bunch {
    One(Bytes),
    Several(Items),
}

impl Bunch {
    pub(crate) fn charge(&self) -> u64 {
        match self {
            Bunch::One(item) => charge(item.len()),
            Bunch::Several(items) => items.charge(),
        }
    }

    /// Puts `others` behind these, or gives them back. Short ones apart would cost more than they count.
    pub(crate) fn join(&mut self, others: Bunch) -> Option<Bunch> {
        if self.charge() + others.charge() > TOGETHER {
            return Some(others);
        }
        match (&mut *self, others) {
            (Bunch::Several(items), Bunch::Several(others)) => items.append(others),
            (Bunch::Several(items), Bunch::One(other)) if is_short(&other) => items.push(&other),
            (Bunch::One(one), Bunch::One(other)) if is_short(one) && is_short(&other) => {
                let mut items = Items::new();
                items.push(one);
                items.push(&other);
                *self = Bunch::Several(items);
            }
            (_, others) => return Some(others),
        }
        None
    }
}

fn is_short(item: &Bytes) -> bool {
    item.len() <= SHORT
}

/// Where items are encoded behind each other, until they are handed on.
///
/// Invariant: the first `filled` bytes of `memory` are whole items; the others are there to be overwritten.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    memory: BytesMut,
    filled: usize,
    /// The last items handed on were several.
    busy: bool,
}

impl Buffer {
    /// What it holds, as a bunch.
    pub(crate) fn take(&mut self) -> Option<Bunch> {
        if self.filled == 0 {
            return None;
        }
        self.busy = self.filled > FIRST / 2;
        let items = self.memory.split_to(std::mem::take(&mut self.filled));
        Some(Bunch::Several(Items::of_frames(items)))
    }

    /// Appends an item, or gives it back if it is too long.
    pub(crate) fn push(&mut self, item: Bytes) -> Option<Bytes> {
        if item.len() > Items::LONGEST {
            return Some(item);
        }
        let (place, room) = self.room();
        match room.get_mut(..item.len()) {
            Some(room) => room.copy_from_slice(&item),
            None => return Some(item),
        }
        self.filled = finish(&mut self.memory, place, item.len());
        None
    }

    /// Appends an encoded item of at most `longest` bytes, or gives it back if it is too long to be one of
    /// several.
    pub(crate) fn encode<T: Serialize>(
        &mut self,
        codec: Codec,
        item: &T,
        longest: usize,
    ) -> Result<Buffered, FormatError> {
        let (place, room) = self.room();
        let length = match codec.encode_within(item, room) {
            Some(length) => length,
            None => {
                let apart = codec.encode(item)?;
                let length = apart.len();
                if length > longest {
                    return Ok(Buffered::TooLong(length));
                }
                return Ok(match self.push(apart) {
                    None => Buffered::Here(charge(length)),
                    Some(apart) => Buffered::Apart(apart),
                });
            }
        };
        if length > longest {
            return Ok(Buffered::TooLong(length));
        }
        self.filled = finish(&mut self.memory, place, length);
        Ok(Buffered::Here(charge(length)))
    }

    /// Where the next item begins, and room for the longest one of several.
    fn room(&mut self) -> (usize, &mut [u8]) {
        const NEXT: usize = Items::LONGEST + HEADER;
        let left = self.memory.len() - self.filled;
        if left < NEXT || self.filled == 0 && self.busy && left < WHOLE {
            self.make_room();
        }
        let start = self.filled + HEADER;
        (self.filled, &mut self.memory[start..start + Items::LONGEST])
    }

    #[cold]
    fn make_room(&mut self) {
        let size = if self.busy { WHOLE } else { FIRST };
        self.memory.truncate(self.filled);
        // The same memory, once nobody has any of it any more.
        self.memory.reserve(size);
        self.memory.resize(self.filled + size, 0);
    }
}

/// What became of an item that was encoded.
#[derive(Debug)]
pub(crate) enum Buffered {
    /// It is in the buffer, and has this charge.
    Here(u64),
    /// It is too long to be one of several.
    Apart(Bytes),
    /// It has so many bytes, which is more than the other side takes.
    TooLong(usize),
}
