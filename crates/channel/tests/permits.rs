//! On a rendezvous channel a slot is reserved for a receiver that really waits.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use bowline_channel::{RecvError, TrySendError, select};
use flavors::for_each_flavor;
use task::Task;

for_each_flavor! {
    /// A select over both channels, parked.
    fn either<'a>(
        one: &'a Receiver<u8>,
        two: &'a Receiver<u8>,
    ) -> Task<'a, Result<u8, RecvError>> {
        Task::parked(async move {
            select! {
                value = one.recv() => value,
                value = two.recv() => value,
            }
        })
    }

    // CH9, CH26
    #[test]
    fn no_slot_is_reserved_for_a_select_that_was_decided_elsewhere() {
        let (sender, receiver) = rendezvous();
        let (other_sender, other) = rendezvous();
        let decided = either(&receiver, &other);
        other_sender.try_send(1).unwrap();
        assert!(matches!(sender.try_reserve(), Err(TrySendError::Full(()))));
        let reserving = Task::parked(sender.reserve());

        let behind = Task::parked(receiver.recv());
        reserving.finish().unwrap().send(2);
        assert_eq!(behind.finish(), Ok(2));
        assert_eq!(decided.finish(), Ok(1));
        assert!(receiver.is_empty());
    }

    // CH9, CH26
    #[test]
    fn a_reservation_that_waits_is_granted_none_for_a_select_decided_elsewhere() {
        let (sender, receiver) = rendezvous();
        let (other_sender, other) = rendezvous();
        let decided = either(&receiver, &other);
        let permit = sender.try_reserve().unwrap();
        let reserving = Task::parked(sender.reserve());
        other_sender.try_send(1).unwrap();
        drop(permit);
        assert!(!reserving.is_woken(), "nobody is there to receive");
        assert_eq!(decided.finish(), Ok(1));
        assert!(!reserving.is_woken());

        let behind = Task::parked(receiver.recv());
        reserving.finish().unwrap().send(2);
        assert_eq!(behind.finish(), Ok(2));
    }

    // CH9, CH26
    #[test]
    fn a_value_does_not_take_the_receiver_that_a_slot_is_reserved_for() {
        let (sender, receiver) = rendezvous();
        let (other_sender, other) = rendezvous();
        let decided = either(&receiver, &other);
        let waiting = Task::parked(receiver.recv());
        let permit = sender.try_reserve().unwrap();
        other_sender.try_send(1).unwrap();
        // Of the two that stand in the queue one is gone, and the other is spoken for.
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        permit.send(2);
        assert_eq!(waiting.finish(), Ok(2));
        assert_eq!(decided.finish(), Ok(1));
    }

    // CH9, CH26
    #[test]
    fn a_select_that_is_not_decided_is_one_to_reserve_for() {
        let (sender, receiver) = rendezvous();
        let (_other_sender, other) = rendezvous();
        let waiting = either(&receiver, &other);
        let permit = sender.try_reserve().unwrap();
        assert!(matches!(sender.try_reserve(), Err(TrySendError::Full(()))));
        permit.send(2);
        assert_eq!(waiting.finish(), Ok(2));
        assert!(sender.try_reserve().is_err());
    }
}
