//! What holds for a pipe and its reader, in whatever portions items come and go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use bytes::Bytes;
use proptest::prelude::*;

use super::bunch::{Buffer, Bunch};
use super::pipe::{BETWEEN_LOOKS, Pipe};
use super::reader::Reader;
use crate::connection::{Mail, Mailbox};
use crate::proto::{CallId, charge};
use crate::{Codec, Limits};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts items in, one by one or several, of any length.
#[derive(Default)]
struct Writer {
    buffer: Buffer,
    next: u32,
    /// What was put in and has not come out.
    under_way: VecDeque<Vec<u8>>,
    put: u64,
}

impl Writer {
    fn put(&mut self, pipe: &Pipe, n: usize) {
        for k in 0..1 + n % 5 {
            let length = if n.is_multiple_of(9) { n * 10 } else { n };
            let mut item = vec![k as u8; length * k % 2500];
            item.extend(self.next.to_be_bytes());
            self.next += 1;
            self.put += charge(item.len());
            if let Some(item) = self.buffer.push(Bytes::from(item.clone())) {
                self.flush(pipe);
                pipe.put(Bunch::One(item)).expect("it is open");
            } else if n.is_multiple_of(2) {
                self.flush(pipe);
            }
            self.under_way.push_back(item);
        }
        self.flush(pipe);
    }

    fn flush(&mut self, pipe: &Pipe) {
        if let Some(items) = self.buffer.take() {
            pipe.put(items).expect("it is open");
        }
    }

    /// Takes one; its charge.
    fn take(&mut self, reader: &mut Reader) -> Option<u64> {
        let item = reader.try_item(&mut |item| item.as_slice().to_vec())?;
        let item = item.expect("it has no end");
        assert_eq!(self.under_way.pop_front().as_ref(), Some(&item), "in order");
        Some(charge(item.len()))
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, u16)>> {
    proptest::collection::vec((0u8..8, 0u16..300), 1..120)
}

proptest! {
    // R17: what the application took is told, in time and in full, and nothing else is.
    #[test]
    fn a_driver_hears_of_what_was_taken(steps in steps(), half in 1u64..6000, gone in 0u8..3) {
        let mailbox = Arc::new(Mailbox::new(&Limits::default()));
        let pipe = Pipe::new(u64::MAX);
        let call = CallId::CONNECTION;
        pipe.written_by(&mailbox, call, half);
        let mut reader = Reader::new(pipe.clone());
        let mut writer = Writer::default();
        let (mut taken, mut heard, mut until) = (0, 0, half);
        let mut told = false;
        for (what, n) in steps {
            match what {
                0..=2 => writer.put(&pipe, n.into()),
                3..=5 => {
                    for _ in 0..n {
                        taken += writer.take(&mut reader).unwrap_or(0);
                    }
                }
                _ => {
                    let mut mail = Vec::new();
                    mailbox.collect(&mut mail);
                    prop_assert!(mail.len() <= 1, "once until it looks");
                    prop_assert!(mail.iter().all(|mail| matches!(mail, Mail::LookAt(_))));
                    if mail.is_empty() && n.is_multiple_of(2) {
                        continue;
                    }
                    loop {
                        heard += pipe.taken();
                        // It grants halves of a window.
                        until = half - heard % half;
                        if pipe.tell_at(until) {
                            break;
                        }
                    }
                    told = false;
                }
            }
            let mut mail = Vec::new();
            mailbox.collect(&mut mail);
            if !mail.is_empty() {
                told = true;
                mailbox.look_at(call);
            }
            prop_assert!(heard <= taken, "nothing that was not taken");
            prop_assert!(told || taken - heard < until + BETWEEN_LOOKS, "{taken} {heard} {until}");
        }
        match gone {
            // Whoever wants more has taken what it had.
            0 => while writer.take(&mut reader).is_some() {},
            // Whoever wants none has taken all.
            1 => pipe.discard(),
            _ => pipe.close(),
        }
        heard += pipe.taken();
        prop_assert_eq!(heard, writer.put);
        if gone == 1 {
            writer.put(&pipe, 5);
            prop_assert_eq!(heard + pipe.taken(), writer.put);
        }
        drop(reader);
    }

    // R17
    #[test]
    fn a_writer_waits_while_there_is_no_room_and_no_longer(steps in steps(), room in 64u64..8000) {
        let pipe = Pipe::new(room);
        let mut reader = Reader::new(pipe.clone());
        let mut writer = Writer::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let (mut taken, mut waits) = (0, false);
        for (what, n) in steps {
            match what {
                0..=3 if waits => {}
                0..=3 => match pipe.poll_room(&mut cx) {
                    std::task::Poll::Ready(left) => {
                        prop_assert!(left.expect("it is open") <= room - (writer.put - taken));
                        writer.put(&pipe, n.into());
                    }
                    std::task::Poll::Pending => {
                        prop_assert!(writer.put - taken + room / 2 >= room);
                        waits = true;
                    }
                },
                _ => for _ in 0..n % 40 {
                    taken += writer.take(&mut reader).unwrap_or(0);
                    waits &= !woken.0.swap(false, Ordering::Relaxed);
                    prop_assert!(!waits || writer.put - taken >= room / 2);
                },
            }
        }
        while writer.take(&mut reader).is_some() {}
        prop_assert!(!waits || woken.0.load(Ordering::Relaxed));
        prop_assert!(matches!(pipe.room(), Some(Ok(left)) if left == room));
    }

    // R18: what is encoded behind each other is what is encoded alone, long or short.
    #[test]
    fn what_is_buffered_is_what_was_encoded(lengths in proptest::collection::vec(0usize..3000, 1..40)) {
        for codec in [Codec::Postcard, Codec::MessagePack, Codec::Json] {
            let pipe = Pipe::new(u64::MAX);
            let mut reader = Reader::new(pipe.clone());
            let mut sender = super::RawSender::new(pipe.clone(), 2500);
            let mut expected = VecDeque::new();
            for length in &lengths {
                let value = "x".repeat(*length);
                let alone = codec.encode(&value).unwrap();
                let sent = sender.encode(codec, &value).unwrap();
                prop_assert_eq!(sent.is_ok(), alone.len() <= 2500);
                if let Ok(cost) = sent {
                    prop_assert_eq!(cost, charge(alone.len()));
                    expected.push_back(alone);
                }
            }
            sender.flush().unwrap();
            while let Some(item) = reader.try_item(&mut |item| Bytes::copy_from_slice(item.as_slice())) {
                prop_assert_eq!(Some(item.unwrap()), expected.pop_front());
            }
            prop_assert!(expected.is_empty());
        }
    }
}
