//! How much of its input a framing looks at, counted in tests: work must be linear.

#[cfg(test)]
thread_local! {
    static LOOKED_AT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Notes that `bytes` bytes are searched or read; nothing outside tests.
#[inline]
pub(crate) fn looked_at(bytes: usize) {
    #[cfg(test)]
    LOOKED_AT.set(LOOKED_AT.get() + bytes as u64);
    #[cfg(not(test))]
    let _ = bytes;
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::LOOKED_AT;
    use crate::{
        CborFraming, Cobs, Delimiter, FixedSize, Framing, JsonFraming, LengthDelimited, Lines,
        MsgpackFraming, Netstring,
    };
    #[cfg(feature = "zlib")]
    use crate::{ExpansionLimits, Zlib, ZlibFraming};

    const MIB: usize = 1024 * 1024;
    const MANY: usize = MIB / 16;

    /// Bytes looked at to decode `wire` in pieces of `piece` bytes, errors that can be recovered
    /// from included.
    fn work<F: Framing>(mut framing: F, wire: &[u8], piece: usize) -> u64 {
        let before = LOOKED_AT.get();
        let mut src = BytesMut::new();
        let mut events = 0;
        for piece in wire.chunks(piece) {
            src.extend_from_slice(piece);
            loop {
                match framing.decode(&mut src) {
                    Ok(None) => break,
                    Ok(Some(_)) => events += 1,
                    Err(error) => {
                        assert!(error.is_recoverable(), "{error}");
                        events += 1;
                    }
                }
            }
        }
        assert!(events > 0, "nothing was decoded");
        LOOKED_AT.get() - before
    }

    fn is_linear<F: Framing + Clone>(framing: &F, wire: &[u8]) {
        assert!(wire.len() >= MANY);
        let bytewise = work(framing.clone(), wire, 1);
        let by_page = work(framing.clone(), wire, 4096);
        // A framing that reads no payload looks at next to nothing in pages.
        let most = 4 * by_page.max(wire.len() as u64);
        assert!(bytewise <= most, "{bytewise} bytewise, {by_page} by pages");
    }

    // F9
    #[test]
    fn one_large_frame_costs_as_much_in_single_bytes() {
        let text = vec![b'x'; MIB];
        let ended = |end: &[u8]| [&text[..], end].concat();
        let whole = |head: &[u8]| [head, &text[..]].concat();
        let large = 2 * MIB;
        is_linear(&Lines::lf().max_frame(large), &ended(b"\n"));
        is_linear(&Lines::crlf().max_frame(large), &ended(b"\r\n"));
        let long = [b'y'; 64];
        is_linear(&Delimiter::new(long).max_frame(large), &ended(&long));
        is_linear(&Cobs::new(), &[vec![1; MIB], vec![0]].concat());
        is_linear(&FixedSize::new(MIB), &text);
        is_linear(&LengthDelimited::u32(), &whole(&(MIB as u32).to_be_bytes()));
        let netstring = [b"1048576:", &text[..], b","].concat();
        is_linear(&Netstring::new().max_frame(large), &netstring);
        let string = [b"[\"", &text[..], b"\"]"].concat();
        is_linear(&JsonFraming::new().max_frame(large), &string);
        let binary = whole(b"\xc6\x00\x10\x00\x00");
        is_linear(&MsgpackFraming::new().max_frame(large), &binary);
        let binary = whole(b"\x5a\x00\x10\x00\x00");
        is_linear(&CborFraming::new().max_frame(large), &binary);
    }

    // F9
    #[test]
    fn many_small_frames_cost_as_much_in_single_bytes() {
        let many = |frame: &[u8]| frame.repeat(MANY / frame.len() + 1);
        is_linear(&Lines::crlf(), &many(b"a line of text\r\n"));
        is_linear(&Delimiter::new("\n--\n"), &many(b"some\n-\n--\n"));
        is_linear(&Cobs::new(), &many(b"\x03ab\x02c\0"));
        is_linear(&LengthDelimited::u16(), &many(b"\x00\x05hello"));
        is_linear(&Netstring::new(), &many(b"5:hello,"));
        is_linear(&JsonFraming::new(), &many(b"{\"a\":[1,\"}\"]} 12\n"));
        is_linear(
            &MsgpackFraming::new(),
            &many(b"\x82\x01\xa1a\x02\x93\x01\x02\x03"),
        );
        is_linear(&CborFraming::new(), &many(b"\xa2\x01\x61a\x02\x9f\x01\xff"));
    }

    // F9
    #[test]
    fn what_is_discarded_costs_as_much_in_single_bytes() {
        let long = [vec![b'x'; MANY], vec![b'\n']].concat();
        is_linear(&Lines::lf().max_frame(10).max_skip(2 * MANY), &long);
        let long = [vec![1; MANY], vec![0]].concat();
        is_linear(&Cobs::new().max_frame(10).max_skip(2 * MANY), &long);
        let deep = [vec![b'['; MANY / 2], vec![b']'; MANY / 2]].concat();
        is_linear(&JsonFraming::new().max_frame(10).max_skip(2 * MANY), &deep);
    }

    // C9, F9: most of these bytes may each be the one that passes the limit, and are fed alone.
    #[cfg(feature = "zlib")]
    #[test]
    fn what_expands_to_nothing_close_to_the_limit_costs_as_much_as_it_takes() {
        const STORED: usize = 1000;
        let mut wire = b"\x78\x01\x00\xe8\x03\x17\xfc".to_vec();
        wire.extend([0; STORED]);
        wire.extend(b"\0\0\0\xff\xff".repeat(MANY / 5));
        // The last block, and the checksum of so many zeros.
        wire.extend(b"\x01\0\0\xff\xff\x03\xe8\0\x01");
        let limits = ExpansionLimits::new().max_output(STORED);
        let framing = ZlibFraming::new(Zlib::new().within(limits));
        for piece in [1, 4096, wire.len()] {
            let worked = work(framing.clone(), &wire, piece);
            assert!(worked <= 4 * wire.len() as u64, "{worked} by {piece}");
        }
    }
}
