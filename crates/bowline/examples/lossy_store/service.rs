use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bowline::backend::net::{Family, Query, UdpSocket, resolve};
use bowline::concurrency::timeout;
use bowline::sim::{always, sometimes};
use bytes::BytesMut;

const MOST: NonZeroUsize = NonZeroUsize::new(512).unwrap();
const PATIENCE: Duration = Duration::from_millis(100);

/// Keeps a number under each key. `ID KEY AMOUNT` adds to one, `ID SUM` is the answer.
pub async fn serve(port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], port)))?;
    let mut sums = BTreeMap::new();
    let mut request = BytesMut::new();
    loop {
        request.clear();
        let received = socket.recv_from(&mut request, MOST).await?;
        let (Some((id, key, amount)), Some(client)) = (parse(&request), received.from) else {
            continue;
        };
        let sum = sums.entry(key).or_insert(0);
        *sum += amount;
        socket
            .send_to(format!("{id} {sum}").as_bytes(), &client)
            .await?;
    }
}

fn parse(request: &[u8]) -> Option<(u64, String, i64)> {
    let mut words = std::str::from_utf8(request).ok()?.split(' ');
    let id = words.next()?.parse().ok()?;
    let (key, amount) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    Some((id, key, amount))
}

/// Asks again until there is an answer: datagrams get lost.
pub struct Client {
    socket: UdpSocket,
    last_id: u64,
}

impl Client {
    pub async fn connect(host: &str, port: u16) -> io::Result<Client> {
        let address = resolve(Query::host(host, port).family(Family::V4)).await?[0];
        let socket = UdpSocket::connect(address)?;
        Ok(Client { socket, last_id: 0 })
    }

    pub async fn add(&mut self, key: &str, amount: i64) -> io::Result<i64> {
        self.last_id += 1;
        let request = format!("{} {key} {amount}", self.last_id);
        loop {
            self.socket.send(request.as_bytes()).await?;
            let answer = timeout(PATIENCE, self.answer()).await;
            sometimes!("asked again", answer.is_err());
            if let Ok(sum) = answer {
                return sum;
            }
        }
    }

    async fn answer(&self) -> io::Result<i64> {
        let mut answer = BytesMut::new();
        loop {
            answer.clear();
            self.socket.recv_from(&mut answer, MOST).await?;
            let text = String::from_utf8_lossy(&answer);
            let (id, sum) = text.split_once(' ').unwrap_or_default();
            if id.parse() == Ok(self.last_id) {
                return sum.parse().map_err(io::Error::other);
            }
        }
    }
}

/// A client of the test: each of its adds must count once.
pub async fn teller() -> io::Result<()> {
    let mut client = Client::connect("store", 4000).await?;
    for adds in 1..=5 {
        let sum = client.add("visits", 1).await?;
        always!("counts once", sum == adds, "{sum} after {adds} adds");
    }
    Ok(())
}

/// As `serve`, but what is asked again is answered again and not added again.
pub async fn serve_each_once(port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], port)))?;
    let mut sums = BTreeMap::new();
    let mut answers: BTreeMap<Option<SocketAddr>, (u64, String)> = BTreeMap::new();
    let mut request = BytesMut::new();
    loop {
        request.clear();
        let received = socket.recv_from(&mut request, MOST).await?;
        let (Some((id, key, amount)), Some(client)) = (parse(&request), received.from) else {
            continue;
        };
        // The last request of a client and what it was answered: it has one at a time.
        let (last, answer) = answers.entry(client.as_inet()).or_default();
        if id < *last {
            continue; // overtaken by what the client asked after it had an answer
        }
        if id > *last {
            let sum = sums.entry(key).or_insert(0);
            *sum += amount;
            (*last, *answer) = (id, format!("{id} {sum}"));
        }
        socket.send_to(answer.as_bytes(), &client).await?;
    }
}
