//! The laws of `Decode`, checked for any decoder on any input.
//!
//! `check` decodes one input in several cuts and demands the same events at the same places from
//! each (C1), that every byte is accounted for after each event (C2), that a fatal error
//! repeats while a recoverable one does not (C3), and that a decoder knows when it is in a frame: where
//! an end would cut one.

use std::fmt::Debug;

use bowline_codec::{Decode, DecodeError, DecodeErrorKind};
use bytes::BytesMut;

/// What a decoder said, and how many bytes of the input were accounted for when it did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event<T> {
    pub(crate) what: Result<T, Failure>,
    pub(crate) at: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) kind: DecodeErrorKind,
    pub(crate) recoverable: bool,
    pub(crate) offset: u64,
    pub(crate) skipped: u64,
}

impl From<&DecodeError> for Failure {
    fn from(error: &DecodeError) -> Self {
        Self {
            kind: error.kind(),
            recoverable: error.is_recoverable(),
            offset: error.offset(),
            skipped: error.skipped(),
        }
    }
}

/// How the input reaches the decoder.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    Whole,
    /// Pieces of these lengths, over and over. None may be zero.
    Pieces(Vec<usize>),
    /// Always exactly as many bytes as the decoder says it needs.
    AsNeeded,
}

/// Checks all laws for decoders made by `new`, on `input`, for the standard cuts and `pieces`.
///
/// `wire` gives the bytes an item took on the wire, framing included. Gives the events.
pub(crate) fn check<D>(
    new: impl Fn() -> D,
    input: &[u8],
    pieces: &[usize],
    wire: impl Fn(&D::Item) -> u64,
) -> Vec<Event<D::Item>>
where
    D: Decode,
    D::Item: Debug + PartialEq,
{
    let expected = same_in_every_cut(new, input, pieces);
    let mut accounted = 0;
    for event in &expected {
        accounted = match &event.what {
            Ok(item) => accounted + wire(item),
            Err(failure) => lost(failure, accounted),
        };
        assert_eq!(
            accounted, event.at,
            "bytes not accounted for after {event:?} of {input:?}"
        );
    }
    if !ended_for_good(&expected) {
        assert_eq!(accounted, input.len() as u64, "a clean end left bytes over");
    }
    expected
}

/// As [`check`], for decoders that skip `padding` in front of a frame, so that what an item took
/// cannot be told from it. What is skipped belongs to the event after it; at the end, to none.
pub(crate) fn check_padded<D>(
    new: impl Fn() -> D,
    input: &[u8],
    pieces: &[usize],
    padding: &[u8],
) -> Vec<Event<D::Item>>
where
    D: Decode,
    D::Item: Debug + PartialEq,
{
    let expected = same_in_every_cut(new, input, pieces);
    let mut accounted = 0;
    for event in &expected {
        match &event.what {
            Ok(_) => assert!(event.at > accounted, "an item of no bytes"),
            Err(failure) => assert_eq!(lost(failure, accounted), event.at),
        }
        accounted = event.at;
    }
    if !ended_for_good(&expected) {
        let rest = &input[usize::try_from(accounted).expect("within the input")..];
        assert!(
            rest.iter().all(|byte| padding.contains(byte)),
            "a clean end left {rest:?}"
        );
    }
    expected
}

/// The events of `input`, which are the same for the standard cuts and `pieces`.
fn same_in_every_cut<D>(new: impl Fn() -> D, input: &[u8], pieces: &[usize]) -> Vec<Event<D::Item>>
where
    D: Decode,
    D::Item: Debug + PartialEq,
{
    let expected = run(new(), input, &Cut::Whole);
    // Ended early, it may be in a frame.
    for end in (0..input.len()).step_by(1 + input.len() / 4) {
        run(new(), &input[..end], &Cut::Pieces(vec![1]));
    }
    let cuts = [Cut::Pieces(vec![1]), Cut::Pieces(vec![2, 3]), Cut::AsNeeded]
        .into_iter()
        .chain((!pieces.is_empty()).then(|| Cut::Pieces(pieces.to_vec())));
    for cut in cuts {
        assert_eq!(
            run(new(), input, &cut),
            expected,
            "{cut:?} changed the events of {input:?}"
        );
    }
    expected
}

/// What is accounted for after an error, which starts where the last event ended.
fn lost(failure: &Failure, accounted: u64) -> u64 {
    assert_eq!(
        failure.offset, accounted,
        "offset is not where the frame starts"
    );
    accounted + failure.skipped
}

