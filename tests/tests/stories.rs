//! Every story is told as it is written, and dies with the bug that it is about.

use std::fs;

use vsync_core::bugs::Bugs;
use vsync_tests::stories;

#[test]
fn stories_are_told_as_they_are_written() {
    let update = std::env::var_os("UPDATE_STORIES").is_some();
    let stories = stories::all();
    assert!(stories.len() >= 4, "the stories are missing");
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
