//! EasyNetwork's micro-benchmarks: its serializers in a process of Python beside our codecs here, in rounds
//! that take turns, on documents of about 1 and 10 KiB.
//!
//! `cargo xtask bench serializers` makes the Python environment that `EASYNETWORK_PYTHON` names.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Lines as TextLines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use bowline_benches::rounds::{median, timed};
use bowline_codec::{
    Cbor, CborFraming, Codec, Decode, Framing, Json, JsonFraming, Lines, MessageCodec, Msgpack,
    MsgpackFraming, OutputBatch, Postcard, Text,
};
use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::people::{Person, people};

const ROUNDS: usize = 11;
const SIZES: [usize; 2] = [1, 10];

/// EasyNetwork, asked through its standard input.
struct Python {
    child: Child,
    questions: ChildStdin,
    answers: TextLines<BufReader<ChildStdout>>,
}

impl Python {
    fn start(documents: &Value) -> Python {
        let python = std::env::var("EASYNETWORK_PYTHON");
        let python = python.expect("`cargo xtask bench serializers` says which Python");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/codecs/serializers.py");
        let mut command = Command::new(python);
        command
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python starts");
        let mut questions = child.stdin.take().expect("it is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        writeln!(questions, "{}", json!({ "documents": documents })).expect("it listens");
        Python {
            child,
            questions,
            answers,
        }
    }

    /// Seconds of a call.
    fn measure(&mut self, case: &str, document: usize, times: usize) -> f64 {
        let question = json!({ "case": case, "document": document, "times": times });
        writeln!(self.questions, "{question}").expect("it listens");
        let answer = self.answers.next().expect("it answers").expect("a line");
        let took = Duration::from_nanos(answer.parse().expect("a number"));
        took.as_secs_f64() / times as f64
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Nothing is asked any more: it is waiting.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is measured: the name of EasyNetwork's part, a description, and ours on values and on types.
struct Case {
    theirs: &'static str,
    name: &'static str,
    values: Option<Box<dyn FnMut()>>,
    typed: Option<Box<dyn FnMut()>>,
}

/// Prints the table.
pub(crate) fn compare() {
    let line = |size: usize| "x".repeat(size * 1024 - 1);
    let mut documents: Vec<Value> = SIZES.map(|size| json!(people(size))).into();
    documents.extend(SIZES.map(|size| json!(line(size))));
    let mut python = Python::start(&json!(documents));
    println!("<!-- bench:serializers -->");
    println!(
        "| µs | EasyNetwork | bowline, `Value` | bowline, a type | times as fast, `Value` | times as fast, a type | target |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (at, size) in SIZES.into_iter().enumerate() {
        for case in documents_of(&people(size)) {
            println!("{}", measured(&mut python, case, size, at));
        }
        for case in lines_of(line(size)) {
            println!("{}", measured(&mut python, case, size, SIZES.len() + at));
        }
    }
    println!("<!-- /bench:serializers -->");
}

fn measured(python: &mut Python, mut case: Case, size: usize, document: usize) -> String {
    let (theirs_times, our_times) = (1_000 / size, 10_000 / size);
    let (mut theirs, mut values, mut typed) = (Vec::new(), Vec::new(), Vec::new());
    let ours = |run: &mut Option<Box<dyn FnMut()>>, samples: &mut Vec<f64>| {
        if let Some(run) = run {
            let ((), took) = timed(|| (0..our_times).for_each(|_| run()));
            samples.push(took.as_secs_f64() / our_times as f64);
        }
    };
    for _ in 0..ROUNDS {
        theirs.push(python.measure(case.theirs, document, theirs_times));
        ours(&mut case.values, &mut values);
        ours(&mut case.typed, &mut typed);
    }
    let theirs = median(&theirs);
    let cells = [values, typed].map(|samples| match samples[..] {
        [] => ["-".to_owned(), "-".to_owned()],
        _ => {
            let ours = median(&samples);
            [
                format!("{:.2}", ours * 1e6),
                format!("{:.1}", theirs / ours),
            ]
        }
    });
    let [[values, values_ratio], [typed, typed_ratio]] = cells;
    format!(
        "| {}, {size} KiB | {:.2} | {values} | {typed} | {values_ratio} | {typed_ratio} | >= 20 |",
        case.name,
        theirs * 1e6,
    )
}

/// Both ways through `values` and `typed`, one frame at a time.
fn one_shot<V, T>(
    [serialize, deserialize]: [(&'static str, &'static str); 2],
    values: Option<(V, Value)>,
    (typed, people): (T, Vec<Person>),
) -> [Case; 2]
where
    V: MessageCodec<Sent = Value, Received = Value> + Clone + 'static,
    T: MessageCodec<Sent = Vec<Person>, Received = Vec<Person>> + Clone + 'static,
{
    [
        Case {
            theirs: serialize.0,
            name: serialize.1,
            values: values.clone().map(|(codec, value)| encoding(codec, value)),
            typed: Some(encoding(typed.clone(), people.clone())),
        },
        Case {
            theirs: deserialize.0,
            name: deserialize.1,
            values: values.map(|(codec, value)| decoding(codec, value)),
            typed: Some(decoding(typed, people)),
        },
    ]
}

fn encoding<M: MessageCodec + 'static>(codec: M, message: M::Sent) -> Box<dyn FnMut()>
where
    M::Sent: Sized + 'static,
{
    let mut out = BytesMut::new();
    Box::new(move || {
        codec.encode(&message, &mut out).expect("it can be written");
        black_box(out.split().freeze());
    })
}

fn decoding<M, T>(codec: M, message: T) -> Box<dyn FnMut()>
where
    M: MessageCodec<Sent = T, Received = T> + 'static,
    T: PartialEq + std::fmt::Debug + 'static,
{
    let mut out = BytesMut::new();
    codec.encode(&message, &mut out).expect("it can be written");
    let frame: Bytes = out.freeze();
    assert_eq!(codec.decode(&frame).expect("it can be read"), message);
    Box::new(move || {
        black_box(codec.decode(&frame).expect("it can be read"));
    })
}

fn producing<C: Codec + 'static>(mut codec: C, message: C::Sent) -> Box<dyn FnMut()>
where
    C::Sent: Sized + 'static,
{
    let mut batch = OutputBatch::new();
    Box::new(move || {
        codec
            .encode(&message, &mut batch)
            .expect("it can be written");
        batch.slices().for_each(|slice| {
            black_box(slice);
        });
        batch.advance(batch.len());
    })
}

fn consuming<C, T>(mut codec: C, message: T) -> Box<dyn FnMut()>
where
    C: Codec<Sent = T> + Decode<Item = T> + 'static,
    T: PartialEq + std::fmt::Debug + 'static,
{
    let mut batch = OutputBatch::new();
    codec
        .encode(&message, &mut batch)
        .expect("it can be written");
    let wire = batch.slices().collect::<Vec<_>>().concat();
    let mut src = BytesMut::new();
    let mut decode = move || {
        src.extend_from_slice(&wire);
        let decoded = codec.decode(&mut src).expect("it can be read");
        decoded.expect("one message")
    };
    assert_eq!(decode(), message);
    Box::new(move || {
        black_box(decode());
    })
}

/// Both ways through codecs of a stream, all of a message at once.
fn in_a_stream<V, T>(
    [produce, consume]: [(&'static str, &'static str); 2],
    (values, value): (impl Fn() -> V, Value),
    (typed, people): (impl Fn() -> T, Vec<Person>),
) -> [Case; 2]
where
    V: Codec<Sent = Value> + Decode<Item = Value> + 'static,
    T: Codec<Sent = Vec<Person>> + Decode<Item = Vec<Person>> + 'static,
{
    [
        Case {
            theirs: produce.0,
            name: produce.1,
            values: Some(producing(values(), value.clone())),
            typed: Some(producing(typed(), people.clone())),
        },
        Case {
            theirs: consume.0,
            name: consume.1,
            values: Some(consuming(values(), value)),
            typed: Some(consuming(typed(), people)),
        },
    ]
}

fn documents_of(people: &[Person]) -> Vec<Case> {
    let value = || json!(people);
    let people = || people.to_vec();
    fn json<T: Serialize + DeserializeOwned>() -> Json<T> {
        Json::new()
    }
    let cases = [
        one_shot(
            [
                ("json serialize", "JSON, serialize"),
                ("json deserialize", "JSON, deserialize"),
            ],
            Some((json(), value())),
            (json(), people()),
        ),
        in_a_stream(
            [
                ("json-lines produce", "JSON by line, serialize"),
                ("json-lines consume", "JSON by line, deserialize"),
            ],
            (|| json().lines(), value()),
            (|| json().lines(), people()),
        ),
        in_a_stream(
            [
                ("json-documents produce", "JSON by brackets, serialize"),
                ("json-documents consume", "JSON by brackets, deserialize"),
            ],
            (|| JsonFraming::new().with(json()), value()),
            (|| JsonFraming::new().with(json()), people()),
        ),
        one_shot(
            [
                ("msgpack serialize", "MessagePack, serialize"),
                ("msgpack deserialize", "MessagePack, deserialize"),
            ],
            Some((Msgpack::new(), value())),
            (Msgpack::new(), people()),
        ),
        in_a_stream(
            [
                ("msgpack produce", "MessagePack in a stream, serialize"),
                ("msgpack consume", "MessagePack in a stream, deserialize"),
            ],
            (|| MsgpackFraming::new().with(Msgpack::new()), value()),
            (|| MsgpackFraming::new().with(Msgpack::new()), people()),
        ),
        one_shot(
            [
                ("cbor serialize", "CBOR, serialize"),
                ("cbor deserialize", "CBOR, deserialize"),
            ],
            Some((Cbor::new(), value())),
            (Cbor::new(), people()),
        ),
        in_a_stream(
            [
                ("cbor produce", "CBOR in a stream, serialize"),
                ("cbor consume", "CBOR in a stream, deserialize"),
            ],
            (|| CborFraming::new().with(Cbor::new()), value()),
            (|| CborFraming::new().with(Cbor::new()), people()),
        ),
        one_shot(
            [
                ("pickle serialize", "pickle, serialize (`Postcard`)"),
                ("pickle deserialize", "pickle, deserialize (`Postcard`)"),
            ],
            // It does not say of what kind a value is.
            None::<(Postcard<Value>, Value)>,
            (Postcard::new(), people()),
        ),
    ];
    cases.into_iter().flatten().collect()
}

fn lines_of(line: String) -> [Case; 4] {
    let case = |theirs, name, typed| Case {
        theirs,
        name,
        values: None,
        typed: Some(typed),
    };
    let lines = || Lines::lf().text();
    [
        case(
            "line serialize",
            "line, serialize",
            encoding(Text::new(), line.clone()),
        ),
        case(
            "line deserialize",
            "line, deserialize",
            decoding(Text::new(), line.clone()),
        ),
        case(
            "line produce",
            "line in a stream, serialize",
            producing(lines(), line.clone()),
        ),
        case(
            "line consume",
            "line in a stream, deserialize",
            consuming(lines(), line),
        ),
    ]
}
