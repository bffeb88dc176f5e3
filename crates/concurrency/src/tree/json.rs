//! The JSON form of a tree: RFC 8259, written by hand, for it is all the crate writes.

use super::{Tree, TreeEntry};
use crate::cause::Cause;
use std::panic::Location;
use std::time::Duration;

pub(super) fn write(tree: &Tree) -> String {
    let mut json = Json::default();
    json.object(|json| {
        json.field("truncated", |json| json.raw(tree.truncated));
        json.field("entries", |json| {
            json.array(&tree.entries, |json, entry| json.entry(entry));
        });
    });
    json.text
}

#[derive(Default)]
struct Json {
    text: String,
    /// Something stands before the next member.
    comma: bool,
}

impl Json {
    fn entry(&mut self, entry: &TreeEntry) {
        self.object(|json| {
            json.field("id", |json| json.raw(entry.id));
            json.field("parent", |json| json.optional(entry.parent, Json::raw));
            json.field("kind", |json| json.string(entry.kind.as_str()));
            json.field("task", |json| {
                json.optional(entry.task, |json, task| json.raw(task.as_u64()));
            });
            json.field("name", |json| json.string(&entry.name));
            json.field("location", |json| json.place(entry.location));
            json.field("backend", |json| {
                json.optional(entry.backend, |json, backend| json.string(backend.name()));
            });
            json.field("state", |json| json.string(entry.state.as_str()));
            json.field("deadline", |json| json.optional(entry.deadline, Json::span));
            json.field("cause", |json| {
                json.optional(entry.cause.as_ref(), Json::cause);
            });
            json.field("holds", |json| json.raw(entry.holds));
            json.field("polls", |json| json.raw(entry.polls));
            json.field("wakes", |json| json.raw(entry.wakes));
            json.field("busy", |json| json.span(entry.busy));
            json.field("age", |json| json.optional(entry.age, Json::span));
            json.field("waiting_on", |json| {
                json.optional(entry.waiting_on, Json::string);
            });
            json.field("children", |json| {
                json.array(&entry.children, |json, child| json.raw(*child));
            });
            json.field("tasks", |json| json.raw(entry.tasks));
        });
    }

    fn cause(&mut self, cause: &Cause) {
        self.object(|json| {
            json.field("kind", |json| json.string(&format!("{:?}", cause.kind())));
            json.field("reason", |json| json.string(cause.reason()));
            let by = (!cause.by().is_outside()).then(|| cause.by().as_u64());
            json.field("by", |json| json.optional(by, Json::raw));
            json.field("at", |json| json.place(cause.at()));
        });
    }

    fn place(&mut self, place: &Location<'_>) {
        self.string(&format!("{}:{}", place.file(), place.line()));
    }

    fn span(&mut self, span: Duration) {
        self.raw(span.as_nanos());
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Json, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.text.push_str("null"),
        }
    }

    /// A number or `true` or `false`, which look alike in Rust and JSON.
    fn raw(&mut self, value: impl ToString) {
        self.text.push_str(&value.to_string());
    }

    fn string(&mut self, value: &str) {
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                c if c < ' ' => self.text.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    fn object(&mut self, fields: impl FnOnce(&mut Json)) {
        self.text.push('{');
        self.comma = false;
        fields(self);
        self.text.push('}');
        self.comma = true;
    }

    fn field(&mut self, name: &str, value: impl FnOnce(&mut Json)) {
        self.separate();
        self.string(name);
        self.text.push(':');
        value(self);
        self.comma = true;
    }

    fn array<T>(&mut self, members: &[T], mut write: impl FnMut(&mut Json, &T)) {
        self.text.push('[');
        self.comma = false;
        for member in members {
            self.separate();
            write(self, member);
            self.comma = true;
        }
        self.text.push(']');
        self.comma = true;
    }

    fn separate(&mut self) {
        if self.comma {
            self.text.push(',');
        }
    }
}
