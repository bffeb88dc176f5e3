//! The control connection of an FTP server (RFC 959): a protocol of one's own in lines, with a greeting,
//! a login, a refusal of what is malformed, a timeout for the silent and a graceful end.
//!
//! `cargo run -p bowline --example ftp_control`

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bowline::Error;
use bowline::codec::{Codec, Lines};
use bowline::concurrency::{TaskGroup, task_group, timeout};
use bowline::transport::{
    ErrorKind, MessageStream, Messages, Peer, Server, ServerHandle, TcpConnector, Transport,
};

/// Who says nothing for so long is sent away.
const IDLE: Duration = Duration::from_secs(300);

/// A line longer than this is no command.
const LONGEST_LINE: usize = 512;

#[bowline::main]
async fn main() -> Result<(), Error> {
    let server = Server::tcp(("127.0.0.1", 0)).codec(lines).bind().await?;
    let address = server.local_addrs()[0].clone();
    let handle = server.handle();
    println!("FTP control server at {address}");
    task_group(|group: TaskGroup<Error>| async move {
        group.spawn(async move { Ok(server.serve_fn(converse).await?) });
        let address = address.as_inet().expect("it listens on TCP");
        let stream = TcpConnector::new(address).connect().await?;
        visit(MessageStream::new(stream, Lines::crlf().text()), &handle).await
    })
    .await?;
    Ok(())
}

/// Lines as FTP has them.
fn lines() -> impl Codec<Sent = String, Item = String> {
    Lines::crlf().max_frame(LONGEST_LINE).text()
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    User(String),
    Pass,
    Pwd,
    Cwd(String),
    Syst,
    Noop,
    Quit,
}

/// Why a line is no command.
#[derive(Debug, PartialEq, Eq)]
enum Malformed {
    Unknown,
    WithoutParameter,
}

impl FromStr for Command {
    type Err = Malformed;

    fn from_str(line: &str) -> Result<Command, Malformed> {
        let (verb, parameter) = line.split_once(' ').unwrap_or((line, ""));
        let parameter = || match parameter {
            "" => Err(Malformed::WithoutParameter),
            text => Ok(text.to_owned()),
        };
        match verb.to_ascii_uppercase().as_str() {
            "USER" => Ok(Command::User(parameter()?)),
            "PASS" => Ok(Command::Pass),
            "PWD" => Ok(Command::Pwd),
            "CWD" => Ok(Command::Cwd(parameter()?)),
            "SYST" => Ok(Command::Syst),
            "NOOP" => Ok(Command::Noop),
            "QUIT" => Ok(Command::Quit),
            _ => Err(Malformed::Unknown),
        }
    }
}

/// A code of RFC 959 and its text.
struct Reply(u16, String);

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

/// What is known of a client.
struct Session {
    user: Option<String>,
    logged_in: bool,
    directory: String,
}

impl Session {
    fn answer(&mut self, command: Command) -> Reply {
        let reply = |code, text: &str| Reply(code, text.to_owned());
        match command {
            Command::User(name) => {
                let text = format!("{name} may come in; anything is a password");
                self.user = Some(name);
                Reply(331, text)
            }
            Command::Pass if self.user.is_some() => {
                self.logged_in = true;
                reply(230, "logged in")
            }
            Command::Pass => reply(503, "who are you? USER comes first"),
            Command::Noop => reply(200, "nothing done"),
            Command::Quit => reply(221, "goodbye"),
            _ if !self.logged_in => reply(530, "not logged in"),
            Command::Pwd => Reply(257, format!("\"{}\"", self.directory)),
            Command::Cwd(to) => {
                self.directory = to;
                reply(250, "changed")
            }
            Command::Syst => reply(215, "UNIX Type: L8"),
        }
    }
}

/// One client, from greeting to goodbye.
async fn converse<T>(peer: Peer<T>, mut messages: Messages<T>) -> Result<(), Error>
where
    T: Transport<Sent = String, Received = String> + 'static,
{
    let say = async |reply: Reply| peer.send(&reply.to_string()).await;
    say(Reply(220, "ready".to_owned())).await?;
    let mut session = Session {
        user: None,
        logged_in: false,
        directory: "/".to_owned(),
    };
    loop {
        let line = match timeout(IDLE, messages.recv()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) if messages.is_draining() => {
                return Ok(say(Reply(421, "the server goes down".to_owned())).await?);
            }
            Ok(Ok(None)) => return Ok(()),
            // The line is skipped, the connection is fine.
            Ok(Err(error)) if error.kind() == ErrorKind::Decode => {
                say(Reply(500, "that is no line of a command".to_owned())).await?;
                continue;
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Ok(say(Reply(421, "too quiet".to_owned())).await?),
        };
        match line.parse() {
            Ok(Command::Quit) => return Ok(say(session.answer(Command::Quit)).await?),
            Ok(command) => say(session.answer(command)).await?,
            Err(Malformed::Unknown) => say(Reply(502, "not here".to_owned())).await?,
            Err(Malformed::WithoutParameter) => say(Reply(501, "of what?".to_owned())).await?,
        }
    }
}

/// A client that tries everything.
async fn visit<T>(mut server: T, handle: &ServerHandle) -> Result<(), Error>
where
    T: Transport<Sent = String, Received = String>,
{
    let hear = async |server: &mut T, code: &str| -> Result<(), Error> {
        let reply = server.recv().await?.unwrap_or_default();
        println!("< {reply}");
        assert!(reply.starts_with(code), "{reply:?} instead of {code}");
        Ok(())
    };
    hear(&mut server, "220").await?;
    let too_long = "x".repeat(LONGEST_LINE + 1);
    for (line, code) in [
        ("PWD", "530"),
        ("user ada", "331"),
        ("PASS secret", "230"),
        ("PWD", "257 \"/\""),
        ("CWD /pub", "250"),
        ("PWD", "257 \"/pub\""),
        ("CWD", "501"),
        ("MAKE tea", "502"),
        (&too_long, "500"),
        ("NOOP", "200"),
    ] {
        println!("> {}", &line[..line.len().min(40)]);
        server.send(&line.to_owned()).await?;
        hear(&mut server, code).await?;
    }
    // It waits for us, so that it leaves at once.
    let report = handle.drain(Duration::from_secs(5)).await;
    hear(&mut server, "421").await?;
    assert_eq!((report.finished, server.recv().await?), (1, None));
    Ok(())
}
