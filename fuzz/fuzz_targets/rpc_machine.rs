//! The RPC machine on any bytes in any cut, and two of them under any order of commands: no panic,
//! one sequence of events, one outcome per call, memory within the limits.
#![no_main]

#[path = "../../crates/rpc/tests/proto/laws.rs"]
mod laws;
#[path = "../../crates/rpc/tests/proto/pair.rs"]
mod pair;

use bowline_rpc::proto::Side;
use laws::{Joined, small, story};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    match mode % 4 {
        0 => {
            let steps: Vec<(u8, u16)> = rest
                .chunks_exact(3)
                .map(|step| (step[0] % 14, u16::from_be_bytes([step[1], step[2]])))
                .collect();
            Joined::new().run(&steps);
        }
        1 => cut(rest, || pair::machine(Side::Listener, &small())),
        2 => cut(rest, || {
            let mut dialer = pair::machine(Side::Dialer, &small());
            pair::sent(&mut dialer, pair::START);
            dialer
        }),
        _ => cut(rest, || {
            // In the middle of things: calls in both directions.
            let (mut dialer, mut listener) = pair::ready(&small());
            for _ in 0..3 {
                pair::open(&mut dialer, pair::call(b"d"));
                pair::open(&mut listener, pair::call(b"l"));
            }
            pair::pump(&mut dialer, &mut listener, pair::START);
            pair::events(&mut listener);
            listener
        }),
    }
});

/// The first byte says where the rest is cut.
fn cut(data: &[u8], machine: impl Fn() -> bowline_rpc::proto::Machine) {
    let Some((step, bytes)) = data.split_first() else {
        return;
    };
    let parts: Vec<&[u8]> = bytes.chunks(usize::from(*step) + 1).collect();
    assert_eq!(story(machine(), &[bytes]), story(machine(), &parts));
}
