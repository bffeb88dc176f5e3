//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::connection::Connection;

const HELP: &str = "\
Calls methods of a broker, lists and watches them, and measures how fast they are.

bowline call  [OPTIONS] METHOD [ARGUMENT..]   calls it and prints the reply
bowline list  [OPTIONS]                       prints the methods
bowline watch [OPTIONS]                       prints what is called, again and again
bowline bench [OPTIONS] METHOD [ARGUMENT..]   calls it many times and prints how long that took

Each ARGUMENT is JSON, so a text has its quotes: '\"rope\"'.

The connection:
  --to ADDRESS            host:port, tls://host:port or unix:/path [127.0.0.1:15383]
  --project NAME          the project of the broker [none]
  --secret-file FILE      the secret that the broker knows too; a newline at its end is left out
  --key-id NAME           the name the broker knows that secret by [none]
  --tls                   TLS, as tls:// before the address
  --ca FILE               the authority that signed the broker's certificate, PEM
  --cert FILE --key FILE  our certificate and its key, PEM
  --allow-insecure-network  over a network, what is sent may be read and changed by others
  --connect-timeout TIME  [10s]

Calls, of call and bench:
  --named                 the one ARGUMENT is an object of arguments with their names
  --timeout TIME          how long a call may take [30s]
  --wait                  wait for the method where nobody offers it, instead of failing at once
  --metadata KEY=VALUE    said to the handler besides; as often as wanted

  --json                  list, watch, bench: JSON instead of a table
  --interval TIME         watch: between two lines [1s]
  --count N               watch: lines, and no more [without end]
  --calls N               bench: how many calls [10000]
  --in-flight N           bench: how many at once [64]

TIME is a number with us, ms, s or m. list and watch ask what brokers tell to peers that may know: those with
the secret, and whom a rule names.

Ends with 0 where all went well, 1 where the method failed in its own terms, 2 where the command line is wrong,
3 where there is no connection, 4 where a call failed otherwise. Failures are JSON on standard error.
";

/// Bytes of a key of metadata, and of one with its value.
const MAX_KEY: usize = 255;
const MAX_METADATA: usize = 65_000;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// To print this.
    Help(&'static str),
    Run(Box<Connection>, Command),
}

#[derive(Debug)]
pub(crate) enum Command {
    Call(Called),
    List(List),
    Watch(Watch),
    Bench(Bench),
}

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) method: String,
    /// `null`, a list, or an object if they have names.
    pub(crate) arguments: Value,
    pub(crate) named: bool,
    pub(crate) timeout: Duration,
    pub(crate) wait: bool,
    pub(crate) metadata: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct List {
    pub(crate) json: bool,
}

#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) json: bool,
    pub(crate) interval: Duration,
    pub(crate) count: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) call: Called,
    pub(crate) json: bool,
    pub(crate) calls: usize,
    pub(crate) in_flight: usize,
}

/// Everything an option may set.
struct Said {
    connection: Box<Connection>,
    words: Vec<String>,
    json: bool,
    named: bool,
    wait: bool,
    timeout: Duration,
    metadata: Vec<(String, String)>,
    interval: Duration,
    count: Option<u64>,
    calls: usize,
    in_flight: usize,
}

/// # Errors
/// What is wrong with it.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Parsed, String> {
    let mut said = Said {
        connection: Box::default(),
        words: Vec::new(),
        json: false,
        named: false,
        wait: false,
        timeout: Duration::from_secs(30),
        metadata: Vec::new(),
        interval: Duration::from_secs(1),
        count: None,
        calls: 10_000,
        in_flight: 64,
    };
    let mut rest = arguments.into_iter();
    while let Some(word) = rest.next() {
        match &*word {
            "--help" | "-h" => return Ok(Parsed::Help(HELP)),
            "--" => said.words.extend(rest.by_ref()),
            _ if word.starts_with("--") => {
                // `--option=value` is one word.
                let (option, mut value) = match word.split_once('=') {
                    Some((option, value)) => (option, Some(value.to_owned())),
                    None => (&*word, None),
                };
                let mut next = || value.take().or_else(|| rest.next());
                said.set(option, &mut next)?;
                if let Some(unused) = value {
                    return Err(format!("{option} takes no value, and {unused:?} is one"));
                }
            }
            _ => said.words.push(word),
        }
    }
    said.finish()
}

