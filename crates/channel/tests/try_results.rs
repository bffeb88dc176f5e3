//! What the operations that never wait say in every state of a channel.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use bowline_channel::{TryRecvError, TrySendError};
use flavors::for_each_flavor;
use task::Task;

for_each_flavor! {
    // CH7
    #[test]
    fn of_an_open_channel_by_fill() {
        let (sender, receiver) = bounded(2);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Ok(()));
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(sender.try_send(4), Ok(()));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(receiver.try_recv(), Ok(4));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }

    // CH7
    #[test]
    fn of_a_closed_channel_with_and_without_values() {
        let (sender, receiver) = bounded(2);
        sender.try_send(1).unwrap();
        sender.close();
        let refused = sender.try_send(2).unwrap_err();
        assert_eq!(refused, TrySendError::Closed(2));
        assert!(refused.is_closed() && !refused.is_full());
        assert_eq!(refused.into_inner(), 2);
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    // CH7
    #[test]
    fn of_a_channel_that_is_full_and_closed() {
        let (sender, receiver) = bounded(1);
        sender.try_send(1).unwrap();
        receiver.close();
        assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
        assert_eq!(receiver.try_recv(), Ok(1));
    }

    // CH7
    #[test]
    fn of_a_channel_whose_other_end_is_gone() {
        let (sender, receiver) = bounded(1);
        drop(receiver);
        assert_eq!(sender.try_send(1), Err(TrySendError::Closed(1)));

        let (sender, receiver) = bounded::<u8>(1);
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    // CH7
    #[test]
    fn of_a_rendezvous_depend_on_a_waiting_peer() {
        let (sender, receiver) = rendezvous();
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));

        let receiving = Task::parked(receiver.recv());
        assert_eq!(sender.try_send(2), Ok(()));
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiving.finish(), Ok(2));

        let sending = Task::parked(sender.send(4));
        assert_eq!(receiver.try_recv(), Ok(4));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(sending.finish(), Ok(()));

        sender.close();
        assert_eq!(sender.try_send(5), Err(TrySendError::Closed(5)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    // CH7
    #[test]
    fn of_a_channel_with_waiting_senders() {
        let (sender, receiver) = bounded(1);
        sender.try_send(1).unwrap();
        let sending = Task::parked(sender.send(2));
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(sending.finish(), Ok(()));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }
}
