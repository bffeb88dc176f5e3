//! Instructions, which a busy machine does not change, as Valgrind counts them: of each row for a frame, beside
//! the peer's, and of framings for a byte that is a read of its own, in a short and in a long frame.
//!
//! What one run costs is the difference between a program that does it three times and one that does it once.

use std::hint::black_box;
use std::process::Command;

use bowline_codec::{
    CborFraming, Cobs, Delimiter, Framing, JsonFraming, LengthDelimited, Lines, MsgpackFraming,
    Netstring,
};
use bytes::BytesMut;

use crate::rows;

const MIB: usize = 1024 * 1024;
/// The shorter one of two frames, whose bytes cost as much as those of [`MIB`].
const SHORT: usize = 64 * 1024;
const PAGE: usize = 4096;
/// A byte of a long frame may cost so many times what one of a short frame does: where a framing looked
/// again at what it had, it would be 16 times.
const GROWTH: f64 = 1.1;

/// At most so many instructions of ours for one of the peer's, for each row in order: a tenth more than
/// there are.
const LIMITS: [f64; 16] = [
    1.1, 1.1, 1.1, 1.1, 1.1, 1.4, 1.45, 1.6, 0.7, 1.55, 1.35, 0.06, 0.01, 4.6, 1.2, 1.2,
];

/// Prints both tables; whether all is within its limits.
pub(crate) fn count_all() -> bool {
    let mut within = true;
    println!("<!-- bench:instructions -->");
    println!(
        "| instructions per frame | peer | bowline | of ours for one of the peer's | at most |"
    );
    println!("|---|---|---|---|---|");
    assert_eq!(rows().count(), LIMITS.len());
    for (at, (row, limit)) in rows().zip(LIMITS).enumerate() {
        let each = |side| count(&["row", side, &at.to_string()]) / row.frames as f64;
        let (peer, ours) = (each("peer"), each("ours"));
        let ratio = ours / peer;
        within &= ratio <= limit;
        println!(
            "| {} | {peer:.0} | {ours:.0} | {ratio:.2} | {} |",
            row.name, limit,
        );
    }
    println!();
    println!(
        "| instructions per byte of one frame | 1 MiB in reads of 4 KiB | 64 KiB in reads of 1 B | 1 MiB in reads of 1 B | to those of 64 KiB | at most |"
    );
    println!("|---|---|---|---|---|---|");
    for framing in FRAMINGS {
        let each = |len: usize, read: usize| {
            let words = ["framing", framing, &len.to_string(), &read.to_string()];
            count(&words) / len as f64
        };
        let (pages, short, long) = (each(MIB, PAGE), each(SHORT, 1), each(MIB, 1));
        let growth = long / short;
        within &= growth <= GROWTH;
        println!("| {framing} | {pages:.2} | {short:.0} | {long:.0} | {growth:.2} | {GROWTH} |");
    }
    println!("<!-- /bench:instructions -->");
    within
}

/// Instructions of one run of what `words` name.
fn count(words: &[&str]) -> f64 {
    let [once, thrice] = ["1", "3"].map(|times| {
        let mut command = Command::new("valgrind");
        command.args(["--tool=cachegrind", "--cache-sim=no"]);
        command.arg("--cachegrind-out-file=/dev/null");
        command.arg(std::env::current_exe().expect("it runs"));
        command.args(["--run", times]).args(words);
        let output = command.output().expect("valgrind starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        let counted = said.lines().find_map(counted);
        counted.unwrap_or_else(|| panic!("{words:?}: nothing was counted: {said}"))
    });
    (thrice - once) / 2.0
}

/// The number of `==4711== I   refs:      1,234,567`.
fn counted(line: &str) -> Option<f64> {
    let (_, said) = line.split_once("== ")?;
    let (what, number) = said.split_once(':')?;
    let what: String = what.split_whitespace().collect();
    let number = number.trim().replace(',', "");
    (what == "Irefs").then(|| number.parse().expect("a number"))
}

/// Does `times` times what `words` name; for [`count`].
pub(crate) fn run(times: usize, words: &[&str]) {
    match words {
        ["row", side, at] => {
            let at = at.parse().expect("a number");
            let row = rows().nth(at).expect("a row");
            let mut run = if *side == "peer" { row.peer } else { row.ours };
            (0..times).for_each(|_| run());
        }
        ["framing", name, len, read] => {
            let len = len.parse().expect("a number");
            let read = read.parse().expect("a number");
            decode(name, len, read, times);
        }
        other => panic!("{other:?} is neither a row nor a framing"),
    }
}

const FRAMINGS: [&str; 8] = [
    "Lines",
    "Delimiter",
    "Cobs",
    "LengthDelimited",
    "Netstring",
    "JsonFraming",
    "MsgpackFraming",
    "CborFraming",
];

/// One frame of `len` bytes, without what is around it.
fn decode(name: &str, len: usize, read: usize, times: usize) {
    let text = vec![b'x'; len];
    let around = |head: &[u8], tail: &[u8]| [head, &text, tail].concat();
    let length = u32::try_from(len).expect("a short frame").to_be_bytes();
    let most = 2 * MIB;
    match name {
        "Lines" => take(
            &Lines::lf().max_frame(most),
            &around(b"", b"\n"),
            read,
            times,
        ),
        "Delimiter" => {
            let framing = Delimiter::new("xxxxxxxy").max_frame(most);
            take(&framing, &around(b"", b"xxxxxxxy"), read, times);
        }
        "Cobs" => {
            let ones = [vec![1; len], vec![0]].concat();
            take(&Cobs::new().max_frame(most), &ones, read, times);
        }
        "LengthDelimited" => {
            let framing = LengthDelimited::u32().max_frame(most);
            take(&framing, &around(&length, b""), read, times);
        }
        "Netstring" => {
            let head = format!("{len}:");
            let framing = Netstring::new().max_frame(most);
            take(&framing, &around(head.as_bytes(), b","), read, times);
        }
        "JsonFraming" => {
            let framing = JsonFraming::new().max_frame(most);
            take(&framing, &around(b"[\"", b"\"]"), read, times);
        }
        "MsgpackFraming" => {
            let framing = MsgpackFraming::new().max_frame(most);
            take(
                &framing,
                &around(&[&[0xc6][..], &length].concat(), b""),
                read,
                times,
            );
        }
        "CborFraming" => {
            let framing = CborFraming::new().max_frame(most);
            take(
                &framing,
                &around(&[&[0x5a][..], &length].concat(), b""),
                read,
                times,
            );
        }
        other => panic!("{other} is no framing"),
    }
}

fn take<F: Framing + Clone>(framing: &F, wire: &[u8], read: usize, times: usize) {
    for _ in 0..times {
        let mut framing = framing.clone();
        let (mut src, mut frames) = (BytesMut::new(), 0);
        for bytes in wire.chunks(read) {
            src.extend_from_slice(bytes);
            while let Some(frame) = framing.decode(&mut src).expect("a frame") {
                black_box(frame);
                frames += 1;
            }
        }
        assert_eq!(frames, 1);
    }
}
