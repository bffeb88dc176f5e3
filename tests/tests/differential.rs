//! The differential run of scripts: kernel and worlds show the same.

#![cfg(target_os = "linux")]

use bowline_tests::differential::Op::{
    Abort, Accept, Addresses, Bind, Close, Connect, Drain, Flood, Hush, Listen, ListenAt, Names,
    PairUp, Point, PointFrom, Read, Recv, Send, SendTo, Shutdown, Unlink, Unlisten, Write,
};
use bowline_tests::differential::Place::{Name, Path, Tcp, Udp};
use bowline_tests::differential::Step::{One, Two};
use bowline_tests::differential::With::{Buffers, NoReuse, Plain, Short, Slow};
use bowline_tests::differential::{Beside, Op, Script, SeedsError, check, check_seeds};

// SIM88
#[test]
fn random_scripts_do_the_same_on_the_kernel_and_in_worlds() {
    match check_seeds(0..100) {
        Ok(tally) => println!("{tally}"),
        Err(error) => panic!("{error}"),
    }
}

// SIM88
#[test]
fn a_row_without_a_seed_is_no_success() {
    for seeds in [0..0, u64::MAX..u64::MAX] {
        let error = check_seeds(seeds.clone()).unwrap_err();
        let SeedsError::Empty(asked) = &error else {
            panic!("{error}");
        };
        assert_eq!(*asked, seeds);
        assert!(error.to_string().contains("is empty"), "{error}");
    }
}

fn agree(script: Script) {
    if let Err(divergence) = check(&script) {
        panic!("{divergence}");
    }
}

/// A script without races.
fn in_turn(operations: &[Op]) -> Script {
    Script(operations.iter().copied().map(One).collect())
}

// What once was not the same, each a row that is run.

// SIM88
#[test]
fn streams_and_datagrams_have_abstract_names_of_their_own() {
    agree(in_turn(&[
        Bind(0, Name(0), Plain),
        Connect(0, Name(0), Plain),
        Listen(1, Name(0), Plain),
        Listen(0, Name(0), Plain),
        Connect(0, Name(0), Plain),
        Point(1, Name(0)),
        Hush(0),
        Point(2, Name(0)),
    ]));
}

// SIM88
#[test]
fn what_goes_to_a_loopback_address_comes_from_the_first_one() {
    agree(in_turn(&[
        Listen(0, Tcp(0), Plain),
        Connect(0, Tcp(0), Plain),
        Accept(0, 1),
        Addresses(0),
        Addresses(1),
        Bind(0, Udp(0), Plain),
        Point(1, Udp(0)),
        Names(1),
        Send(1, 5),
        Recv(0, 100),
    ]));
}

// SIM88
#[test]
fn the_peer_of_what_has_ended_is_forgotten() {
    agree(in_turn(&[
        Listen(0, Tcp(0), Plain),
        Connect(0, Tcp(0), Plain),
        Accept(0, 1),
        Shutdown(1),
        Addresses(0),
        Addresses(1),
        Shutdown(0),
        Addresses(0),
        Addresses(1),
        Connect(2, Tcp(0), Plain),
        Unlisten(0),
        Addresses(2),
    ]));
}

// SIM88
#[test]
fn who_looks_whether_a_path_is_stale_is_noticed_by_nobody() {
    agree(in_turn(&[
        Listen(0, Path(1), Plain),
        Listen(1, Path(1), Slow),
        Bind(0, Path(1), Slow),
        Connect(1, Path(1), Plain),
        Accept(0, 2),
        Write(1, 1),
        Read(2, 1),
        Unlisten(0),
        Bind(0, Path(1), Slow),
        Listen(0, Path(1), Slow),
        Bind(1, Path(1), Slow),
        SendTo(1, Path(1), 5),
        Recv(0, 5),
        Hush(0),
        Listen(0, Path(1), Slow),
        Connect(3, Path(1), Plain),
        Accept(0, 4),
    ]));
}

