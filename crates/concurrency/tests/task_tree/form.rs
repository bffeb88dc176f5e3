//! The text form and the JSON form.

use super::{Opens, all_to_myself, entry, parked, until};
use crate::every_backend::every_backend;
use bowline_backend::Backend;
use bowline_backend::entropy::random_u64;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    CancelScope, CauseKind, GroupError, Root, TaskGroup, Tree, current_task, shield, sleep,
    sleep_forever, task_group, timeout, tree, yield_now,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

every_backend!(
    deadline_and_cause_are_in_text_and_json,
    json_is_well_formed,
    a_snapshot_has_an_end,
);

fn parse(json: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(json).expect("it is JSON");
    value["entries"].as_array().expect("it is a list").clone()
}

fn named<'a>(entries: &'a [Value], name: &str) -> &'a Value {
    let mut found = entries.iter().filter(|entry| entry["name"] == name);
    found.next().expect("it is there")
}

// TX3
fn deadline_and_cause_are_in_text_and_json(root: Root) {
    const HOUR: Duration = Duration::from_secs(3600);
    let gate = Arc::new(Event::new());
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        let opens = Opens(gate.clone());
        let child = group.named("limited").spawn_ok(async move {
            let scope = CancelScope::new().name("hour").timeout(HOUR);
            let _ = scope.run(shield(async { gate.wait().await })).await;
            sleep_forever().await
        });
        let tree = parked("limited", "Event::wait").await;
        let scope = entry(&tree, "hour");
        let left = scope.deadline.expect("it has one");
        assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        // It does not reach behind a shield, nor up.
        assert_eq!(tree.entries()[scope.children[0]].deadline, None);
        assert_eq!(entry(&tree, "limited").deadline, None);
        let entries = parse(&tree.to_json());
        let nanos = u64::try_from(left.as_nanos()).unwrap();
        assert_eq!(named(&entries, "hour")["deadline"], nanos);
        assert_eq!(named(&entries, "limited")["deadline"], Value::Null);
        assert_eq!(named(&entries, "limited")["cause"], Value::Null);
        let tenths = left.as_millis() / 100;
        let said = format!("deadline {}.{}s", tenths / 10, tenths % 10);
        let text = tree.to_string();
        assert!(
            line(&text, "\"hour\"").contains(&said),
            "{said} is not in:\n{text}"
        );
        assert!(!line(&text, "task limited").contains("deadline"));
        assert!(line(&text, "group").contains("deadline never"));

        let host = current_task().expect("the root's body is a task").id();
        child.cancel("too \"slow\"");
        let tree = until(|tree| entry(tree, "limited").cause.is_some()).await;
        let cause = entry(&tree, "limited").cause.as_ref();
        assert_eq!(cause.map(|cause| cause.kind()), Some(CauseKind::Explicit));
        let entries = parse(&tree.to_json());
        for name in ["limited", "hour"] {
            let cause = &named(&entries, name)["cause"];
            assert_eq!(cause["kind"], "Explicit");
            assert_eq!(cause["reason"], "too \"slow\"");
            assert_eq!(cause["by"], host.as_u64());
            assert!(cause["at"].as_str().expect("a place").contains("form.rs:"));
        }
        let said = format!("cancelled: Explicit \"too \\\"slow\\\"\" by {host}");
        let text = tree.to_string();
        assert_eq!(text.matches(&said).count(), 2, "{text}");
        drop(opens);
        Ok(())
    }));
    done.unwrap();
}

fn line<'a>(text: &'a str, part: &str) -> &'a str {
    let mut found = text.lines().filter(|line| line.contains(part));
    found
        .next()
        .unwrap_or_else(|| panic!("no {part:?} in:\n{text}"))
}

// TX5
fn json_is_well_formed(root: Root) {
    let odd = "a \"quote\", a \\, a\nline, \t, \u{1}, \u{7f}, \u{2028}, é, 🪢";
    let done: Result<(), GroupError<()>> =
        root.name(odd).block_on(task_group(|group| async move {
            for n in 0..3 {
                group
                    .named(format!("{n}{odd}"))
                    .spawn_ok(async { timeout(Duration::MAX, sleep_forever()).await.is_ok() });
            }
            let tree = tree();
            let value: Value = serde_json::from_str(&tree.to_json()).expect("it is JSON");
            assert_eq!(value["truncated"], false);
            let entries = value["entries"].as_array().expect("it is a list");
            let ids: BTreeSet<u64> = entries.iter().map(|e| e["id"].as_u64().unwrap()).collect();
            assert_eq!(ids.len(), entries.len());
            assert_eq!(entries.len(), tree.entries().len());
            for (entry, json) in tree.entries().iter().zip(entries) {
                assert_eq!(json["name"], *entry.name);
                assert_eq!(json["state"], entry.state.as_str());
                assert_eq!(json["kind"], entry.kind.as_str());
                assert_eq!(json["parent"].as_u64(), entry.parent.map(|id| id as u64));
                assert!(json["parent"].is_null() == (entry.id == 0));
                assert!(
                    json["parent"]
                        .as_u64()
                        .is_none_or(|parent| ids.contains(&parent))
                );
                for child in json["children"].as_array().expect("it is a list") {
                    let child = &entries[usize::try_from(child.as_u64().unwrap()).unwrap()];
                    assert_eq!(child["parent"], json["id"]);
                }
                assert_eq!(json["deadline"], Value::Null, "never");
                assert_eq!(json["task"].as_u64(), entry.task.map(|task| task.as_u64()));
                assert_eq!(json["polls"], entry.polls);
                assert_eq!(json["busy"], 0);
            }
            assert_eq!(entries[0]["name"], odd);
            // One line per entry, whatever the names.
            assert_eq!(tree.to_string().lines().count(), entries.len());
            group.cancel("seen");
            Ok(())
        }));
    done.unwrap();
}

