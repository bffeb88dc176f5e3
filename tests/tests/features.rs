//! Programs built with no backend and with one: they are written into the build directory and
//! built there, for features of one build cannot be taken away again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Writes a package that depends on `bowline-backend` and runs `cargo` on it, without a network:
/// what it needs was fetched for the workspace, whose lock file it shares.
fn cargo(name: &str, features: &[&str], command: &str, file: &str, source: &str) -> Output {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let package = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(package.join("src")).unwrap();
    let backend = workspace.join("crates/backend");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         bowline-backend = {{ path = {backend:?}, features = {features:?} }}\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    fs::write(package.join("src").join(file), source).unwrap();
    fs::copy(workspace.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    Command::new(env!("CARGO"))
        .args([command, "--quiet", "--offline"])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .env("RUST_BACKTRACE", "0")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap()
}

const TEXT: &str =
    "no backend enabled: turn on one of the features tokio, smol, eventloop, async-std, sim";

// B63
#[test]
fn without_a_backend_libraries_build_and_programs_do_not() {
    let library = "pub async fn sockets(at: std::net::SocketAddr) -> std::io::Result<()> {\n    \
                   use bowline_backend::net;\n    \
                   let _ = net::resolve(net::Query::host(\"localhost\", 1)).await?;\n    \
                   let _ = net::reverse(at, Default::default()).await?;\n    \
                   let listener = net::TcpListener::bind(at)?;\n    \
                   let _ = net::TcpStream::connect(listener.local_addr()?).await?;\n    \
                   listener.accept().await.map(drop)\n}\n\n\
                   pub async fn nap() {\n    let now = bowline_backend::time::now();\n    \
                   bowline_backend::time::sleep_until(now).await\n}\n\n#[test]\n\
                   #[should_panic = \"no backend enabled: turn on one of the features\"]\n\
                   fn a_polled_sleep_says_so() {\n    \
                   let waker = std::task::Waker::noop();\n    \
                   let mut cx = std::task::Context::from_waker(waker);\n    \
                   let _ = Box::pin(nap()).as_mut().poll(&mut cx);\n}\n";
    let tested = cargo("no-backend-library", &[], "test", "lib.rs", library);
    let errors = String::from_utf8_lossy(&tested.stderr);
    assert!(tested.status.success(), "{errors}");
    let report = String::from_utf8_lossy(&tested.stdout);
    assert!(report.contains("1 passed"), "{report}");

    let program = "fn main() {\n    bowline_backend::Backend::default().block_on(async {});\n}\n";
    let built = cargo("no-backend-program", &[], "build", "main.rs", program);
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(
        !built.status.success(),
        "a program without a backend was built"
    );
    assert!(errors.contains(TEXT), "{errors}");
}

// B64, B65
#[test]
fn one_backend_costs_no_tag_and_no_look_up() {
    let program = "use bowline_backend::{Backend, net::TcpStream};\n\nfn main() {\n    \
                   let alone = Backend::current();\n    \
                   std::thread::spawn(move || assert_eq!(Backend::current(), alone)).join().unwrap();\n    \
                   println!(\"{} {} {}\", size_of::<Backend>(), size_of::<TcpStream>(),\n        \
                   size_of::<bowline_backend::time::Sleep>());\n}\n";
    let run = cargo("one-backend", &["smol"], "run", "main.rs", program);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{errors}");
    let sizes = String::from_utf8_lossy(&run.stdout);
    let own = size_of::<async_io::Async<std::net::TcpStream>>();
    let (without_tag, sleep) = sizes.trim().rsplit_once(' ').unwrap();
    assert_eq!(
        without_tag,
        format!("0 {own}"),
        "the runtime's own size and no tag"
    );
    assert!(sleep.parse::<usize>().unwrap() <= 64, "Sleep has {sleep}");
}
