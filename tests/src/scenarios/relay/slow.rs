//! A caller that speaks the protocol by hand, asks for much, and takes a little at a time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bowline::backend::entropy;
use bowline::backend::net::{Family, Query, TcpStream, resolve};
use bowline::backend::stream::ByteStreamExt;
use bowline::backend::time::now;
use bowline::codec::OutputBatch;
use bowline::concurrency::{sleep, timeout};
use bowline::rpc::proto::{
    BrokenKind, CallId, CodecId, Command, Config, Event, Machine, Open, Side, StreamEnd, Target,
};
use bowline::rpc::{CallError, Certainty, Limits};
use bowline::sim::{Sim, always, sometimes};
use bytes::BytesMut;

use super::{BULK, KEY_ID, Log, PROJECT, patience, secret};

/// Answers it wants, and the calls it has under way.
const ANSWERS: u64 = 3;
const AT_ONCE: usize = 2;
/// What it takes, and then does something else for a while: faults may leave buffers of one byte, so
/// it is not done after every read.
const SIP: usize = 512;
const MOST: NonZeroUsize = NonZeroUsize::new(SIP).unwrap();
const PAUSE: Duration = Duration::from_millis(20);
/// More than the faults hold up a connection that is worth keeping.
const GIVE_UP: Duration = Duration::from_secs(20);

/// Numbers of its calls, above those of the others.
const FIRST: u64 = 1_000_000;

struct Reader {
    next: u64,
    answered: u64,
    failures: u32,
    under_way: Vec<(CallId, u64)>,
}

pub(super) async fn reads_slowly() {
    let mut reader = Reader {
        next: FIRST,
        answered: 0,
        failures: 0,
        under_way: Vec::new(),
    };
    while reader.answered < ANSWERS {
        let query = Query::host("router", 15383).family(Family::V4);
        if let Ok(Ok(found)) = timeout(GIVE_UP, resolve(query)).await
            && let Ok(Ok(stream)) = timeout(GIVE_UP, TcpStream::connect(found[0])).await
        {
            reader.converse(stream).await;
        }
        always!("no-call-is-left", reader.under_way.is_empty());
        sleep(Duration::from_millis(100)).await;
    }
}

impl Reader {
    /// One connection, to its end or the last answer.
    async fn converse(&mut self, mut stream: TcpStream) {
        let (mut instance, mut seed) = ([0; 16], [0; 32]);
        entropy::fill(&mut instance);
        entropy::fill(&mut seed);
        // Less than an answer: the rest comes once it is asked for.
        let mut limits = Limits::default();
        limits.call_window = 4096;
        let config = Config::new(PROJECT, instance)
            .secret(KEY_ID, secret())
            .limits(limits);
        let mut machine = Machine::new(Arc::new(config), Side::Dialer, now(), seed);
        let mut input = BytesMut::new();
        let (mut sips, mut taken) = (0, 0);
        loop {
            while let Some(event) = machine.poll_event() {
                self.take(event, sips);
            }
            if machine.is_finished() || self.answered >= ANSWERS {
                break;
            }
            while machine.is_ready() && self.under_way.len() < AT_ONCE {
                self.call(&mut machine);
            }
            let mut batch = OutputBatch::new();
            while machine.poll_transmit(now(), &mut batch, usize::MAX) {}
            machine.on_transmitted(batch.len());
            let bytes: Vec<u8> = batch.slices().flatten().copied().collect();
            if !matches!(timeout(GIVE_UP, stream.write_all(&bytes)).await, Ok(Ok(()))) {
                machine.handle_end(now(), StreamEnd::Broken(BrokenKind::Stalled));
                continue;
            }
            match timeout(PAUSE, stream.read_into(&mut input, MOST)).await {
                Ok(Ok(bytes @ 1..)) => {
                    taken += bytes;
                    let kept = machine.handle_bytes(now(), &mut input);
                    always!("the-router-keeps-the-rules", kept.is_ok(), "{kept:?}");
                    if taken >= SIP {
                        (sips, taken) = (sips + 1, 0);
                        sleep(PAUSE).await;
                    }
                }
                Ok(Ok(0)) => machine.handle_end(now(), StreamEnd::Ended),
                Ok(Err(error)) => {
                    let kind = BrokenKind::Io(error.kind());
                    machine.handle_end(now(), StreamEnd::Broken(kind));
                }
                Err(_) => {}
            }
            machine.handle_timeout(now());
        }
        // What it no longer waits for has no outcome, as with a caller that is dropped.
        for (_, number) in self.under_way.drain(..) {
            Sim::note("outcome", number);
        }
    }

    fn call(&mut self, machine: &mut Machine) {
        let number = self.next;
        self.next += 1;
        let target = Target::Name("bulk".into());
        let open = Open::new(target, CodecId::JSON, format!("[{number}]").into());
        let open = open.deadline(now() + 4 * patience(self.failures));
        Sim::note("call", number);
        let call = machine.command(now(), Command::Open(open));
        self.under_way.push((call.expect("there is room"), number));
    }

    fn take(&mut self, event: Event, sips: u32) {
        let (call, outcome) = match event {
            Event::Replied { call, body } => (call, Ok(body)),
            Event::Failed { call, error } => (call, Err(error)),
            _ => return,
        };
        let place = self.under_way.iter().position(|(known, _)| *known == call);
        always!("one-outcome", place.is_some(), "{call:?} {outcome:?}");
        let Some(place) = place else { return };
        let (_, number) = self.under_way.remove(place);
        Sim::note("outcome", number);
        let told: Result<(), CallError> = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        Sim::ghost(|log: &mut Log| log.bulk.check(number, &told));
        match outcome {
            Ok(body) => {
                let whole = body.len() == BULK + number.to_string().len() + 3;
                let own = body.starts_with(format!("\"{number} ").as_bytes());
                always!("answer-is-its-own", whole && own, "call {number}");
                sometimes!("read slowly", sips > 10);
                self.answered += 1;
            }
            Err(error) => {
                let ran = error.certainty() == Certainty::Executed;
                always!("bulk-does-not-fail", !ran, "{error}");
                self.failures += 1;
            }
        }
    }
}
