use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::*;

fn words<T: DeserializeOwned>() -> (String, bool) {
    trace(|probe| T::deserialize(probe))
}

fn whole<T: DeserializeOwned>() -> String {
    let (text, whole) = words::<T>();
    assert!(whole, "{text}");
    text
}

#[derive(Serialize, Deserialize)]
struct Pair<A, B> {
    one: A,
    other: B,
}

#[derive(Serialize, Deserialize)]
enum Tree {
    Node(Box<Tree>, Box<Tree>),
    Named { name: String, rest: Vec<Tree> },
    Leaf(u8),
    Empty,
}

#[derive(Serialize, Deserialize)]
struct List {
    value: Inner,
    next: Option<Box<List>>,
}

#[derive(Serialize, Deserialize)]
enum Inner {
    First,
    Second(Deep),
}

#[derive(Serialize, Deserialize)]
enum Deep {
    One(u8),
    Two(u16),
    Three(u32),
}

#[test]
fn what_is_asked_for_is_written_down() {
    assert_eq!(whole::<(u8, String, Option<i64>, ())>(), "u8,str,?i64,");
    assert_eq!(whole::<BTreeMap<u64, Vec<f32>>>(), "{u64,[f32,]}");
    assert_eq!(whole::<[NonZeroU16; 2]>(), "u16,u16,");
    assert_eq!(whole::<Pair<u8, char>>(), "@0\nPair|(one:u8,other:char,)");
}

#[test]
fn generic_types_are_told_apart() {
    let text = whole::<Pair<Pair<u8, u8>, Pair<u8, i8>>>();
    assert_eq!(text, "@0\nPair|(one:@1other:@2)\nPair|(one:u8,other:u8,)\nPair|(one:u8,other:i8,)");
}

#[test]
fn every_variant_of_what_is_inside_is_seen() {
    assert_eq!(
        whole::<List>(),
        "@0\nList|(value:@1next:?@0)\nInner|First()|Second(@2)\nDeep|One(u8,)|Two(u16,)|Three(u32,)"
    );
}

#[test]
fn recursion_ends() {
    assert_eq!(whole::<Tree>(), "@0\nTree|Node(@0@0)|Named(name:str,rest:[@0])|Leaf(u8,)|Empty()");
}

#[test]
fn other_types_have_other_shapes() {
    #[derive(Serialize, Deserialize)]
    enum More {
        One(u8),
        Two(u16),
        Three(u64),
    }
    let shapes = [
        Probe::<u8>::new().shape(),
        Probe::<u16>::new().shape(),
        Probe::<Option<u8>>::new().shape(),
        Probe::<Deep>::new().shape(),
        Probe::<More>::new().shape(),
        Probe::<Tree>::new().shape(),
        Probe::<IpAddr>::new().shape(),
        Probe::<std::time::Duration>::new().shape(),
    ];
    let different: BTreeSet<_> = shapes.iter().collect();
    assert_eq!(different.len(), shapes.len(), "{shapes:?}");
    assert!(shapes.iter().all(|shape| shape.len() == 16), "{shapes:?}");
    assert_eq!(Probe::<Deep>::new().shape(), shapes[3], "always the same");
}

/// Refuses most numbers.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
#[derive(Clone)]
struct Even(u64);

impl TryFrom<u64> for Even {
    type Error = String;

    fn try_from(number: u64) -> Result<Even, String> {
        if number.is_multiple_of(2) { Ok(Even(number)) } else { Err("odd".to_owned()) }
    }
}

impl From<Even> for u64 {
    fn from(even: Even) -> u64 {
        even.0
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    One(u8),
}

#[test]
fn what_cannot_be_seen_is_marked() {
    assert_eq!(words::<(u8, Even, u32)>(), ("u8,u64,".to_owned(), false));
    assert_eq!(words::<Untagged>(), (String::new(), false));
    assert!(Probe::<Pair<Even, u8>>::new().shape().ends_with('~'));
    struct Unknown;
    assert_eq!((&Probe::<Unknown>::new()).shape(), "?");
}
