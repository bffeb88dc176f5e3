//! What happens with no backend feature. The features of this package's tests are all on, so a
//! program of its own is built.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

const PROGRAM: &str = r#"
use bowline_concurrency::task_group;
use std::task::{Context, Waker};

fn main() {
    let caught = std::panic::catch_unwind(|| {
        let mut group = Box::pin(task_group::<(), (), _, _>(|_| async { Ok(()) }));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(std::future::Future::poll(group.as_mut(), &mut cx).is_pending());
    });
    let payload = caught.expect_err("there is no backend");
    println!("panicked: {}", payload.downcast_ref::<String>().expect("a text"));
}
"#;

// TG43
#[test]
fn polling_a_group_names_the_features() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-backend");
    fs::create_dir_all(place.join("src")).expect("the directory can be made");
    let manifest = format!(
        "[package]\nname = \"no-backend\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [workspace]\n\n[dependencies]\nbowline-concurrency = {{ path = {:?} }}\n",
        package.display().to_string()
    );
    fs::write(place.join("Cargo.toml"), manifest).expect("the manifest can be written");
    fs::write(place.join("src/main.rs"), PROGRAM).expect("the program can be written");
    // The same versions as here, so that nothing has to be fetched.
    let lock = package.join("../../Cargo.lock");
    fs::copy(lock, place.join("Cargo.lock")).expect("the lock file can be copied");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--offline", "--quiet", "--target-dir"])
        .arg(place.join("target"))
        .current_dir(&place)
        .output()
        .expect("cargo runs");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let expected = "panicked: no backend enabled: turn on one of the features tokio, smol, \
                    eventloop, async-std, sim";
    assert!(out.contains(expected), "{out}\n{err}");
}
