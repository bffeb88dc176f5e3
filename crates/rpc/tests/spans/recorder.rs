//! A subscriber that keeps spans with what they were told last.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) number: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Recorded {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

static SPANS: Mutex<Vec<Recorded>> = Mutex::new(Vec::new());
static EVENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The spans of this name whose method is that, in the order in which they began.
pub(crate) fn spans(name: &str, method: &str) -> Vec<Recorded> {
    let spans = SPANS.lock().unwrap();
    let named = spans.iter().filter(|span| span.metadata.name() == name);
    let found = named.filter(|span| span.field("method") == method);
    found.cloned().collect()
}

/// All that was told by now, in spans and in events.
pub(crate) fn everything() -> String {
    let mut all = EVENTS.lock().unwrap().clone();
    all.extend(SPANS.lock().unwrap().iter().map(text));
    all.join("\n")
}

fn text(recorded: &Recorded) -> String {
    let Recorded {
        metadata, fields, ..
    } = recorded;
    format!("{} {}: {fields:?}", metadata.target(), metadata.name())
}

/// Hears of all spans and events from now on; before the first of them is made.
pub(crate) fn record() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Recorder).expect("it is the first");
    });
}

struct Recorder;

struct Fields<'a>(&'a mut Recorded);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let told = self.0.fields.insert(field.name(), format!("{value:?}"));
        let again = matches!(field.name(), "code" | "certainty").then_some(told);
        assert_eq!(again.flatten(), None, "an end was told twice");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

fn place(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let contextual = || ENTERED.with_borrow(|entered| entered.last().copied());
        let parent = match span.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if span.is_contextual() => contextual(),
            None => None,
        };
        let mut spans = SPANS.lock().unwrap();
        let mut recorded = Recorded {
            metadata: span.metadata(),
            number: spans.len() as u64 + 1,
            parent,
            fields: BTreeMap::new(),
        };
        span.record(&mut Fields(&mut recorded));
        let id = Id::from_u64(recorded.number);
        spans.push(recorded);
        id
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut SPANS.lock().unwrap()[place(id)]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut recorded = Recorded {
            metadata: event.metadata(),
            number: 0,
            parent: None,
            fields: BTreeMap::new(),
        };
        event.record(&mut Fields(&mut recorded));
        EVENTS.lock().unwrap().push(text(&recorded));
    }

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        let left = ENTERED.with_borrow_mut(Vec::pop);
        assert_eq!(left, Some(id.into_u64()), "spans are left in order");
    }

    fn current_span(&self) -> Current {
        let Some(id) = ENTERED.with_borrow(|entered| entered.last().copied()) else {
            return Current::none();
        };
        let id = Id::from_u64(id);
        let metadata = SPANS.lock().unwrap()[place(&id)].metadata;
        Current::new(id, metadata)
    }
}
