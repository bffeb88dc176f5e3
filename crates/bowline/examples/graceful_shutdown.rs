//! A server that stops well: no new connection, work at hand is finished, what hangs is cut.
//!
//! Every connection is a child of one group. `shutdown` cancels the group with a grace: who asks
//! hears of it at once, everything else goes on until the grace is over and is dropped then.
//!
//! `cargo run -p bowline --example graceful_shutdown` shows it with three clients; with
//! `-- --serve` it runs until SIGTERM or SIGINT.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bowline::Error;
use bowline::backend::net::{TcpListener, TcpStream};
use bowline::backend::signal::{Signal, listen};
use bowline::channel::select_biased;
use bowline::codec::Lines;
use bowline::concurrency::{
    CancelHandle, Started, TaskGroup, cancelled, on_cancel, sleep, task_group,
};
use bowline::transport::{MessageStream, Transport};

/// What work at hand gets.
const GRACE: Duration = Duration::from_secs(2);

#[bowline::main]
async fn main() -> Result<(), Error> {
    let until_signal = std::env::args().any(|argument| argument == "--serve");
    task_group(|group: TaskGroup<Error>| async move {
        let (_, (address, server)) = group.named("server").start(serve).await?;
        println!("server at {address}");
        match until_signal {
            true => wait_for_signal().await?,
            false => return demonstrate(address, &server).await,
        }
        server.shutdown(GRACE);
        Ok(()) // the group waits for the server
    })
    .await?;
    println!("all is over");
    Ok(())
}

/// Says where it listens and how it is stopped, and accepts until it is.
async fn serve(started: Started<(SocketAddr, CancelHandle)>) -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    task_group(|connections: TaskGroup<Error>| async move {
        let _ = started.send((listener.local_addr()?, connections.handle()));
        for number in 1.. {
            select_biased! {
                _ = cancelled() => break,
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    connections.spawn_ok(connection(stream, number));
                },
            }
        }
        println!("no new connections; {} open", connections.statistics().live);
        Ok(())
    })
    .await?;
    Ok(())
}

/// Answers requests, each a number of milliseconds of work, until a cancel finds it idle.
async fn connection(stream: TcpStream, number: usize) {
    let _cut = on_cancel(move |_| async move { println!("{number}: cut in the middle of work") });
    let mut messages = MessageStream::new(stream, Lines::lf().text());
    loop {
        let request = select_biased! {
            request = messages.recv() => request,
            _ = cancelled() => {
                println!("{number}: nothing at hand, closed");
                break;
            },
        };
        let Ok(Some(request)) = request else { break };
        let Ok(work) = request.parse().map(Duration::from_millis) else {
            break;
        };
        // A cancel with a grace does not reach the work itself.
        let answered = async {
            messages.send(&"working".to_owned()).await?;
            sleep(work).await;
            messages.send(&"done".to_owned()).await
        };
        if answered.await.is_err() {
            break;
        }
    }
    let _ = messages.close().await;
}

/// Three clients, one idle, one soon done and one that would take an hour, and the end.
async fn demonstrate(address: SocketAddr, server: &CancelHandle) -> Result<(), Error> {
    let mut clients = Vec::new();
    for work in ["0", "200", "3600000"] {
        let stream = TcpStream::connect(address).await?;
        let mut client = MessageStream::new(stream, Lines::lf().text());
        client.send(&work.to_owned()).await?;
        assert_eq!(client.recv().await?.as_deref(), Some("working"));
        clients.push(client);
    }
    assert_eq!(clients[0].recv().await?.as_deref(), Some("done"));

    let start = Instant::now();
    server.shutdown(GRACE);
    let mut answers = Vec::new();
    for client in &mut clients {
        let answer = client.recv().await.ok().flatten();
        println!("after {:?}: {answer:?}", start.elapsed());
        answers.push(answer);
    }
    assert_eq!(answers, [None, Some("done".to_owned()), None]);
    Ok(())
}

async fn wait_for_signal() -> Result<(), Error> {
    let (mut terminate, mut interrupt) = (listen(Signal::Terminate)?, listen(Signal::Interrupt)?);
    select_biased! {
        heard = terminate.recv() => heard?,
        heard = interrupt.recv() => heard?,
    }
    Ok(())
}