// TX5
fn a_snapshot_has_an_end(root: Root) {
    const MOST: usize = 100_000;
    let _alone = all_to_myself();
    let done: Result<(), GroupError<()>> = root.block_on(task_group(|group| async move {
        // With the root and the group there are as many as there may be.
        for _ in 0..MOST - 2 {
            group.spawn_ok(sleep_forever());
        }
        let whole = tree();
        assert!(!whole.is_truncated());
        assert_eq!(whole.entries().len(), MOST);
        for _ in 0..3 {
            group.spawn_ok(sleep_forever());
        }
        let tree = tree();
        assert!(tree.is_truncated());
        assert_eq!(tree.entries().len(), MOST);
        assert_eq!(tree.entries()[1].children.len(), MOST - 2);
        assert_eq!(tree.entries()[1].tasks, MOST + 1);
        assert!(
            tree.to_json()
                .starts_with("{\"truncated\":true,\"entries\":[")
        );
        assert!(
            tree.to_string()
                .ends_with("\n(there is more than 100000 entries)")
        );
        group.cancel("seen");
        Ok(())
    }));
    done.unwrap();
}

/// Tasks that come and go at times drawn, and a snapshot every now and then.
fn story(seed: u64) -> String {
    bowline_sim::block_on(
        seed,
        Root::new()
            .name("story")
            .backend(Backend::Sim)
            .entered(async {
                let mut text = String::new();
                let done: Result<(), GroupError<()>> = task_group(|group| async move {
                    for n in 0..20 {
                        group.named(format!("walker {n}")).spawn_ok(async {
                            for _ in 0..10 {
                                let pause = Duration::from_micros(random_u64() % 1000);
                                let _ =
                                    timeout(Duration::from_millis(1), shield(sleep(pause))).await;
                                yield_now().await;
                            }
                        });
                    }
                    for _ in 0..10 {
                        sleep(Duration::from_micros(700)).await;
                        text.push_str(&format!("{}\n{}\n", tree(), tree().to_json()));
                    }
                    TEXT.set(text);
                    Ok(())
                })
                .await;
                done.unwrap();
            }),
    );
    TEXT.take()
}

thread_local! {
    static TEXT: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

// TX8
#[test]
fn equal_seeds_give_equal_text() {
    for seed in 0..20 {
        let first = story(seed);
        assert!(first.contains("task walker 3"));
        assert_eq!(first, story(seed));
        assert_ne!(first, story(seed + 100));
    }
}

// TX8
#[test]
fn the_text_form_is_as_documented() {
    let root = Root::new().name("main").backend(Backend::Sim);
    let tree = root.block_on(async {
        let group = TaskGroup::builder().name("serve");
        let hour = Duration::from_millis(3_600_050);
        let body = async move |group: TaskGroup<()>| {
            group.named("accept").spawn_ok(sleep_forever());
            let slow = async move { timeout(hour, shield(sleep(hour))).await };
            let slow = group.named("conn-7").spawn_ok(slow);
            sleep(Duration::from_secs(12)).await;
            slow.cancel("stop");
            sleep(Duration::from_secs(1)).await;
            let tree = tree();
            group.cancel("seen");
            Ok(tree)
        };
        let tree: Result<Tree, GroupError<()>> = group.run(body).await;
        tree.unwrap()
    });
    let stop = "cancelled: Explicit \"stop\" by task 1";
    let expected = [
        ("root \"main\" sim", "age 13.0s".to_owned()),
        ("└ group \"serve\"", "children 2  deadline never".to_owned()),
        (
            "  ├ task accept",
            "parked on sleep_forever  polls 1  wakes 0".to_owned(),
        ),
        (
            "  └ task conn-7",
            format!("shielded on sleep  {stop}  polls 2  wakes 2"),
        ),
        (
            "    └ scope",
            format!("shielded on sleep  deadline 3587.0s  {stop}"),
        ),
        ("      └ scope", "shielded on sleep".to_owned()),
    ];
    let lefts = expected
        .iter()
        .zip(tree.entries())
        .map(|((what, _), entry)| {
            let place = entry.location;
            format!("{what} {}:{}", place.file(), place.line())
        });
    let lefts: Vec<String> = lefts.collect();
    let width = lefts.iter().map(|left| left.chars().count()).max();
    let width = width.expect("there are lines");
    let rights = expected.iter().map(|(_, right)| right);
    let lines = lefts.iter().zip(rights);
    let lines: Vec<String> = lines
        .map(|(left, right)| format!("{left:width$}  {right}"))
        .collect();
    assert_eq!(tree.to_string().lines().collect::<Vec<_>>(), lines);
}
