use super::*;
use crate::runtime::seldom::Seldom;

const GROUP: u64 = 7;

fn opened(sessions: &mut Sessions, lease: Micros, now: Micros) -> SessionId {
    match sessions.open(GROUP, lease, now) {
        Committed::Opened(session) => session,
        other => panic!("{other:?}"),
    }
}

fn numbered(session: SessionId, number: u64, acknowledged: u64) -> RequestId {
    RequestId::Numbered { session, number, acknowledged }
}

fn result(byte: u8, bytes: usize) -> Recorded {
    Recorded::Result(vec![byte; bytes])
}

/// As a replica does with the request.
fn commit(sessions: &mut Sessions, id: &RequestId, hash: u128, reply: Recorded, now: u64) -> Begun {
    let begun = sessions.begin(id, hash, GROUP, now);
    if begun == Begun::CarryOut {
        sessions.record(id, hash, reply, now);
    }
    begun
}

#[test]
fn the_first_of_a_name_is_carried_out_and_the_rest_get_its_reply() {
    let mut sessions = Sessions::default();
    let session = opened(&mut sessions, 100, 0);
    for id in [numbered(session, 1, 0), RequestId::Key(b"key".to_vec())] {
        assert_eq!(commit(&mut sessions, &id, 5, result(1, 3), 10), Begun::CarryOut);
        assert_eq!(commit(&mut sessions, &id, 5, result(2, 3), 20), Begun::Known(result(1, 3)));
        let other = commit(&mut sessions, &id, 6, result(2, 3), 30);
        assert_eq!(other, Begun::Refused(Refusal::OtherContent));
    }
}

#[test]
fn what_is_acknowledged_is_forgotten_and_never_carried_out_again() {
    let mut sessions = Sessions::default();
    let session = opened(&mut sessions, 100, 0);
    let empty = sessions.bytes;
    commit(&mut sessions, &numbered(session, 1, 0), 1, result(1, 900), 0);
    commit(&mut sessions, &numbered(session, 3, 0), 3, result(3, 900), 0);
    let held = sessions.bytes;
    commit(&mut sessions, &numbered(session, 4, 3), 4, result(4, 0), 0);
    assert!(sessions.bytes < held - 1800 + 2 * ENTRY, "both are forgotten");
    for number in [1, 2, 3] {
        // The second was never carried out; whoever asks for it now comes too late.
        let late = commit(&mut sessions, &numbered(session, number, 0), 2, result(2, 0), 0);
        assert_eq!(late, Begun::Refused(Refusal::Acknowledged), "{number}");
    }
    commit(&mut sessions, &numbered(session, 5, 4), 5, result(5, 0), 0);
    commit(&mut sessions, &numbered(session, 5, 5), 5, result(5, 0), 0);
    assert_eq!(sessions.bytes, empty);
}

#[test]
fn a_lease_is_renewed_by_requests_and_ends_by_an_update() {
    let mut sessions = Sessions::default();
    let session = opened(&mut sessions, 100, 0);
    assert_eq!(sessions.due(), Some(100));
    commit(&mut sessions, &numbered(session, 1, 0), 1, result(1, 1), 50);
    assert_eq!(sessions.due(), Some(150));
    assert!(!sessions.ask(149) && sessions.ask(150), "asked for when it is due");
    assert_eq!((sessions.due(), sessions.ask(151)), (None, false), "and once");
    sessions.installed();
    assert_eq!(sessions.due(), Some(150), "a successor asks again");
    // A request that comes before the expiry is still in time.
    commit(&mut sessions, &numbered(session, 2, 0), 2, result(2, 1), 160);
    sessions.expire(170);
    let known = commit(&mut sessions, &numbered(session, 1, 0), 1, result(9, 1), 180);
    assert_eq!(known, Begun::Known(result(1, 1)));
    sessions.expire(280);
    let late = commit(&mut sessions, &numbered(session, 1, 0), 1, result(1, 1), 281);
    assert_eq!(late, Begun::Refused(Refusal::Expired));
    assert_eq!((sessions.bytes, sessions.due()), (0, None));
    assert_ne!(opened(&mut sessions, 100, 300), session, "no name is used twice");
}