fn ended_for_good<T>(events: &[Event<T>]) -> bool {
    let last = events.last().map(|event| &event.what);
    matches!(last, Some(Err(failure)) if !failure.recoverable)
}

/// Decodes `input` in one cut until it ends or fails for good.
pub(crate) fn run<D>(mut decoder: D, input: &[u8], cut: &Cut) -> Vec<Event<D::Item>>
where
    D: Decode,
    D::Item: Debug + PartialEq,
{
    let mut events = Vec::new();
    let mut src = BytesMut::new();
    let mut fed = 0;
    // Until so much is fed, the decoder has promised to give the same answer.
    let mut silent_until = 0;
    let mut pieces = match cut {
        Cut::Pieces(pieces) => pieces.clone(),
        Cut::Whole | Cut::AsNeeded => vec![input.len().max(1)],
    }
    .into_iter()
    .cycle();
    while fed < input.len() {
        let piece = match cut {
            Cut::AsNeeded => decoder.need(),
            Cut::Whole | Cut::Pieces(_) => pieces.next().expect("a cycle"),
        };
        let end = fed.saturating_add(piece).min(input.len());
        src.extend_from_slice(&input[fed..end]);
        fed = end;
        loop {
            let event = match decoder.decode(&mut src) {
                Ok(None) => {
                    assert!(decoder.need() >= 1, "need of zero");
                    silent_until = fed.saturating_add(decoder.need());
                    break;
                }
                Ok(Some(item)) => Ok(item),
                Err(error) => Err(error),
            };
            assert!(
                fed >= silent_until,
                "{event:?} came before the bytes it was said to need"
            );
            if record(&mut decoder, event, &src, fed, &mut events) {
                return events;
            }
        }
    }
    // The last answer was that more is wanted.
    let mut in_frame = Some(decoder.in_frame(&src));
    loop {
        let ended = decoder.decode_end(&mut src);
        if let Some(in_frame) = in_frame.take() {
            let cuts = !matches!(ended, Ok(None));
            assert_eq!(in_frame, cuts, "in a frame after {fed} bytes of {input:?}");
        }
        let event = match ended {
            Ok(None) => {
                assert!(src.is_empty(), "a clean end with {} bytes left", src.len());
                assert!(
                    matches!(decoder.decode_end(&mut src), Ok(None)),
                    "an end must stay one"
                );
                return events;
            }
            Ok(Some(item)) => Ok(item),
            Err(error) => Err(error),
        };
        if record(&mut decoder, event, &src, fed, &mut events) {
            return events;
        }
    }
}

/// Notes one event; whether it was the last.
fn record<D: Decode>(
    decoder: &mut D,
    event: Result<D::Item, DecodeError>,
    src: &BytesMut,
    fed: usize,
    events: &mut Vec<Event<D::Item>>,
) -> bool
where
    D::Item: Debug + PartialEq,
{
    let taken = (fed - src.len()) as u64;
    let Err(error) = event else {
        events.push(Event {
            what: event.map_err(|error| Failure::from(&error)),
            at: taken,
        });
        return false;
    };
    let failure = Failure::from(&error);
    // What is left when the input ends inside a frame is used up by the error, in place.
    let at = match failure.kind {
        DecodeErrorKind::Truncated { .. } if !failure.recoverable => fed as u64,
        _ => taken,
    };
    let last = !failure.recoverable;
    events.push(Event {
        what: Err(failure.clone()),
        at,
    });
    if last {
        // What is left, what is left and more, nothing, and what any framing finds frames in.
        let more = [&src[..], b"\x00\x00\x00\x00more"].concat();
        for input in [
            &src[..],
            &more,
            b"",
            b"\x00\x00\x00\x00\x00\x00\x00\x00\r\n",
        ] {
            let mut src = BytesMut::from(input);
            let again = decoder.decode(&mut src).map(|_| ());
            let again = again.expect_err("a fatal error is for ever");
            assert_eq!(Failure::from(&again), failure, "a fatal error changed");
            let again = decoder.decode_end(&mut src).map(|_| ());
            let again = again.expect_err("also at the end");
            assert_eq!(
                Failure::from(&again),
                failure,
                "a fatal error changed at the end"
            );
            assert_eq!(src, input, "input was taken after a fatal error");
        }
    }
    last
}
