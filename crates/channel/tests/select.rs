//! Of the arms of a select exactly one takes effect.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::future;
use std::task::Poll;

use bowline_channel::{
    RecvError, Select, Selected, SendError, TryRecvError, TrySendError, never, select,
    select_biased, select_blocking,
};
use flavors::for_each_flavor;
use futures_lite::future::block_on;
use task::Task;

for_each_flavor! {
    // CH24
    #[test]
    fn of_two_ready_receives_one_is_taken_and_the_other_left() {
        for _ in 0..50 {
            let (one, first) = bounded(1);
            let (two, second) = bounded(1);
            one.try_send(1).unwrap();
            two.try_send(2).unwrap();
            let (taken, left) = block_on(async {
                select! {
                    value = first.recv() => (value, second.try_recv()),
                    value = second.recv() => (value, first.try_recv()),
                }
            });
            assert_eq!(taken.unwrap() + left.unwrap(), 3);
            assert_eq!(first.len() + second.len(), 0);
        }
    }

    // CH25
    #[test]
    fn of_two_ready_sends_one_is_sent_and_the_other_given_back() {
        let (mut first_won, mut second_won) = (0, 0);
        let (one, first) = bounded(1);
        let (two, second) = bounded(1);
        for _ in 0..64 {
            let (a, b) = (String::from("a"), String::from("b"));
            block_on(async {
                select! {
                    sent = one.send(a) => {
                        sent.unwrap();
                        first_won += 1;
                        assert_eq!(b, "b");
                        assert_eq!(first.try_recv().unwrap(), "a");
                    }
                    sent = two.send(b) => {
                        sent.unwrap();
                        second_won += 1;
                        assert_eq!(a, "a");
                        assert_eq!(second.try_recv().unwrap(), "b");
                    }
                }
            });
            assert!(first.is_empty() && second.is_empty());
        }
        assert!(first_won > 10 && second_won > 10, "{first_won} {second_won}");
    }

    // CH25
    #[test]
    fn the_value_of_a_parked_send_that_loses_is_given_back() {
        let (full, _keeps) = rendezvous::<String>();
        let (quit, quitting) = rendezvous::<()>();
        let job = String::from("job");
        let waiting = Task::parked(async {
            select! {
                sent = full.send(job) => panic!("sent: {sent:?}"),
                _ = quitting.recv() => job,
            }
        });
        assert_eq!(full.statistics().waiting_senders, 1);
        quit.try_send(()).unwrap();
        assert_eq!(waiting.finish(), "job");
        assert_eq!(full.statistics().waiting_senders, 0);
    }

    // CH26
    #[test]
    fn two_selects_meet_on_one_rendezvous_channel() {
        let (sender, receiver) = rendezvous();
        let (_other_sender, other) = rendezvous::<u8>();
        for receiver_first in [true, false] {
            let receive = || {
                Task::new(async {
                    select! {
                        value = receiver.recv() => value,
                        value = other.recv() => value,
                    }
                })
            };
            let send = || {
                Task::new(async {
                    select! {
                        sent = sender.send(7) => sent.is_ok(),
                        _ = other.recv() => false,
                    }
                })
            };
            if receiver_first {
                let mut receiving = receive();
                assert!(receiving.poll().is_pending());
                assert_eq!(send().poll(), Poll::Ready(true));
                assert_eq!(receiving.finish(), Ok(7));
            } else {
                let mut sending = send();
                assert!(sending.poll().is_pending());
                assert_eq!(receive().poll(), Poll::Ready(Ok(7)));
                assert!(sending.finish());
            }
            assert_eq!(receiver.statistics().waiting_receivers, 0);
            assert_eq!(other.statistics().waiting_receivers, 0);
        }
    }

    // CH29
    #[test]
    fn the_default_wins_only_if_nothing_is_ready() {
        let (sender, receiver) = bounded(1);
        let job = 5;
        let look = || {
            block_on(async {
                select! {
                    value = receiver.recv() => value.ok(),
                    default => None,
                }
            })
        };
        assert_eq!(look(), None);
        sender.try_send(1).unwrap();
        assert_eq!(look(), Some(1));
        sender.try_send(2).unwrap();
        let kept = select_blocking! {
            sent = sender.send(job) => panic!("{sent:?}"),
            default => job,
        };
        assert_eq!(kept, 5);
        assert_eq!(sender.statistics().waiting_senders, 0);
    }

    // CH30
    #[test]
    fn a_closed_channel_makes_its_arm_ready_with_the_error() {
        let (sender, receiver) = bounded::<u8>(1);
        let (idle, idling) = rendezvous::<u8>();
        sender.close();
        let picked = block_on(async {
            select! {
                value = receiver.recv() => value,
                value = idling.recv() => value,
            }
        });
        assert_eq!(picked, Err(RecvError));
        let picked = block_on(async {
            select! {
                sent = sender.send(1) => sent,
                sent = idle.send(2) => sent,
            }
        });
        assert_eq!(picked, Err(SendError(1)));
    }

    // CH16, CH30
    #[test]
    fn a_close_decides_a_select_that_waits() {
        let (sender, receiver) = rendezvous::<u8>();
        let (idle, idling) = rendezvous::<u8>();
        let waiting = Task::parked(async {
            select! {
                value = receiver.recv() => value.map(|_| ()).map_err(|_| 0),
                sent = idle.send(2) => sent.map_err(SendError::into_inner),
            }
        });
        idling.close();
        sender.close();
        assert_eq!(waiting.finish(), Err(2), "the first close decides");
    }

    // CH31
    #[test]
    fn a_select_that_is_dropped_had_no_effect() {
        let (sender, receiver) = rendezvous();
        let (other, others) = rendezvous();
        let waiting = Task::parked(async {
            select! {
                value = receiver.recv() => value,
                sent = other.send(2) => sent.map(|()| 0).map_err(|_| RecvError),
            }
        });
        drop(waiting);
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
        assert_eq!(others.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.statistics().waiting_receivers, 0);
        assert_eq!(other.statistics().waiting_senders, 0);
    }

    // CH31
    #[test]
    fn a_select_dropped_after_it_was_granted_a_value_passes_it_on() {
        let (sender, receiver) = bounded(1);
        let (_other, others) = bounded::<u8>(1);
        let selecting = Task::parked(async {
            select! {
                value = receiver.recv() => value,
                value = others.recv() => value,
            }
        });
        let waiting = Task::parked(receiver.recv());
        sender.try_send(1).unwrap();
        assert!(selecting.is_woken() && !waiting.is_woken());
        drop(selecting);
        assert_eq!(waiting.finish(), Ok(1));
    }

    // CH33
    #[test]
    fn send_and_receive_of_one_channel_in_one_select_do_not_match() {
        for first in [true, false] {
            let (sender, receiver) = rendezvous();
            let mut waiting = Task::parked(async {
                select! {
                    value = receiver.recv() => value.unwrap(),
                    sent = sender.send(1) => sent.map(|()| 10).unwrap(),
                }
            });
            assert!(waiting.poll().is_pending());
            assert!(!waiting.is_woken());
            if first {
                assert_eq!(receiver.try_recv(), Ok(1));
                assert_eq!(waiting.finish(), 10);
            } else {
                sender.try_send(5).unwrap();
                assert_eq!(waiting.finish(), 5);
            }
            assert_eq!(receiver.statistics().waiting_receivers, 0);
            assert_eq!(sender.statistics().waiting_senders, 0);
        }
    }

    // CH33
    #[test]
    fn two_selects_with_both_ends_of_one_channel_match_each_other() {
        let (sender, receiver) = rendezvous();
        let both = |own: u8| {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            async move {
                select! {
                    value = receiver.recv() => value.unwrap(),
                    sent = sender.send(own) => sent.map(|()| 0).unwrap(),
                }
            }
        };
        let one = Task::parked(both(1));
        let Poll::Ready(second) = Task::new(both(2)).poll() else {
            panic!("the other select waits");
        };
        let first = one.finish();
        assert!((first, second) == (2, 0) || (first, second) == (0, 1));
    }

    #[test]
    fn arms_can_be_disabled_and_biased_and_be_any_future() {
        let (one, first) = unbounded();
        let (two, second) = unbounded();
        for n in 0..20 {
            one.try_send(n).unwrap();
            two.try_send(n + 100).unwrap();
        }
        for n in 0..20 {
            let picked = block_on(async {
                select_biased! {
                    if n % 2 == 1, value = first.recv() => value,
                    value = second.recv() => value,
                }
            });
            assert_eq!(picked.unwrap() < 100, n % 2 == 1);
        }
        let nothing = never::<u8>();
        let picked = block_on(async {
            select_biased! {
                value = nothing.recv() => u32::from(value.unwrap()),
                ready = future::ready(3) => ready,
            }
        });
        assert_eq!(picked, 3);
    }

    #[test]
    fn a_future_that_does_not_win_can_be_kept() {
        block_on(async {
            let (sender, receiver) = unbounded();
            let mut polls = 0;
            let mut slow = future::poll_fn(|context| {
                polls += 1;
                context.waker().wake_by_ref();
                if polls < 4 { Poll::Pending } else { Poll::Ready(polls) }
            });
            sender.try_send('a').unwrap();
            sender.try_send('b').unwrap();
            let mut seen = String::new();
            let polls = loop {
                select_biased! {
                    polls = &mut slow => break polls,
                    value = receiver.recv() => seen.push(value.unwrap()),
                }
            };
            assert_eq!((polls, seen.as_str()), (4, "ab"));
        });
    }

    #[test]
    fn a_send_beside_a_future_is_sent_once_or_given_back() {
        let (sender, receiver) = rendezvous();
        let job = 9;
        let mut waiting = Task::parked(async {
            let mut polls = 0;
            let third = future::poll_fn(move |_| {
                polls += 1;
                if polls < 3 { Poll::Pending } else { Poll::Ready(()) }
            });
            select! {
                sent = sender.send(job) => Err(sent),
                () = third => Ok(job),
            }
        });
        assert!(waiting.poll().is_pending());
        assert_eq!(waiting.poll(), Poll::Ready(Ok(9)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }

    #[test]
    fn bodies_may_use_the_channels_and_leave_the_function() {
        fn leave() -> Result<u8, RecvError> {
            block_on(async {
                let (sender, receiver) = bounded(1);
                let nothing = never::<u8>();
                for n in 0.. {
                    let value = n;
                    select! {
                        sent = sender.send(value) => {
                            sent.unwrap();
                            if n == 2 {
                                drop(receiver);
                                return Ok(n);
                            }
                            receiver.recv().await?;
                            continue;
                        }
                        _ = nothing.recv() => {
                            value += 1;
                            return Ok(value);
                        }
                    }
                }
                Ok(0)
            })
        }
        assert_eq!(leave(), Ok(2));
    }

    // CH32
    #[test]
    fn a_thousand_arms_are_woken_once_and_leave_nothing_behind() {
        let channels: Vec<_> = (0..1_000).map(|_| rendezvous::<usize>()).collect();
        let mut set = Select::new();
        for (_, receiver) in &channels {
            set.add_recv(receiver);
        }
        for round in 0..3 {
            let waiting = Task::parked(set.ready());
            let queued = |(_, receiver): &&(_, Receiver<usize>)| {
                receiver.statistics().waiting_receivers == 1
            };
            assert_eq!(channels.iter().filter(queued).count(), 1_000);
            channels[round * 400].0.try_send(round).unwrap();
            assert_eq!(
                channels[5].0.try_send(99),
                Err(TrySendError::Full(99)),
                "the select is decided"
            );
            assert_eq!(
                waiting.finish(),
                Selected::Received(round * 400, Ok(round))
            );
            assert_eq!(channels.iter().filter(queued).count(), 0);
        }
    }

    // CH25, CH32
    #[test]
    fn a_dynamic_select_keeps_what_was_not_sent() {
        let (one, first) = rendezvous();
        let (two, _second) = rendezvous();
        let mut set = Select::new().send(&one, "a").send(&two, "b");
        assert_eq!(set.try_ready(), None);
        let waiting = Task::parked(set.ready());
        assert_eq!(first.try_recv(), Ok("a"));
        assert_eq!(waiting.finish(), Selected::Sent(0, Ok(())));
        assert_eq!((set.remove(0), set.remove(1)), (None, Some("b")));
        assert!(set.is_empty());
    }

    // CH31
    #[test]
    fn a_dynamic_select_that_is_dropped_keeps_its_values() {
        let (one, first) = rendezvous();
        let mut set = Select::new().send(&one, "a").recv(&first);
        drop(Task::parked(set.ready()));
        assert_eq!(one.statistics().waiting_senders, 0);
        assert_eq!(set.remove(0), Some("a"));
    }

    // CH28
    #[test]
    fn ready_arms_are_chosen_uniformly() {
        const ROUNDS: u32 = 100_000;
        let channels: [_; 4] = std::array::from_fn(|_| unbounded());
        for (sender, _) in &channels {
            sender.try_send(()).unwrap();
        }
        let mut counts = [0_u32; 4];
        for _ in 0..ROUNDS {
            let arm = select_blocking! {
                _ = channels[0].1.recv() => 0,
                _ = channels[1].1.recv() => 1,
                _ = channels[2].1.recv() => 2,
                _ = channels[3].1.recv() => 3,
            };
            counts[arm] += 1;
            channels[arm].0.try_send(()).unwrap();
        }
        let expected = f64::from(ROUNDS) / 4.0;
        let chi_square: f64 = counts
            .iter()
            .map(|count| (f64::from(*count) - expected).powi(2) / expected)
            .sum();
        // 3 degrees of freedom: above 16.27 one time in 1000. The draws are fixed.
        assert!(chi_square < 16.27, "{counts:?} {chi_square}");
    }

    // CH28
    #[test]
    fn two_of_four_arms_that_are_ready_are_chosen_alike() {
        let channels: [_; 4] = std::array::from_fn(|_| unbounded());
        channels[0].0.try_send(()).unwrap();
        channels[1].0.try_send(()).unwrap();
        let mut counts = [0_i32; 2];
        for _ in 0..10_000 {
            let arm = select_blocking! {
                _ = channels[0].1.recv() => 0,
                _ = channels[1].1.recv() => 1,
                _ = channels[2].1.recv() => 2,
                _ = channels[3].1.recv() => 3,
            };
            counts[arm] += 1;
            channels[arm].0.try_send(()).unwrap();
        }
        assert!((counts[0] - counts[1]).abs() < 400, "{counts:?}");
    }

    // CH25
    #[test]
    fn constants_and_one_variable_in_several_sends() {
        const LIMIT: u8 = 7;
        let (numbers, _received) = rendezvous();
        let (flags, _flagged) = rendezvous();
        let (maybe, _perhaps) = rendezvous::<Option<u8>>();
        let number = 3;
        let kept = block_on(async {
            select! {
                sent = numbers.send(number) => panic!("{sent:?}"),
                sent = numbers.send(number) => panic!("{sent:?}"),
                sent = numbers.send({ LIMIT }) => panic!("{sent:?}"),
                sent = flags.send(true) => panic!("{sent:?}"),
                sent = maybe.send(None) => panic!("{sent:?}"),
                number = std::future::ready(4) => number,
            }
        });
        assert_eq!(kept, 4, "a pattern goes before a variable that is given back");
        let kept = select_blocking! {
            sent = numbers.send(number) => panic!("{sent:?}"),
            sent = numbers.send(number) => panic!("{sent:?}"),
            default => number,
        };
        assert_eq!(kept, 3);
    }
}