#[test]
fn a_key_is_known_for_its_lease() {
    let mut sessions = Sessions::default();
    let key = RequestId::Key(b"order 5".to_vec());
    commit(&mut sessions, &key, 1, result(1, 1), 50);
    sessions.expire(49 + KEY_LEASE);
    assert_eq!(commit(&mut sessions, &key, 1, result(2, 1), 60), Begun::Known(result(1, 1)));
    sessions.expire(50 + KEY_LEASE);
    assert_eq!(sessions.bytes, 0);
    assert_eq!(commit(&mut sessions, &key, 1, result(2, 1), 60), Begun::CarryOut);
    let long = RequestId::Key(vec![0; KEY + 1]);
    assert_eq!(commit(&mut sessions, &long, 1, result(1, 1), 0), Begun::Refused(Refusal::Key));
}

#[test]
fn another_group_knows_nothing_of_a_session() {
    let mut sessions = Sessions::default();
    let SessionId { number, .. } = opened(&mut sessions, 100, 0);
    let other = SessionId { group: GROUP + 1, number };
    let begun = sessions.begin(&numbered(other, 1, 0), 1, GROUP, 0);
    assert_eq!(begun, Begun::Refused(Refusal::Expired));
}

#[test]
fn a_checkpoint_holds_all_of_it() {
    let mut sessions = Sessions::default();
    let session = opened(&mut sessions, 100, 0);
    commit(&mut sessions, &numbered(session, 1, 0), 1, result(1, 5), 0);
    commit(&mut sessions, &RequestId::Key(b"key".to_vec()), 2, Recorded::TooLarge(9), 0);
    let mut loaded = sessions.saved().sessions(Pending::default());
    assert_eq!(loaded.saved, sessions.saved);
    assert_eq!((loaded.bytes, loaded.due()), (sessions.bytes, sessions.due()));
    let known = commit(&mut loaded, &numbered(session, 1, 0), 1, result(2, 5), 0);
    assert_eq!(known, Begun::Known(result(1, 5)));
}

#[test]
fn there_are_bounds_on_number_and_bytes() {
    let mut sessions = Sessions::default();
    let full = Begun::Refused(Refusal::Full);
    let session = opened(&mut sessions, 100, 0);
    for number in 1..=REPLIES as u64 {
        let id = numbered(session, number, 0);
        assert_eq!(commit(&mut sessions, &id, 1, result(1, 0), 0), Begun::CarryOut);
    }
    let next = REPLIES as u64 + 1;
    assert_eq!(commit(&mut sessions, &numbered(session, next, 0), 1, result(1, 0), 0), full);
    let known = commit(&mut sessions, &numbered(session, 1, 0), 1, result(1, 0), 0);
    assert_eq!(known, Begun::Known(result(1, 0)), "what is there is still told");
    let again = commit(&mut sessions, &numbered(session, next, 1), 1, result(1, 0), 0);
    assert_eq!(again, Begun::CarryOut, "an acknowledgement makes room");

    let mut sessions = Sessions::default();
    let mut taken = 0;
    while commit(&mut sessions, &RequestId::Key(vec![taken]), 1, result(1, REPLY), 0) != full {
        taken += 1;
    }
    assert!(usize::from(taken) * REPLY <= BYTES && usize::from(taken) > BYTES / REPLY - 3);
    assert!(sessions.bytes <= BYTES);

    let mut sessions = Sessions::default();
    for _ in 0..SESSIONS {
        opened(&mut sessions, 100, 0);
    }
    assert_eq!(sessions.open(GROUP, 100, 0), Committed::Refused(Refusal::Full));
}

#[test]
fn a_result_that_is_too_large_is_recorded_as_such() {
    assert_eq!(Recorded::of(Some(Ok(vec![0; REPLY + 1]))), Recorded::TooLarge(REPLY as u64 + 1));
    assert_eq!(Recorded::of(Some(Ok(vec![0; 2]))), result(0, 2));
}

#[test]
fn the_number_of_a_session_that_is_over_is_not_used_again() {
    let mut sessions = Sessions::default();
    let first = opened(&mut sessions, 100, 0);
    assert_eq!(sessions.expire(100), [first.number]);
    let mut loaded = Seldom::from(sessions.saved().sessions(Pending::default()));
    let second = opened(&mut loaded, 100, 200);
    assert_eq!(second.number, first.number + 1);
    let late = commit(&mut loaded, &numbered(first, 1, 0), 1, result(1, 5), 200);
    assert_eq!(late, Begun::Refused(Refusal::Expired));
}
