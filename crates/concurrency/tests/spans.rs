//! The `tracing` span in which a task runs.
#![cfg(feature = "tracing")]

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    GroupError, Root, critical, on_cancel, sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event as TracingEvent, Instrument, Metadata, Subscriber, info_span};
use tracing_core::span::Current;

every_backend!(
    a_child_runs_in_the_span_of_its_spawn,
    what_ends_a_child_runs_in_its_span,
);

/// Knows which spans the thread is in.
struct Spans {
    last: AtomicU64,
    known: Mutex<Vec<&'static Metadata<'static>>>,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut known = self.known.lock().unwrap();
        known.push(span.metadata());
        let id = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        assert_eq!(known.len() as u64, id);
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &TracingEvent<'_>) {}

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        let left = ENTERED.with_borrow_mut(|entered| entered.pop());
        assert_eq!(left, Some(span.into_u64()), "spans are left in order");
    }

    fn current_span(&self) -> Current {
        match ENTERED.with_borrow(|entered| entered.last().copied()) {
            Some(id) => {
                let known = self.known.lock().unwrap();
                let place = usize::try_from(id).unwrap() - 1;
                Current::new(Id::from_u64(id), known[place])
            }
            None => Current::none(),
        }
    }
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let spans = Spans {
            last: AtomicU64::new(0),
            known: Mutex::default(),
        };
        tracing::subscriber::set_global_default(spans).expect("it is the first");
    });
}

fn here() -> Option<&'static str> {
    tracing::Span::current().metadata().map(|span| span.name())
}

// TX15
fn a_child_runs_in_the_span_of_its_spawn(root: Root) {
    install();
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let child = |name: &'static str| async move {
            for _ in 0..3 {
                assert_eq!(here(), Some(name));
                let inner = info_span!("inner");
                async {
                    assert_eq!(here(), Some("inner"));
                    yield_now().await;
                    assert_eq!(here(), Some("inner"));
                }
                .instrument(inner)
                .await;
            }
        };
        let outer = info_span!("outer");
        let children = [
            outer.in_scope(|| group.spawn_ok(child("outer"))),
            info_span!("other").in_scope(|| group.spawn_ok(child("other"))),
        ];
        let plain = group.spawn_ok(async {
            yield_now().await;
            here()
        });
        let spawns = group.clone();
        let grandchild = outer.in_scope(|| {
            group.spawn_ok(async move {
                let own = info_span!("own").in_scope(|| spawns.spawn_ok(async { here() }));
                let same = spawns.spawn_ok(async { here() });
                (own.join().await.ok(), same.join().await.ok())
            })
        });
        for child in children {
            assert!(child.join().await.is_ok());
        }
        assert_eq!(plain.join().await.ok(), Some(None));
        let seen = grandchild.join().await.ok();
        assert_eq!(seen, Some((Some(Some("own")), Some(Some("outer")))));
        let work = async { critical(async { here() }).await };
        assert_eq!(work.instrument(info_span!("work")).await, Some("work"));
        assert_eq!(here(), None);
        Ok(())
    }));
    done.unwrap();
}

/// Says in which span it was dropped.
struct Dropped(Arc<Mutex<Vec<Option<&'static str>>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(here());
    }
}

// TX15
fn what_ends_a_child_runs_in_its_span(root: Root) {
    install();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (drops, says) = (seen.clone(), seen.clone());
    let parked = Arc::new(Event::new());
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let is_parked = parked.clone();
        let child = info_span!("outer").in_scope(|| {
            group.spawn_ok(async move {
                let _finaliser = on_cancel(move |_| async move {
                    yield_now().await;
                    says.lock().unwrap().push(here());
                });
                let _dropped = Dropped(drops);
                is_parked.set();
                sleep_forever().await
            })
        });
        parked.wait().await;
        child.cancel("stop");
        assert!(child.join().await.is_err());
        Ok(())
    }));
    done.unwrap();
    assert_eq!(*seen.lock().unwrap(), [Some("outer"), Some("outer")]);
}
