//! The output batch against a plain list of bytes and boundaries.

use std::collections::VecDeque;

use bowline_codec::OutputBatch;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Slice(usize),
    Shared(usize),
    Number,
    Tail(usize),
    Done,
    Advance(prop::sample::Index),
    Coalesce(usize),
    /// Does the steps and takes them back.
    Undone(Vec<Step>),
}

fn step() -> impl Strategy<Value = Step> {
    let put = prop_oneof![
        (0..40usize).prop_map(Step::Slice),
        prop_oneof![Just(0), 1..40usize, 4090..4100usize].prop_map(Step::Shared),
        Just(Step::Number),
        (0..40usize).prop_map(Step::Tail),
        Just(Step::Done),
    ];
    prop_oneof![
        6 => put.clone(),
        2 => any::<prop::sample::Index>().prop_map(Step::Advance),
        1 => prop_oneof![0..100usize, Just(5000), Just(100_000)].prop_map(Step::Coalesce),
        2 => vec(put, 0..6).prop_map(Step::Undone),
    ]
}

/// What a batch is, without its optimisations.
#[derive(Clone, Default)]
struct Model {
    bytes: VecDeque<u8>,
    /// Unsent bytes before the end of each finished, unsent frame.
    ends: VecDeque<usize>,
    next: u8,
}

impl Model {
    fn fill(&mut self, len: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (0..len)
            .map(|index| self.next.wrapping_add(index as u8))
            .collect();
        self.next = self.next.wrapping_add(len as u8).wrapping_add(17);
        self.bytes.extend(&bytes);
        bytes
    }
}

fn apply(step: &Step, batch: &mut OutputBatch, model: &mut Model) {
    match step {
        Step::Slice(len) => batch.put_slice(&model.fill(*len)),
        Step::Shared(len) => batch.put_bytes(Bytes::from(model.fill(*len))),
        Step::Tail(len) => batch.tail().extend_from_slice(&model.fill(*len)),
        Step::Number => {
            let number = u64::from_be_bytes([0x11, 2, 3, 4, 5, 6, 7, model.next]);
            batch.put_u8(number as u8);
            batch.put_u16_be(number as u16);
            batch.put_u16_le(number as u16);
            batch.put_u32_be(number as u32);
            batch.put_u32_le(number as u32);
            batch.put_u64_be(number);
            batch.put_u64_le(number);
            model.bytes.extend((number as u8).to_be_bytes());
            model.bytes.extend((number as u16).to_be_bytes());
            model.bytes.extend((number as u16).to_le_bytes());
            model.bytes.extend((number as u32).to_be_bytes());
            model.bytes.extend((number as u32).to_le_bytes());
            model.bytes.extend(number.to_be_bytes());
            model.bytes.extend(number.to_le_bytes());
        }
        Step::Done => {
            batch.frame_done();
            let end = model.bytes.len();
            if model.ends.back().copied().unwrap_or(0) < end {
                model.ends.push_back(end);
            }
        }
        Step::Advance(index) => {
            let n = index.index(model.bytes.len() + 1);
            batch.advance(n);
            model.bytes.drain(..n);
            model.ends.retain(|end| *end > n);
            model.ends.iter_mut().for_each(|end| *end -= n);
        }
        Step::Coalesce(max) => {
            let before: Vec<usize> = batch.slices().map(<[u8]>::len).collect();
            let first = batch.coalesce(*max).len();
            let mut joined = 0;
            let fit = before.iter().take_while(|len| {
                joined += **len;
                joined <= *max
            });
            let due = fit.sum::<usize>().max(before.first().copied().unwrap_or(0));
            assert_eq!(first, due, "coalesce({max}) of {before:?}");
        }
        Step::Undone(steps) => {
            let mark = batch.mark();
            let mut discarded = model.clone();
            for step in steps {
                apply(step, batch, &mut discarded);
            }
            batch.rollback(mark);
        }
    }
}

proptest! {
    #[test]
    fn a_batch_is_its_bytes_and_its_boundaries(steps in vec(step(), 0..40)) {
        let mut batch = OutputBatch::new();
        let mut model = Model::default();
        for step in &steps {
            apply(step, &mut batch, &mut model);
            let bytes: Vec<u8> = batch.slices().flatten().copied().collect();
            prop_assert_eq!(&bytes, &model.bytes.iter().copied().collect::<Vec<u8>>());
            prop_assert_eq!(batch.len(), model.bytes.len());
            prop_assert_eq!(batch.is_empty(), model.bytes.is_empty());
            prop_assert_eq!(batch.segments(), batch.slices().count());
            prop_assert!(batch.slices().all(|slice| !slice.is_empty()));
            prop_assert_eq!(batch.unsent_frames(), model.ends.len());
        }
    }
}

#[test]
fn from_keep_on_bytes_are_shared_not_copied() {
    let mut batch = OutputBatch::new();
    let small = Bytes::from(vec![1; OutputBatch::KEEP - 1]);
    let large = Bytes::from(vec![2; OutputBatch::KEEP]);
    batch.put_bytes(small.clone());
    batch.put_bytes(large.clone());
    let starts: Vec<*const u8> = batch.slices().map(<[u8]>::as_ptr).collect();
    assert_ne!(starts[0], small.as_ptr());
    assert_eq!(starts[1], large.as_ptr());
}

#[test]
fn a_huge_tail_is_given_back_and_a_moderate_one_is_kept() {
    for (size, kept) in [(200 * 1024, true), (600 * 1024, false)] {
        let mut batch = OutputBatch::new();
        batch.put_slice(&vec![0; size]);
        // In pieces, so that the last one is small.
        while !batch.is_empty() {
            batch.advance(batch.len().min(10_000));
        }
        let capacity = if batch.tail().try_reclaim(size) {
            size
        } else {
            batch.tail().capacity()
        };
        assert_eq!(capacity >= size, kept, "{capacity} after {size}");
        if !kept {
            assert_eq!(capacity, 16 * 1024);
        }
    }
}

#[test]
#[should_panic(expected = "advanced 2 bytes over a batch of 1")]
fn advancing_over_what_is_not_there() {
    let mut batch = OutputBatch::new();
    batch.put_u8(0);
    batch.advance(2);
}

#[test]
#[should_panic(expected = "rolled back over bytes already sent")]
fn rolling_back_what_is_sent() {
    let mut batch = OutputBatch::new();
    let mark = batch.mark();
    batch.put_u8(0);
    batch.advance(1);
    batch.rollback(mark);
}
