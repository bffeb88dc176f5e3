//! Lists of choices as text.
//!
//! ```text
//! bowline-sim choices 1
//! stream 0 world next task
//! stream 1 host 0 poll cost
//! stream 2 program 0 dice
//! stream 3 link 0 1 latency
//! 0 1/3 1 200/451 17/451 2 4/6
//! complete
//! ```
//!
//! Each stream is named once, before its first choice; a lone number says whose choices follow, and
//! a choice is the outcome taken and the number of outcomes; every line begins with whose it is. `complete` stands at the end of a list
//! that has all choices of its run, `cut` at that of another: a file that lost its end is noticed.

use crate::choices::{Choice, Choices};
use crate::oracle::{OWN, PROGRAM, Scope};
use crate::xxhash::xxh64;
use std::fmt;
use std::str::FromStr;

const HEAD: &str = "bowline-sim choices 1";
/// Lines are broken after so many characters.
const WIDTH: usize = 100;

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        let mut streams: Vec<(u64, Scope)> = Vec::new();
        let mut line = String::new();
        let mut current = None;
        for choice in &self.list {
            let key = (choice.stream, choice.scope);
            let known = streams.iter().position(|stream| *stream == key);
            let index = known.unwrap_or(streams.len());
            if known.is_none() {
                flush(f, &mut line)?;
                streams.push(key);
                writeln!(f, "stream {index} {}", name_of(choice))?;
            }
            let word = format!("{}/{}", choice.taken(), choice.count());
            let named = format!("{index} {word}");
            if line.len() + 1 + named.len() > WIDTH {
                flush(f, &mut line)?;
            }
            let same = !line.is_empty() && current == Some(index);
            push(&mut line, if same { &word } else { &named });
            current = Some(index);
        }
        flush(f, &mut line)?;
        f.write_str(if self.complete { "complete" } else { "cut" })
    }
}

fn push(line: &mut String, word: &str) {
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(word);
}

fn flush(f: &mut fmt::Formatter<'_>, line: &mut String) -> fmt::Result {
    if !line.is_empty() {
        writeln!(f, "{line}")?;
        line.clear();
    }
    Ok(())
}

fn name_of(choice: &Choice) -> String {
    let label = choice.label().replace('\\', "\\\\").replace('\n', "\\n");
    let own = choice.stream == xxh64(choice.label().as_bytes(), OWN);
    match choice.scope {
        Scope::World => format!("world {label}"),
        Scope::Host(host) if own => format!("host {host} {label}"),
        Scope::Host(host) => format!("program {host} {label}"),
        Scope::Link(from, to) => format!("link {from} {to} {label}"),
    }
}

/// Text that is no list of choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseChoicesError {
    line: usize,
    what: String,
}

impl ParseChoicesError {
    /// The line it was noticed in, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for ParseChoicesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a list of choices: line {}: {}",
            self.line, self.what
        )
    }
}

impl std::error::Error for ParseChoicesError {}

struct Stream {
    label: String,
    hash: u64,
    scope: Scope,
}

impl FromStr for Choices {
    type Err = ParseChoicesError;

    fn from_str(text: &str) -> Result<Choices, ParseChoicesError> {
        let mut streams: Vec<Stream> = Vec::new();
        let mut list = Vec::new();
        let mut end = None;
        let mut last = 0;
        for (number, line) in (1..).zip(text.lines()) {
            last = number;
            let refuse = |what: String| ParseChoicesError { line: number, what };
            if number == 1 {
                if line != HEAD {
                    return Err(refuse(format!("it begins with {HEAD:?}")));
                }
            } else if end.is_some() {
                if !line.trim().is_empty() {
                    return Err(refuse("it goes on after its end".to_owned()));
                }
            } else if let "complete" | "cut" = line {
                end = Some(line == "complete");
            } else if let Some(rest) = line.strip_prefix("stream ") {
                let stream = stream(rest, streams.len()).ok_or_else(|| {
                    refuse(format!(
                        "no stream {} is described by {rest:?}",
                        streams.len()
                    ))
                })?;
                streams.push(stream);
            } else {
                let mut current = None;
                for word in line.split_whitespace() {
                    let Some((taken, count)) = word.split_once('/') else {
                        let index: Option<usize> = word.parse().ok();
                        current = index.and_then(|index| streams.get(index));
                        if current.is_none() {
                            return Err(refuse(format!("{word:?} is no stream")));
                        }
                        continue;
                    };
                    let choice = current.and_then(|stream| choice(stream, taken, count));
                    list.push(choice.ok_or_else(|| refuse(format!("{word:?} is no choice")))?);
                }
            }
        }
        match end {
            Some(complete) => Ok(Choices { list, complete }),
            None => Err(ParseChoicesError {
                line: last + 1,
                what: "it has no end".to_owned(),
            }),
        }
    }
}

/// `0 world next task`, of which the number must be `index`.
fn stream(text: &str, index: usize) -> Option<Stream> {
    let (number, rest) = text.split_once(' ')?;
    if number.parse() != Ok(index) {
        return None;
    }
    let (kind, rest) = rest.split_once(' ')?;
    let (scope, seed, label) = match kind {
        "world" => (Scope::World, OWN, rest),
        "host" | "program" => {
            let (host, label) = rest.split_once(' ')?;
            let seed = if kind == "host" { OWN } else { PROGRAM };
            (Scope::Host(host.parse().ok()?), seed, label)
        }
        "link" => {
            let (from, rest) = rest.split_once(' ')?;
            let (to, label) = rest.split_once(' ')?;
            (
                Scope::Link(from.parse().ok()?, to.parse().ok()?),
                OWN,
                label,
            )
        }
        _ => return None,
    };
    let label = unescape(label)?;
    Some(Stream {
        hash: xxh64(label.as_bytes(), seed),
        label,
        scope,
    })
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next()? {
                'n' => '\n',
                '\\' => '\\',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

/// A choice of `stream`, if there is such an outcome.
fn choice(stream: &Stream, taken: &str, count: &str) -> Option<Choice> {
    let (taken, count) = (taken.parse().ok()?, count.parse().ok()?);
    (taken < count).then(|| {
        Choice::new(
            stream.label.clone(),
            stream.hash,
            stream.scope,
            count,
            taken,
        )
    })
}
