//! Why the program did not do what it was asked.

use std::io;
use std::process::ExitCode;

use bowline::rpc::{CallError, Code, Error, ErrorBody};
use serde_json::{Value, json};

/// Why, and how the program ends then.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line says nothing that can be done.
    Usage(String),
    /// There is no connection, or it did not last.
    Connection(Error),
    /// A call failed.
    Call(CallError),
    /// What came back is no JSON.
    NoJson(String),
    /// Nobody reads what is written.
    Output(io::Error),
}

impl Failure {
    /// Tells it on standard error, and the status of the program.
    pub(crate) fn report(&self) -> ExitCode {
        let (told, status) = match self {
            Failure::Usage(wrong) => (json!({ "error": wrong, "help": "bowline --help" }), 2),
            Failure::Connection(error) => {
                let kind = format!("{:?}", error.kind());
                (json!({ "error": error.to_string(), "kind": kind }), 3)
            }
            Failure::Call(error) => (call(error), if is_own(error) { 1 } else { 4 }),
            Failure::NoJson(error) => (json!({ "error": format!("no JSON: {error}") }), 4),
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return ExitCode::SUCCESS;
            }
            Failure::Output(error) => (json!({ "error": error.to_string() }), 4),
        };
        eprintln!("{told}");
        ExitCode::from(status)
    }
}

fn is_own(error: &CallError) -> bool {
    error.code() == Code::Application
}

fn call(error: &CallError) -> Value {
    let mut told = json!({
        "error": error.to_string(),
        "code": format!("{:?}", error.code()),
        "certainty": format!("{:?}", error.certainty()),
    });
    // The error of the method itself, in the format of the call.
    let own = error.application().map(|body: &ErrorBody| &body.bytes);
    if let Some(own) = own.and_then(|own| serde_json::from_slice::<Value>(own).ok()) {
        told["application"] = own;
    }
    told
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Connection(error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Failure::Call(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}
