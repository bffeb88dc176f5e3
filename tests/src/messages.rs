//! Messages that programs in tests exchange, in one form of each kind of codec.

use bowline::codec::{FixedStr, fixed_layout};
use serde::{Deserialize, Serialize};

/// A message that describes itself: JSON, MessagePack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// How many there are of everything else.
    pub number: u64,
    /// Something that has to be escaped.
    pub item: String,
    /// Numbers that have no end in binary.
    pub prices: Vec<f64>,
}

fixed_layout! {
    /// A message of fixed size.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Named {
        /// An integer.
        pub x: i32,
        /// A float.
        pub y: f64,
        /// A text that is padded.
        pub name: FixedStr<8>,
    }
}

/// Messages that are a line of text.
pub fn texts() -> Vec<String> {
    ["hello", "a knot that holds", "привет"]
        .map(str::to_owned)
        .into()
}

/// Messages from small to some that take more than one read.
pub fn orders() -> Vec<Order> {
    let order = |number: u64| Order {
        number,
        item: "rope \"\n".repeat(number as usize),
        prices: vec![0.1; number as usize],
    };
    [0, 1, 50].map(order).into()
}

/// Messages of fixed size, at the limits of their numbers.
pub fn named() -> Vec<Named> {
    let named = |x| Named {
        x,
        y: f64::from(x) / 3.0,
        name: FixedStr::new("bowline").expect("it fits"),
    };
    [-1, 0, i32::MAX].map(named).into()
}
