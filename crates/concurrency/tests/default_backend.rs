//! Where groups spawn when the default of the process is another backend. A process of its own, as
//! other tests may not see that default.

use bowline_backend::Backend;
use bowline_concurrency::{Root, task_group};

/// The backend that a child of a group runs on.
async fn of_a_child() -> Option<Backend> {
    let group = task_group::<_, (), _, _>(|group| async move {
        let child = group.spawn_ok(async { Backend::current().ok() });
        Ok(child.join().await.ok().flatten())
    });
    group.await.ok().flatten()
}

// TG33
#[test]
fn a_group_spawns_on_the_backend_that_runs_it() {
    let mut pairs = 0;
    for &backend in Backend::available() {
        for &other in Backend::available() {
            if backend == other {
                continue;
            }
            pairs += 1;
            // Before it begins, and once it runs.
            Backend::set_default(other);
            assert_eq!(
                Root::new().backend(backend).block_on(of_a_child()),
                Some(backend)
            );
            assert_eq!(backend.block_on(of_a_child()), Some(backend));
            Backend::set_default(backend);
            let changed = async {
                assert_eq!(Backend::set_default(other), backend);
                of_a_child().await
            };
            let seen = Root::new().backend(backend).block_on(changed);
            assert_eq!(seen, Some(backend), "not {other}");
        }
    }
    assert_eq!(pairs, 12, "of four backends");
}
