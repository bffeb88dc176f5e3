//! A subscriber that keeps what it hears.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Span, Subscriber};
use tracing_core::span::Current;

/// A span as it was when it had ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
}

impl Recorded {
    pub(crate) fn new(name: &'static str) -> Recorded {
        let fields = BTreeMap::new();
        Recorded { name, fields }
    }

    fn with(mut self, field: &'static str, value: &str) -> Recorded {
        self.fields.insert(field, value.to_owned());
        self
    }

    pub(crate) fn peer(self, peer: &str) -> Recorded {
        self.with("peer", peer)
    }

    pub(crate) fn outcome(self, outcome: &str) -> Recorded {
        self.with("outcome", outcome)
    }

    pub(crate) fn error(self, kind: &str, error: &str) -> Recorded {
        let failed = self.outcome(kind).with("error", error);
        failed.with("otel.status_code", "ERROR")
    }

    pub(crate) fn name_and_outcome(&self) -> String {
        format!("{} {}", self.name, self.fields["outcome"])
    }
}

struct Known {
    metadata: &'static Metadata<'static>,
    parent: Option<u64>,
    recorded: Recorded,
}

static SPANS: Mutex<Vec<Known>> = Mutex::new(Vec::new());

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Recorder;

struct Fields<'a>(&'a mut Recorded);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        let again = self.0.fields.insert(field.name(), text);
        assert_eq!(again, None, "{} was told twice", field.name());
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
        let metadata = span.metadata();
        let mut recorded = Recorded::new(metadata.name());
        span.record(&mut Fields(&mut recorded));
        let mut spans = SPANS.lock().unwrap();
        spans.push(Known {
            metadata,
            parent,
            recorded,
        });
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut spans = SPANS.lock().unwrap();
        values.record(&mut Fields(&mut spans[place(id)].recorded));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

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

/// Hears of all spans from now on; before the first of them is made.
pub(crate) fn record() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Recorder).expect("it is the first");
    });
}

/// The spans whose parent is `outer`, in the order in which they began.
pub(crate) fn below(outer: &Span) -> Vec<Recorded> {
    let outer = outer.id().expect("it is recorded").into_u64();
    let spans = SPANS.lock().unwrap();
    let below = spans.iter().filter(|span| span.parent == Some(outer));
    below.map(|span| span.recorded.clone()).collect()
}
