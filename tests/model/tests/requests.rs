//! Rule S11: a request is deduplicated whole, or not at all.

use vsync_model::requests::{Count, Looks, SCHEMES, Scheme, count};

/// Ten interleavings: nine bad without a table, three mixed with per-step ids, none with one
/// Commit.
#[test]
fn ten_interleavings_and_only_one_commit_survives_all() {
    let bad = SCHEMES.map(|scheme| {
        let Count { all, bad, .. } = count(scheme, Looks::Apart);
        assert_eq!(all, 10);
        bad
    });
    assert_eq!(bad, [9, 3, 0, 0], "{SCHEMES:?}");
}

#[test]
fn whenever_the_attempts_look_one_commit_is_right() {
    let counts = SCHEMES.map(|scheme| count(scheme, Looks::Anywhere));
    assert!(counts.iter().all(|count| count.all == 204), "{counts:?}");
    assert_eq!(counts.map(|count| count.bad), [170, 26, 0, 0], "{SCHEMES:?}");
}

/// Where each attempt tells what it meant to do, the client hears of seats that it does not have;
/// the table's answer is always right.
#[test]
fn answers_come_from_the_table() {
    for looks in [Looks::Apart, Looks::Anywhere] {
        assert!(count(Scheme::StepIds, looks).misled > 0, "{looks:?}");
        assert_eq!(count(Scheme::StepResults, looks).misled, 0, "{looks:?}");
        assert_eq!(count(Scheme::OneCommit, looks).misled, 0, "{looks:?}");
    }
}
