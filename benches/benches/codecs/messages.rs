//! Messages of headers and a payload, there and back, beside serde_json alone on the same text.

use std::collections::BTreeMap;
use std::hint::black_box;

use bowline_codec::{JsonMessage, Message, MessageCodec};
use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Row;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    station: String,
    at: u64,
    values: Vec<f64>,
}

/// The same shape, as one would write it with serde alone.
#[derive(Debug, Serialize, Deserialize)]
struct Plain {
    headers: BTreeMap<String, Value>,
    payload: Reading,
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("`JsonMessage` of 8 values there and back", 8, 5_000),
        row("`JsonMessage` of 800 values there and back", 800, 100),
    ]
}

fn row(name: &'static str, values: u32, count: u64) -> Row {
    let payload = Reading {
        station: "lighthouse".to_owned(),
        at: 1_700_000_000,
        values: (0..values).map(|at| f64::from(at) * 1.37).collect(),
    };
    let headers = [("id", Value::from("4f2a9c")), ("attempt", Value::from(1))];
    let mut message = JsonMessage::new(payload.clone());
    let mut plain = Plain {
        headers: BTreeMap::new(),
        payload,
    };
    for (name, value) in headers {
        message.headers.set(name, value.clone());
        plain.headers.insert(name.to_owned(), value);
    }
    let codec = JsonMessage::<Reading>::codec();
    let (mut text, mut out) = (Vec::new(), BytesMut::new());
    Row {
        name,
        target: ">= 0.77",
        frames: count,
        peer: Box::new(move || {
            for _ in 0..count {
                text.clear();
                serde_json::to_writer(&mut text, &plain).expect("it is JSON");
                let back: Plain = serde_json::from_slice(&text).expect("it is JSON");
                assert_eq!(black_box(back).payload, plain.payload);
            }
        }),
        ours: Box::new(move || {
            for _ in 0..count {
                codec.encode(&message, &mut out).expect("it is JSON");
                let frame = out.split().freeze();
                let back = codec.decode(&frame).expect("it is JSON");
                assert_eq!(black_box(back).payload, message.payload);
            }
        }),
    }
}
