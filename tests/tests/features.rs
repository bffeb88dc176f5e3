//! Programs built with no backend and with one, and programs that are not built: they are written into
//! the build directory and built there, for features of one build cannot be taken away again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Writes a package that depends on `bowline-backend` and runs `cargo` on it, without a network:
/// what it needs was fetched for the workspace, whose lock file it shares.
fn cargo(name: &str, features: &[&str], command: &str, file: &str, source: &str) -> Output {
    let backend = workspace().join("crates/backend");
    let backend = format!("bowline-backend = {{ path = {backend:?}, features = {features:?} }}");
    let package = package(name, &backend, file, source);
    run(&package, &[command, "--quiet"], &package.join("target"))
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Writes a package, and says where it is.
fn package(name: &str, dependencies: &str, file: &str, source: &str) -> PathBuf {
    let package = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(package.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         {dependencies}\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    fs::write(package.join("src").join(file), source).unwrap();
    fs::copy(workspace().join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    package
}

fn run(package: &Path, words: &[&str], target: &Path) -> Output {
    Command::new(env!("CARGO"))
        .args(words)
        .arg("--offline")
        .current_dir(package)
        .env("CARGO_TARGET_DIR", target)
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

/// The errors that the compiler finds in a library: the line of each, and what it says.
fn errors(name: &str, source: &str) -> Vec<(usize, String)> {
    let facade = workspace().join("crates/bowline");
    let dependencies = format!("bowline = {{ path = {facade:?}, default-features = false }}");
    let package = package(name, &dependencies, "lib.rs", source);
    // What is built for one is there for the next.
    let target = package.with_file_name("misuse-target");
    let checked = run(&package, &["check", "--message-format=short"], &target);
    assert!(!checked.status.success(), "{name} was built");
    let text = String::from_utf8_lossy(&checked.stderr);
    let errors = text.lines().filter_map(|line| {
        let (line, rest) = line.strip_prefix("src/lib.rs:")?.split_once(':')?;
        let (_, error) = rest.split_once(": error")?;
        Some((line.parse().ok()?, error.to_owned()))
    });
    let errors: Vec<_> = errors.collect();
    assert!(!errors.is_empty(), "{text}");
    errors
}

/// Every error is expected where it is, and every expected one comes.
fn fails_as_it_says(name: &str, source: &str) {
    let errors = errors(name, source);
    let expected = source.lines().zip(1..).flat_map(|(line, number)| {
        let words = line.split("//~ ").skip(1);
        words.map(move |words| (number, words.trim()))
    });
    let expected: Vec<_> = expected.collect();
    for (number, words) in &expected {
        let comes = errors
            .iter()
            .any(|(line, error)| line == number && error.contains(words));
        assert!(comes, "{name}:{number}: not {words:?} among {errors:#?}");
    }
    for (line, error) in &errors {
        let is_expected = expected
            .iter()
            .any(|(number, words)| line == number && error.contains(words));
        assert!(is_expected, "{name}:{line}: {error}");
    }
}

// RG15
#[test]
fn misuse_of_the_attributes_of_rpc_is_told_where_it_is() {
    fails_as_it_says("misuse-expansion", include_str!("../misuse/expansion.rs"));
    fails_as_it_says("misuse-bounds", include_str!("../misuse/bounds.rs"));
}
