use super::*;

const ONE: &str = "\
type board version 1
  names: Vec<String> #a1
event Closed #g1
update add id 7 order total level optimistic
  name: String #b1
  at: Point #c1
  -> Result<u64, Full> #d1
update close id 9 order fifo level stable
query count id 300
  -> usize #e1
query search id 301 scatter
  -> Vec<String> #a1
";

const TWO: &str = "\
type board version 2
  names: BTreeMap<u64, String> #a2
  closed: bool #f1
update add id 7 order total level optimistic
  name: String #b1
  at: geo::Point #c1
  -> Result<u64, Full> #d1
update close id 9 order fifo level stable until 3
update open id 11 order fifo level stable since 2
query count id 300
  -> usize #e1
query names id 400
  -> Vec<String> #a1
earlier version 1
  names: Vec<String> #a1
";

fn card(text: &str) -> Card {
    text.parse().expect("a card")
}

/// What two programs say of each other; what one says is here is what the other says is there.
#[track_caller]
fn differ(one: &str, other: &str, active: u32) -> Vec<String> {
    let (one, other) = (card(one), card(other));
    let found = one.differences(&other, active);
    assert_eq!(found.len(), other.differences(&one, active).len());
    found
}

#[test]
fn a_text_becomes_the_same_card() {
    for text in [ONE, TWO] {
        assert_eq!(card(text).to_string(), text);
    }
    assert_eq!((card(TWO).version(), card(TWO).name()), (2, "board"));
    assert!(card(TWO).reads(1) && card(TWO).reads(2) && !card(TWO).reads(3));
}

#[test]
fn a_line_that_is_none_is_named() {
    for (text, line) in [
        ("", 1),
        ("type board", 1),
        ("type board version x", 1),
        ("type board version 1\n  names", 2),
        ("  names: u8 #1", 1),
        ("type board version 1\nupdate add id", 2),
        ("type board version 1\nquery add order total", 2),
        ("type board version 1\nupdate add id x", 2),
        ("type board version 1\n\nelse", 2),
    ] {
        assert_eq!(text.parse::<Card>(), Err(CardError { line }), "{text:?}");
    }
}

#[test]
fn versions_that_follow_each_other_fit() {
    assert_eq!(differ(ONE, TWO, 1), Vec::<String>::new());
    assert_eq!(differ(ONE, ONE, 1), Vec::<String>::new());
    // What has come to its end may be gone from the source.
    let three = TWO.replace("update close id 9 order fifo level stable until 3\n", "");
    let three = three.replace("type board version 2", "type board version 3");
    let three = three.replace(
        "earlier",
        "earlier version 2\n  names: BTreeMap<u64, String> #a2\n  \
                                          closed: bool #f1\nearlier",
    );
    assert_eq!(differ(TWO, &three, 3), Vec::<String>::new());
    assert_eq!(differ(TWO, &three, 2), ["the update `close` (id 9) is here, not there"]);
}

#[test]
fn the_first_causal_update_does_not_come_with_a_version() {
    let tell = "update tell id 12 order causal level optimistic since 2\nquery count";
    let two = TWO.replace("query count", tell);
    let [said] = &differ(ONE, &two, 1)[..] else { panic!("{:?}", differ(ONE, &two, 1)) };
    assert!(
        said.starts_with("the update `tell` (id 12, since version 2) is causal there, "),
        "{said}"
    );
    let [said] = &differ(&two, ONE, 1)[..] else { panic!("{:?}", differ(&two, ONE, 1)) };
    assert!(
        said.starts_with("the update `tell` (id 12, since version 2) is causal here, "),
        "{said}"
    );
    assert_eq!(differ(&two, &two, 2), Vec::<String>::new());
}