// SIM88
#[test]
fn one_more_than_the_backlog_waits_to_be_accepted() {
    for place in [Tcp(0), Path(0)] {
        agree(in_turn(&[
            Listen(0, place, Short),
            Connect(0, place, Plain),
            Connect(1, place, Plain),
            Connect(2, place, Plain),
            Accept(0, 3),
            Connect(2, place, Plain),
            Connect(4, place, Plain),
        ]));
    }
}

// SIM88
#[test]
fn a_buffer_of_datagrams_is_twice_what_is_asked_for() {
    agree(in_turn(&[
        Bind(0, Udp(0), Buffers),
        PointFrom(1, Udp(1), Udp(0)),
        SendTo(0, Udp(0), 65_507),
        Send(1, 1),
        Recv(0, 1_000),
        Recv(0, 1_000),
        Recv(0, 1_000),
        Bind(2, Path(0), Buffers),
        SendTo(2, Path(0), 131_040),
        SendTo(2, Path(0), 131_041),
    ]));
}

// SIM88
#[test]
fn a_datagram_to_oneself_waits_for_room_of_ones_own() {
    agree(in_turn(&[
        Bind(0, Path(1), Plain),
        Flood(0, Some(Path(1))),
        Unlink(Path(1)),
        SendTo(0, Path(1), 212_960),
        SendTo(0, Path(1), 212_961),
    ]));
}

// SIM88
#[test]
fn what_a_peer_sent_goes_when_a_send_finds_it_gone() {
    agree(in_turn(&[
        PairUp(0, 1),
        Send(0, 5),
        Hush(0),
        Send(1, 100),
        Recv(1, 10),
        PairUp(2, 3),
        Send(2, 5),
        Hush(2),
        Recv(3, 10),
        Send(3, 100),
    ]));
}

// SIM88
#[test]
fn a_datagram_socket_forgets_the_peer_that_a_send_found_gone() {
    agree(in_turn(&[
        Bind(0, Path(1), Plain),
        Point(1, Path(1)),
        Hush(0),
        Names(1),
        Send(1, 100),
        Names(1),
    ]));
}

// SIM88
#[test]
fn who_does_not_reuse_a_port_lets_nobody_reuse_it() {
    agree(in_turn(&[
        Listen(0, Tcp(1), NoReuse),
        Connect(0, Tcp(1), Plain),
        Accept(0, 1),
        Unlisten(0),
        Listen(0, Tcp(1), Plain),
        Close(1),
        Close(0),
        Listen(0, Tcp(1), Plain),
        Listen(0, Tcp(0), Plain),
        Connect(0, Tcp(0), Plain),
        Accept(0, 1),
        Unlisten(0),
        Listen(0, Tcp(0), NoReuse),
        Listen(0, Tcp(0), Plain),
    ]));
}

// SIM88
#[test]
fn what_was_reset_has_no_port() {
    agree(in_turn(&[
        Listen(0, Tcp(0), NoReuse),
        Connect(0, Tcp(0), Plain),
        Accept(0, 1),
        Abort(0),
        Unlisten(0),
        Listen(0, Tcp(0), NoReuse),
    ]));
}

// SIM88
#[test]
fn a_reset_is_there_before_the_next_write() {
    agree(Script(vec![
        One(Listen(0, Tcp(0), Plain)),
        One(Connect(0, Tcp(0), Slow)),
        Two(Unlisten(0), Write(0, 10)),
        One(Drain(0)),
    ]));
}

// SIM88
#[test]
fn an_end_that_closed_second_has_no_port_though_it_is_held() {
    agree(in_turn(&[
        Listen(0, Tcp(0), Plain),
        Connect(2, Tcp(0), Plain),
        Accept(0, 3),
        ListenAt(2, Beside::Own, NoReuse),
        ListenAt(3, Beside::Elsewhere, NoReuse),
        Close(3),
        ListenAt(2, Beside::Own, NoReuse),
        Shutdown(2),
        ListenAt(2, Beside::Own, NoReuse),
        ListenAt(2, Beside::Own, Plain),
    ]));
}
