//! Items of one call behind each other, in the form in which they travel.

use std::fmt;

use bytes::{Buf, BytesMut};

use super::frame::{HEADER, Header, ITEM};

/// Several items of one call, in their order: what they are given to a machine and come out of it as, so
/// that many cost little more than one.
///
/// They lie behind each other in one buffer. An item that came in parts, or that is longer than
/// [`LONGEST`](Self::LONGEST), goes alone.
///
/// ```
/// use bowline_rpc::proto::Items;
///
/// let mut items = Items::new();
/// items.push(b"one");
/// items.push(b"");
/// assert_eq!(items.iter().collect::<Vec<_>>(), [&b"one"[..], b""]);
/// // The bytes, and 16 for each.
/// assert_eq!(items.charge(), 3 + 2 * 16);
/// ```
// Invariant F1: `frames` are whole ITEM frames, and so as long as they cost credit; the number of the call
// is in them once a machine has taken them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Items {
    frames: BytesMut,
}

impl Items {
    /// Most bytes of an item of several that are sent together: as many as every peer takes in one frame.
    pub const LONGEST: usize = 1024;

    /// No items yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whole frames of one call.
    pub(crate) fn of_frames(frames: BytesMut) -> Self {
        Self { frames }
    }

    /// Puts an item behind the others.
    ///
    /// # Panics
    /// If it is longer than 4 GiB.
    pub fn push(&mut self, item: &[u8]) {
        let length = u32::try_from(item.len()).expect("an item has at most 4 GiB");
        let header = Header::new(ITEM, length as usize, 0, 0);
        self.frames.extend_from_slice(&header.to_bytes());
        self.frames.extend_from_slice(item);
    }

    /// The items, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (item, next) = self.item_at(at)?;
            at = next;
            Some(item)
        })
    }

    /// The item that begins at a place, and where the next one does; the first place is 0.
    #[inline]
    pub(crate) fn item_at(&self, at: usize) -> Option<(&[u8], usize)> {
        let (head, rest) = self.frames.get(at..)?.split_first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        Some((rest.get(..length)?, at + HEADER + length))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What they take of the window of their call together: their [charges](super::charge) added up.
    pub fn charge(&self) -> u64 {
        // Invariant F1.
        self.frames.len() as u64
    }

    /// Puts `others` behind these; without a copy if they lie behind them already.
    pub(crate) fn append(&mut self, others: Items) {
        self.frames.unsplit(others.frames);
    }

    /// Takes as many from the front as have a charge of `most` at most.
    pub(crate) fn split_front(&mut self, most: u64) -> Items {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if self.frames.len() <= most {
            return std::mem::take(self);
        }
        let mut end = 0;
        while let Some((_, next)) = self.item_at(end)
            && next <= most
        {
            end = next;
        }
        Self::of_frames(self.frames.split_to(end))
    }

    /// Takes the first one away.
    pub(crate) fn drop_first(&mut self) {
        if let Some((_, next)) = self.item_at(0) {
            self.frames.advance(next);
        }
    }

    /// Makes them those of the call that has this number on the wire. Gives the length of one that is
    /// too long to be one of several, and then they are of no use.
    pub(super) fn address(&mut self, wire: u64) -> Result<(), usize> {
        let head = Header::new(ITEM, 0, 0, wire).to_bytes();
        let mut rest = &mut self.frames[..];
        while let Some((header, after)) = rest.split_first_chunk_mut::<HEADER>() {
            let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
            if length > Self::LONGEST {
                return Err(length);
            }
            header[4..].copy_from_slice(&head[4..]);
            rest = after.get_mut(length..).unwrap_or_default();
        }
        Ok(())
    }

    pub(super) fn into_frames(self) -> BytesMut {
        self.frames
    }
}

/// Puts the header before an item of `length` bytes, for which there is a place in `frames`; where its end
/// is.
#[inline]
pub(crate) fn finish(frames: &mut [u8], place: usize, length: usize) -> usize {
    let header = Header::new(ITEM, length, 0, 0).to_bytes();
    frames[place..place + HEADER].copy_from_slice(&header);
    place + HEADER + length
}

/// How many bytes at the front of `input` are items of the same call as the first frame there, whole ones
/// that have `most` bytes together at most. The first frame is all there, and counts in any case.
pub(super) fn together(input: &[u8], first: &Header, most: u64, max_frame: u32) -> usize {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    let mut end = first.frame_len();
    let Some(head) = input.get(4..HEADER) else {
        return end;
    };
    while let Some(next) = input[end..].first_chunk::<HEADER>() {
        let length = u32::from_be_bytes([next[0], next[1], next[2], next[3]]);
        let after = end + HEADER + length as usize;
        if next[4..] != *head || length > max_frame || after > most {
            break;
        }
        end = after;
    }
    end
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(lengths: &[usize]) -> Items {
        let mut items = Items::new();
        for (n, length) in lengths.iter().enumerate() {
            items.push(&vec![n as u8; *length]);
        }
        items
    }

    #[test]
    fn the_front_is_cut_between_items() {
        let all = items(&[3, 0, 100]);
        for most in 0..200 {
            let mut rest = all.clone();
            let mut front = rest.split_front(most);
            let expected = match most {
                0..19 => 0,
                19..35 => 1,
                35..151 => 2,
                _ => 3,
            };
            assert_eq!(front.iter().count(), expected, "{most}");
            front.append(rest);
            assert_eq!(front, all);
        }
        let mut rest = all.clone();
        rest.drop_first();
        assert_eq!(rest.iter().map(<[u8]>::len).collect::<Vec<_>>(), [0, 100]);
    }

    #[test]
    fn what_is_too_long_to_be_one_of_several_is_found() {
        assert_eq!(items(&[1, Items::LONGEST]).address(7), Ok(()));
        let long = Items::LONGEST + 1;
        assert_eq!(items(&[1, long, 1]).address(7), Err(long));
    }

    #[test]
    fn items_go_together_up_to_another_frame() {
        let mut input = items(&[5, 0, 7]).into_frames();
        let (two, three) = (16 + 5 + 16, 16 + 5 + 16 + 16 + 7);
        let first = Header::parse(&input).unwrap();
        assert_eq!(together(&input, &first, u64::MAX, 1024), three);
        assert_eq!(together(&input, &first, three as u64, 1024), three);
        assert_eq!(together(&input, &first, three as u64 - 1, 1024), two);
        assert_eq!(together(&input, &first, 0, 1024), 21);
        assert_eq!(together(&input, &first, u64::MAX, 6), two);
        for cut in 21..three {
            let whole = if cut < two { 21 } else { two };
            assert_eq!(together(&input[..cut], &first, u64::MAX, 1024), whole);
        }
        // The kind, MORE, and the call.
        for (place, end) in [(21 + 4, 21), (two + 5, two), (two + 15, two)] {
            input[place] ^= 1;
            assert_eq!(together(&input, &first, u64::MAX, 1024), end, "{place}");
            input[place] ^= 1;
        }
    }
}
