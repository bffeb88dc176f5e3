//! A receiver as a stream, a sender as a sink.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bowline_channel::{SendError, SendSink, TryRecvError, TrySendError};
use flavors::for_each_flavor;
use futures_lite::StreamExt;
use futures_lite::future::block_on;
use futures_sink::Sink;
use task::Task;

for_each_flavor! {
    // CH12
    #[test]
    fn a_stream_ends_when_the_channel_is_closed_and_drained() {
        let (sender, receiver) = bounded(3);
        for n in 0..3 {
            sender.try_send(n).unwrap();
        }
        drop(sender);
        assert_eq!(block_on(receiver.collect::<Vec<_>>()), [0, 1, 2]);
    }

    #[test]
    fn a_waiting_stream_is_woken_by_a_value_and_by_the_close() {
        for capacity in [0, 1] {
            let (sender, mut receiver) = bounded(capacity);
            let waiting = Task::parked(receiver.next());
            sender.try_send(1).unwrap();
            assert_eq!(waiting.finish(), Some(1));
            let waiting = Task::parked(receiver.next());
            sender.close();
            assert_eq!(waiting.finish(), None);
        }
    }

    #[test]
    fn a_stream_that_nobody_polls_any_more_withholds_no_value() {
        for capacity in [0, 1, 2] {
            let (sender, mut abandoned) = bounded(capacity);
            let receiver = abandoned.clone();
            drop(Task::parked(abandoned.next()));

            let waiting = Task::parked(receiver.recv());
            sender.try_send(1).unwrap();
            assert_eq!(waiting.finish(), Ok(1));

            drop(Task::parked(abandoned.next()));
            sender.try_send(2).unwrap();
            assert_eq!(abandoned.try_recv(), Ok(2));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
    }

    #[test]
    fn a_stream_that_found_its_value_gone_waits_again() {
        let (sender, mut stream) = bounded(1);
        let receiver = stream.clone();
        let mut next = pin!(stream.next());
        let mut waiting = Task::parked(next.as_mut());
        sender.try_send(1).unwrap();
        assert!(waiting.is_woken());
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(waiting.poll(), Poll::Pending);
        sender.try_send(2).unwrap();
        assert_eq!(waiting.finish(), Some(2));
    }

    // CH12
    #[test]
    fn a_sink_has_its_slot_before_it_takes_a_value() {
        let (sender, receiver) = bounded(1);
        let mut sink = sender.clone().into_sink();
        let ready = |sink: &mut SendSink<_, _>| {
            let mut context = Context::from_waker(Waker::noop());
            Pin::new(sink).poll_ready(&mut context)
        };
        assert_eq!(ready(&mut sink), Poll::Ready(Ok(())));
        assert_eq!(ready(&mut sink), Poll::Ready(Ok(())));
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
        Pin::new(&mut sink).start_send(1).unwrap();
        assert_eq!(ready(&mut sink), Poll::Pending);
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(ready(&mut sink), Poll::Ready(Ok(())));
        drop(sink);
        assert_eq!(sender.try_send(2), Ok(()), "the slot went back");
        assert_eq!(sender.sender_count(), 1);
    }

    // CH12
    #[test]
    fn closing_a_sink_gives_up_its_sender() {
        let (sender, receiver) = bounded(2);
        let mut sink = sender.into_sink();
        let sent = block_on(async {
            std::future::poll_fn(|context| Pin::new(&mut sink).poll_ready(context)).await?;
            Pin::new(&mut sink).start_send(1)?;
            std::future::poll_fn(|context| Pin::new(&mut sink).poll_flush(context)).await?;
            std::future::poll_fn(|context| Pin::new(&mut sink).poll_ready(context)).await?;
            std::future::poll_fn(|context| Pin::new(&mut sink).poll_close(context)).await
        });
        assert_eq!(sent, Ok(()));
        assert!(receiver.is_closed());
        assert_eq!(Pin::new(&mut sink).start_send(2), Err(SendError(())));
        assert_eq!(block_on(receiver.collect::<Vec<_>>()), [1]);
    }

    // CH12
    #[test]
    fn a_sink_into_a_closed_channel_says_so() {
        let (sender, receiver) = bounded::<u8>(1);
        let mut sink = sender.into_sink();
        receiver.close();
        let mut context = Context::from_waker(Waker::noop());
        let ready = Pin::new(&mut sink).poll_ready(&mut context);
        assert_eq!(ready, Poll::Ready(Err(SendError(()))));
    }
}
