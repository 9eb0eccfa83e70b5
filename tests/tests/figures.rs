//! The figures of the book are what the protocol makes today.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

#[test]
fn the_figures_in_the_book_are_real_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let made = env::temp_dir().join(format!("vsync-figures-{}", std::process::id()));
    let status = Command::new(env!("CARGO_BIN_EXE_figures")).arg(&made).status().expect("to run");
    assert!(status.success());
    for name in ["synchronous.svg", "asynchronous.svg", "reordered.svg"] {
        let new = fs::read(made.join(name)).expect("a figure");
        let old = fs::read(root.join("book/src/figures").join(name)).unwrap_or_default();
        let again = "cargo run -p vsync-tests --bin figures";
        assert!(new == old, "{name} in the book is not what the protocol does: {again}");
    }
    fs::remove_dir_all(made).expect("to clean up");
}
