//! `current_task`.

use crate::every_backend::every_backend;
use bowline_concurrency::{GroupError, Root, cancel_scope, current_task, task_group};

every_backend!(a_task_knows_its_number_name_and_parent);

// TX7
fn a_task_knows_its_number_name_and_parent(root: Root) {
    assert_eq!(current_task(), None);
    let line = line!() + 1;
    let done: Result<(), GroupError<()>> = root.name("main").block_on(async {
        let mine = current_task().expect("the root's body is a task");
        assert_eq!((mine.name(), mine.parent()), ("main", None));
        assert_eq!(mine.location().line(), line);
        let root_id = mine.id();
        task_group(|group| async move {
            let child = group.named("child").spawn_ok(async move {
                let mine = current_task().expect("it is one");
                assert_eq!(mine.parent(), Some(root_id));
                let same = cancel_scope(|_| async { current_task() }).await;
                assert_eq!(same.done().flatten().as_ref(), Some(&mine));
                let id = mine.id();
                let inner: Result<_, GroupError<()>> = task_group(|group| async move {
                    let grandchild = group.spawn_ok(async { current_task() });
                    Ok(grandchild.join().await.ok().flatten())
                })
                .await;
                let grandchild = inner.ok().flatten().expect("it is one");
                assert_eq!((grandchild.name(), grandchild.parent()), ("", Some(id)));
                mine
            });
            let id = child.id();
            let seen = child.join().await.expect("it returns");
            assert_eq!((seen.id(), seen.name()), (id, "child"));
            assert!(seen.location().file().ends_with("current.rs"));
            Ok(())
        })
        .await
    });
    done.unwrap();
    assert_eq!(current_task(), None);
}
