//! Every story is told as it is written, and dies with the bug that it is about.

use std::fs;

use vsync_core::bugs::Bugs;
use vsync_tests::stories;

#[test]
fn stories_are_told_as_they_are_written() {
    let update = std::env::var_os("UPDATE_STORIES").is_some();
    let stories = stories::all();
    assert!(stories.len() >= 50, "the stories are missing");
    for story in stories {
        let told = story.tell(Bugs::default());
        assert!(told.wrong.is_empty(), "{}: {:#?}", story.name, told.wrong);
        if update {
            fs::write(&story.path, &told.text).expect("the story can be written");
        } else {
            assert!(
                told.text == story.text,
                "{} is told otherwise (UPDATE_STORIES=1 writes it anew):\n{}",
                story.name,
                told.text
            );
        }
    }
}

/// The rules of the protocol that are easy to get wrong. S11 is about requests of clients: the core
/// does not know them.
#[test]
fn every_tagged_rule_has_a_story() {
    let safety = (1..=12).filter(|&n| n != 11).map(|n| format!("(S{n})"));
    let liveness = (1..=11).map(|n| format!("(L{n})"));
    let others = ["(A1)", "(A2)"].map(str::to_owned);
    let stories = stories::all();
    let titles: Vec<&str> = stories.iter().filter_map(|story| story.text.lines().next()).collect();
    for tag in safety.chain(liveness).chain(others) {
        assert!(titles.iter().any(|title| title.contains(&tag)), "no story about {tag}");
    }
}

#[cfg(feature = "bug-bank")]
#[test]
fn stories_die_with_their_bugs() {
    for story in stories::all() {
        for name in story.bugs() {
            let bug = vsync_core::bugs::ALL.iter().find(|bug| format!("{bug:?}") == name);
            let bug = *bug.unwrap_or_else(|| panic!("{}: no bug {name}", story.name));
            assert!(story.dies(Bugs::with(bug)).is_some(), "{} survives {name}", story.name);
        }
    }
}
