use super::super::frame::{HELLO, Header};
use super::*;
use crate::Secret;
use sha2::{Digest, Sha256};

fn example() -> Hello {
    let mut hello = Hello::offer(&Config::new("example", [0x0D; 16]), [0xD0; 32]);
    hello.auth = 2;
    hello.key_id = b"k1".to_vec();
    hello
}

// R11: the HELLO of the dialer with a key, the whole frame.
#[test]
fn hello_has_the_golden_bytes() {
    let payload = example().encode();
    let frame = [
        &Header::new(HELLO, payload.len(), 0, 0).to_bytes()[..],
        &payload,
    ]
    .concat();
    assert_eq!(frame.len(), 122);
    let hash: String = Sha256::digest(&frame)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hash,
        "1eb94113e86cc0e8add2bd2cedd035bdc867a346ef18a7a009b68e9759074abc"
    );
    assert_eq!(Hello::decode(&payload), Ok(example()));
}

#[test]
fn a_longer_hello_is_fine_and_every_shorter_one_is_not() {
    let payload = example().encode();
    let longer = [&payload[..], b"later"].concat();
    assert_eq!(Hello::decode(&longer), Ok(example()));
    for cut in 0..payload.len() {
        assert_eq!(
            Hello::decode(&payload[..cut]),
            Err(Violation::Rule("hello-length")),
            "{cut}"
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let config = Config::new("example", [7; 16]);
    let good = Hello::offer(&config, [1; 32]);
    let answer = |change: &dyn Fn(&mut Hello)| {
        let mut hello = good.clone();
        change(&mut hello);
        Hello::answer(&config, [2; 32], &hello, &StreamProof::Nothing).map(|_| ())
    };
    let limits = Err(Violation::Rule("hello-limits"));
    assert_eq!(answer(&|_| ()), Ok(()));
    assert_eq!(answer(&|h| h.optional = u32::MAX), Ok(()));
    assert_eq!(answer(&|h| h.versions = (0, 9)), Ok(()));
    assert_eq!(
        answer(&|h| h.versions = (2, 9)),
        Err(Violation::NothingCommon("version"))
    );
    assert_eq!(
        answer(&|h| h.versions = (1, 0)),
        Err(Violation::Rule("hello-version"))
    );
    assert_eq!(
        answer(&|h| h.required = 1 << 31),
        Err(Violation::NothingCommon("feature"))
    );
    assert_eq!(
        answer(&|h| h.codecs = vec![CodecId(200)]),
        Err(Violation::NothingCommon("codec"))
    );
    assert_eq!(
        answer(&|h| h.project = b"other".to_vec()),
        Err(Violation::WrongProject)
    );
    assert_eq!(answer(&|h| h.auth = 2), Err(Violation::Unauthenticated));
    assert_eq!(answer(&|h| h.call_window = 4095), limits);
    assert_eq!(answer(&|h| h.max_frame = 1023), limits);
    assert_eq!(answer(&|h| h.max_frame = 1 << 24), limits);
    assert_eq!(answer(&|h| h.max_message = h.max_frame - 1), limits);
    assert_eq!(answer(&|h| h.max_calls = 0), limits);
    assert_eq!(answer(&|h| h.heartbeat_ms = 0), limits);
}

#[test]
fn the_listener_takes_the_first_way_that_both_have() {
    let secret = || Secret::new([7; 16]).expect("it is long enough");
    let plain = || Config::new("", [1; 16]);
    let shown = StreamProof::Certificate(Some("cert:CN=a".into()));
    let unshown = StreamProof::Certificate(None);
    let user = StreamProof::User(Some(7));
    let refused = Err(Violation::Unauthenticated);
    for (listener, stream, dialer, way) in [
        (plain(), &shown, plain(), Ok(AUTH_NONE)),
        (plain(), &user, plain(), Ok(AUTH_NONE)),
        (plain(), &user, plain().secret("", secret()), refused),
        (
            plain().certificates(),
            &shown,
            plain(),
            Ok(AUTH_CERTIFICATE),
        ),
        (plain().certificates(), &unshown, plain(), refused),
        (plain().certificates(), &user, plain(), refused),
        (
            plain().certificates(),
            &StreamProof::Nothing,
            plain(),
            refused,
        ),
        (plain().users([7]), &user, plain(), Ok(AUTH_USER)),
        (plain().users([8]), &user, plain(), refused),
        (
            plain().users([7]),
            &StreamProof::User(None),
            plain(),
            refused,
        ),
        (plain().users([7]), &shown, plain(), refused),
        (
            plain().users([7]),
            &user,
            plain().secret("", secret()),
            refused,
        ),
        (
            plain().users([7]).key("", secret()),
            &user,
            plain().secret("", secret()),
            Ok(AUTH_PSK),
        ),
        (
            plain().users([7]).key("", secret()),
            &user,
            plain(),
            Ok(AUTH_USER),
        ),
        (plain().key("", secret()), &user, plain(), refused),
    ] {
        let offered = Hello::dial(&dialer, [0; 32], stream, b"");
        let answer = Hello::answer(&listener, [0; 32], &offered, stream);
        let case = format!("{listener:?} {stream:?} {dialer:?}");
        assert_eq!(
            answer.as_ref().map(|it| it.auth).map_err(|it| *it),
            way,
            "{case}"
        );
        if let Ok(answer) = answer {
            assert_eq!(answer.check_answer(&dialer, stream), Ok(()), "{case}");
        }
    }
}

#[test]
fn a_dialer_takes_one_of_the_ways_it_offered() {
    let dialer = Config::new("", [1; 16]);
    let stream = StreamProof::User(None);
    let mut answer = Hello::offer(&dialer, [0; 32]);
    for auth in 0..=u8::MAX {
        answer.auth = auth;
        let taken = answer.check_answer(&dialer, &stream);
        assert_eq!(
            taken.is_ok(),
            auth == AUTH_NONE || auth == AUTH_USER,
            "{auth}"
        );
    }
}

#[test]
fn a_pass_is_shown_to_one_alone_and_is_the_same_again() {
    let config = |n| Config::new("", [n; 16]).passes([n; 32]);
    let stream = StreamProof::Nothing;
    let dial = |n, place: &[u8]| Hello::dial(&config(n), [0; 32], &stream, place);
    let answered = |n, to: &Hello| {
        let answer = Hello::answer(&config(n), [1; 32], to, &stream).unwrap();
        assert_eq!(Hello::decode(&answer.encode()), Ok(answer.clone()));
        answer.pass
    };
    let here = dial(1, b"here");
    assert_eq!(Hello::decode(&here.encode()), Ok(here.clone()));
    assert_eq!(here.pass, dial(1, b"here").pass);
    assert_eq!(answered(2, &here), answered(2, &dial(1, b"here")));
    let others = [dial(1, b"there"), dial(3, b"here")];
    for other in &others {
        assert!(other.pass.is_some() && here.pass != other.pass);
        assert!(answered(2, other).is_some() && answered(2, &here) != answered(2, other));
    }
    assert!(answered(2, &here) != answered(3, &here) && answered(2, &here) != here.pass);
    let none = Hello::dial(&Config::new("", [1; 16]), [0; 32], &stream, b"here");
    assert_eq!((none.pass, answered(2, &none)), (None, None));
}

#[test]
fn the_answer_holds_the_common_codecs_in_the_listeners_order() {
    let dialer = Config::new("", [1; 16]).codecs([CodecId(1), CodecId(2), CodecId(128)]);
    let listener = Config::new("", [2; 16]).codecs([CodecId(2), CodecId(3), CodecId(1)]);
    let stream = StreamProof::Nothing;
    let offered = Hello::offer(&dialer, [0; 32]);
    let answer = Hello::answer(&listener, [0; 32], &offered, &stream).unwrap();
    assert_eq!(answer.codecs, [CodecId(2), CodecId(1)]);
    assert_eq!(answer.check_answer(&dialer, &stream), Ok(()));
    let mut wrong = answer.clone();
    wrong.codecs.push(CodecId(3));
    assert_eq!(
        wrong.check_answer(&dialer, &stream),
        Err(Violation::Rule("hello-codecs"))
    );
}