impl Said {
    fn set(
        &mut self,
        option: &str,
        next: &mut dyn FnMut() -> Option<String>,
    ) -> Result<(), String> {
        let connection = &mut self.connection;
        let mut value = || next().ok_or_else(|| format!("{option} needs a value"));
        match option {
            "--to" => connection.address = value()?,
            "--project" => connection.project = value()?,
            "--secret-file" => connection.secret_file = Some(PathBuf::from(value()?)),
            "--key-id" => connection.key_id = value()?,
            "--tls" => connection.tls = true,
            "--ca" => connection.ca_file = Some(PathBuf::from(value()?)),
            "--cert" => connection.certificate_file = Some(PathBuf::from(value()?)),
            "--key" => connection.certificate_key_file = Some(PathBuf::from(value()?)),
            "--allow-insecure-network" => connection.insecure_network = true,
            "--connect-timeout" => connection.connect_timeout = time(option, &value()?)?,
            "--json" => self.json = true,
            "--named" => self.named = true,
            "--wait" => self.wait = true,
            "--timeout" => self.timeout = time(option, &value()?)?,
            "--metadata" => {
                let said = value()?;
                let Some((key, value)) = said.split_once('=') else {
                    return Err(format!("--metadata takes KEY=VALUE, and {said:?} is none"));
                };
                if key.len() > MAX_KEY || key.len() + value.len() > MAX_METADATA {
                    return Err(format!(
                        "--metadata takes a key of {MAX_KEY} bytes and {MAX_METADATA} bytes in all at most"
                    ));
                }
                self.metadata.push((key.into(), value.into()));
            }
            "--interval" => self.interval = time(option, &value()?)?,
            "--count" => self.count = Some(number(option, &value()?)? as u64),
            "--calls" => self.calls = number(option, &value()?)?,
            "--in-flight" => self.in_flight = number(option, &value()?)?,
            _ => return Err(format!("there is no option {option}")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Parsed, String> {
        let Said { json, .. } = self;
        let connection = &self.connection;
        if connection.certificate_file.is_some() != connection.certificate_key_file.is_some() {
            return Err("--cert and --key go together".into());
        }
        let mut words = self.words.into_iter();
        let command = match words.next().as_deref() {
            None => return Err("what is to be done? call, list, watch or bench".into()),
            Some("list") => Command::List(List { json }),
            Some("watch") => Command::Watch(Watch {
                json,
                interval: self.interval,
                count: self.count,
            }),
            Some(what @ ("call" | "bench")) => {
                let Some(method) = words.next() else {
                    return Err(format!("{what} needs the name of a method"));
                };
                let call = Called {
                    method,
                    arguments: arguments(self.named, words.by_ref())?,
                    named: self.named,
                    timeout: self.timeout,
                    wait: self.wait,
                    metadata: self.metadata,
                };
                match what {
                    "call" => Command::Call(call),
                    _ => Command::Bench(Bench {
                        call,
                        json,
                        calls: self.calls,
                        in_flight: self.in_flight,
                    }),
                }
            }
            Some(other) => {
                return Err(format!(
                    "there is no command {other:?}: call, list, watch or bench"
                ));
            }
        };
        match words.next() {
            Some(word) => Err(format!("{word:?} is too much")),
            None => Ok(Parsed::Run(self.connection, command)),
        }
    }
}

/// The arguments of a call: as many as there are words, or one object.
fn arguments(named: bool, words: impl Iterator<Item = String>) -> Result<Value, String> {
    let mut values = Vec::new();
    for word in words {
        let value: Value = serde_json::from_str(&word)
            .map_err(|error| format!("the argument {word:?} is no JSON: {error}"))?;
        values.push(value);
    }
    match (named, values.len()) {
        (true, 1) if values[0].is_object() => Ok(values.remove(0)),
        (true, _) => Err("--named takes one argument, which is an object".into()),
        (false, 0) => Ok(Value::Null),
        (false, _) => Ok(Value::Array(values)),
    }
}

fn number(option: &str, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{option} takes a number above 0, and {text:?} is none"))
}

fn time(option: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("{option} takes a time such as 250ms or 5s, and {text:?} is none");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(
            number.checked_mul(60).ok_or_else(wrong)?,
        )),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Parsed, String> {
        parse(line.iter().map(|word| (*word).to_owned()))
    }

    fn call(line: &[&str]) -> (Connection, Called) {
        match parsed(line) {
            Ok(Parsed::Run(connection, Command::Call(call))) => (*connection, call),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_stand_anywhere_and_arguments_are_json() {
        let (connection, added) = call(&[
            "--to",
            "unix:/run/shop",
            "call",
            "add",
            "--timeout=250ms",
            "2",
            "-3",
            "--wait",
        ]);
        assert_eq!(connection.address, "unix:/run/shop");
        assert_eq!(
            (&*added.method, added.timeout, added.wait),
            ("add", Duration::from_millis(250), true)
        );
        assert_eq!(added.arguments, serde_json::json!([2, -3]));
        assert_eq!(call(&["call", "now"]).1.arguments, Value::Null);
        let (_, named) = call(&[
            "call",
            "--named",
            "add",
            r#"{"a":1}"#,
            "--metadata",
            "who=me=you",
        ]);
        assert_eq!(named.arguments, serde_json::json!({ "a": 1 }));
        assert_eq!(named.metadata, [("who".to_owned(), "me=you".to_owned())]);
        // What begins with dashes and is no option stands behind two.
        assert_eq!(call(&["call", "--", "--odd", "1"]).1.method, "--odd");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, wrong) in [
            (&[][..], "what is to be done?"),
            (&["cal"], "there is no command \"cal\""),
            (&["call"], "call needs the name"),
            (&["call", "f", "rope"], "the argument \"rope\" is no JSON"),
            (&["call", "f", "--named", "1"], "--named takes one argument"),
            (&["call", "f", "--timeout", "5"], "--timeout takes a time"),
            (&["call", "f", "--timeout"], "--timeout needs a value"),
            (&["call", "f", "--wait=yes"], "--wait takes no value"),
            (
                &["call", "f", "--metadata", "x"],
                "--metadata takes KEY=VALUE",
            ),
            (
                &["bench", "f", "--calls", "0"],
                "--calls takes a number above 0",
            ),
            (
                &["call", "f", "--metadata", &format!("{}=x", "k".repeat(256))],
                "--metadata takes a key of 255",
            ),
            (&["list", "f"], "\"f\" is too much"),
            (&["list", "--cert", "x"], "--cert and --key go together"),
            (&["list", "--verbose"], "there is no option --verbose"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.starts_with(wrong), "{line:?}: {error}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, micros) in [
            ("7us", 7),
            ("3ms", 3_000),
            ("2s", 2_000_000),
            ("1m", 60_000_000),
        ] {
            assert_eq!(time("--timeout", text), Ok(Duration::from_micros(micros)));
        }
        for text in [
            "",
            "s",
            "1h",
            "1.5s",
            "-1s",
            "99999999999999999999s",
            "307445734561825861m",
        ] {
            assert!(time("--timeout", text).is_err(), "{text}");
        }
    }
}
