//! Running programs: each is printed before it starts.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// What a command ended in: nothing, or why it failed.
pub(crate) type Outcome = Result<(), String>;

/// A program with its arguments and environment, run from the root of the workspace.
#[derive(Debug)]
pub(crate) struct Step {
    words: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Step {
    /// `cargo` with these arguments, given as words separated by spaces.
    pub(crate) fn cargo(arguments: &str) -> Self {
        let mut words = vec!["cargo".to_owned()];
        words.extend(arguments.split_whitespace().map(str::to_owned));
        Self {
            words,
            environment: Vec::new(),
        }
    }

    /// Another program.
    pub(crate) fn program(name: &str) -> Self {
        Self {
            words: vec![name.to_owned()],
            environment: Vec::new(),
        }
    }

    /// Adds one argument.
    pub(crate) fn argument(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Adds arguments.
    pub(crate) fn arguments(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Runs it with our own output.
    ///
    /// # Errors
    /// It cannot be started, or ends with a status other than 0.
    pub(crate) fn run(&self, root: &Path) -> Outcome {
        self.announce();
        let status = self
            .command(root)
            .status()
            .map_err(|why| self.unstartable(&why))?;
        self.verdict(status.success())
    }

    /// Runs it, passes its output on, and returns the lines of it (both streams) that `keep`
    /// accepts, in the order in which they came on each stream.
    ///
    /// # Errors
    /// As [`Step::run`]; the lines are then lost, having been printed already.
    pub(crate) fn run_keeping(
        &self,
        root: &Path,
        keep: fn(&str) -> bool,
    ) -> Result<Vec<String>, String> {
        self.announce();
        let mut child = self
            .command(root)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|why| self.unstartable(&why))?;
        let errors = child.stderr.take().map(|stream| {
            thread::spawn(move || pass_on(BufReader::new(stream), &mut std::io::stderr(), keep))
        });
        let mut kept = match child.stdout.take() {
            Some(stream) => pass_on(BufReader::new(stream), &mut std::io::stdout(), keep),
            None => Vec::new(),
        };
        if let Some(reader) = errors {
            kept.extend(reader.join().unwrap_or_default());
        }
        let status = child.wait().map_err(|why| self.unstartable(&why))?;
        self.verdict(status.success())?;
        Ok(kept)
    }

    /// Runs it with its output kept back; returns what it wrote to its standard output.
    ///
    /// # Errors
    /// As [`Step::run`], with both streams in the text.
    pub(crate) fn capture(&self, root: &Path) -> Result<String, String> {
        let output = self
            .command(root)
            .output()
            .map_err(|why| self.unstartable(&why))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{}` failed\n{text}{errors}", self.line()))
    }

    /// Whether it can be started and succeeds, silently.
    pub(crate) fn succeeds(&self, root: &Path) -> bool {
        self.command(root)
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// The command as one would type it.
    fn line(&self) -> String {
        let mut words: Vec<String> = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        words.extend(self.words.iter().cloned());
        words.join(" ")
    }

    fn announce(&self) {
        println!("$ {}", self.line());
        // A closed standard output shows in the next line that is written.
        let _ = std::io::stdout().flush();
    }

    fn command(&self, root: &Path) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).current_dir(root);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // Set by the cargo that started us; a rebuild script that reads it would see xtask's.
        command
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CARGO_PKG_NAME");
        command
    }

    fn unstartable(&self, why: &std::io::Error) -> String {
        format!("cannot run `{}`: {why}", self.line())
    }

    fn verdict(&self, success: bool) -> Outcome {
        if success {
            Ok(())
        } else {
            Err(format!("`{}` failed", self.line()))
        }
    }
}

fn pass_on(reader: impl BufRead, out: &mut dyn Write, keep: fn(&str) -> bool) -> Vec<String> {
    let mut kept = Vec::new();
    for line in reader.lines().map_while(Result::ok) {
        // The step goes on when nobody reads what it prints.
        let _ = writeln!(out, "{line}");
        if keep(&line) {
            kept.push(line);
        }
    }
    kept
}