#[test]
fn members_agree_on_shares_and_clients_need_not() {
    let whole = ONE.replace(" scatter", "");
    let (one, whole) = (card(ONE), card(&whole));
    assert_eq!(one.query(301), whole.query(301));
    assert_eq!(one.share(301).as_deref(), Some("query search id 301  -> Vec<String> #a1 scatter"));
    assert_ne!(one.share(301), whole.share(301));
    assert_eq!((one.share(300), one.share(7)), (whole.query(300), None));
    assert_eq!(one.event().as_deref(), Some("event Closed #g1"));
}

#[test]
fn each_difference_is_said_in_words() {
    for (from, to, said) in [
        (" scatter", "", "the query `search` (id 301) is scattered here, not scattered there"),
        ("event Closed #g1\n", "", "events are published here, not there"),
        ("event Closed #g1", "event Shut #g2", "the type of events is `Closed` here, `Shut` there"),
        ("type board", "type other", "the type is `board` here, `other` there"),
        (
            "order total",
            "order causal",
            "the update `add` (id 7) has the order total here, causal there",
        ),
        (
            "level stable",
            "level optimistic",
            "the update `close` (id 9) has the level stable here, optimistic there",
        ),
        (
            "  at: Point #c1",
            "  at: Point #c2",
            "argument `at` of the update `add` (id 7) is `Point` on both sides, but what is inside \
             of it is not the same",
        ),
        ("  at: Point #c1\n", "", "argument `at` of the update `add` (id 7) is here, not there"),
        (
            "  at: Point #c1\n",
            "  at: Point #c1\n  by: u8 #1\n",
            "argument `by` of the update `add` (id 7) is there, not here",
        ),
        (
            "  name: String #b1\n  at: Point #c1\n",
            "  at: Point #c1\n  name: String #b1\n",
            "arguments of the update `add` (id 7) are in the order name, at here, at, name there",
        ),
        (
            "  -> Result<u64, Full> #d1\n",
            "",
            "the result of the update `add` (id 7) is `Result<u64, Full>` here, `()` there",
        ),
        (
            "update close id 9 order fifo level stable",
            "query close id 9",
            "the update `close` (id 9) is a query there",
        ),
        (
            "update close id 9 order fifo level stable",
            "update close id 9 order fifo level stable since 2",
            "the update `close` (id 9) is since 1 here, since 2 there",
        ),
        (
            "update close id 9 order fifo level stable",
            "update close id 9 order fifo level stable until 1",
            "the update `close` (id 9) has no end here, until 1 there",
        ),
        (
            "update close id 9 order fifo level stable\n",
            "",
            "the update `close` (id 9) is here, not there",
        ),
        (
            "  names: Vec<String> #a1",
            "  names: Vec<u64> #a9",
            "field `names` of version 1 is `Vec<String>` here, `Vec<u64>` there",
        ),
        (
            "type board version 1",
            "type board version 5",
            "no version of the state is known to both: 1 here, 5 there",
        ),
    ] {
        assert!(ONE.contains(from), "{from}");
        assert_eq!(differ(ONE, &ONE.replacen(from, to, 1), 1), [said]);
    }
}

#[test]
fn what_is_not_seen_whole_goes_by_its_text() {
    let one = ONE.replace("Point #c1", "Point #c1~");
    assert_eq!(differ(&one, &one, 1), Vec::<String>::new());
    let other = one.replace("at: Point", "at: geo::Point");
    assert_eq!(
        differ(&one, &other, 1),
        ["argument `at` of the update `add` (id 7) is `Point` here, `geo::Point` there"]
    );
    // Seen whole, a type may be written in any way.
    let other = ONE.replace("at: Point", "at: geo::Point");
    assert_eq!(differ(ONE, &other, 1), Vec::<String>::new());
}

#[test]
fn a_query_has_a_line_of_its_own() {
    let line = card(TWO).query(300).expect("there");
    assert_eq!(line, "query count id 300  -> usize #e1");
    assert_eq!((card(TWO).query(7), card(ONE).query(400)), (None, None));
}
