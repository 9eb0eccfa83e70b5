//! The clippy configuration that the book offers to crates of replicated types: that clippy
//! understands it, and that it finds what it is for.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A crate with one sin of each kind in a method, and one blameless method.
const CRATE: &str = r#"
use std::collections::{BTreeMap, HashMap};
#[derive(Default)]
pub struct Board { plans: BTreeMap<u64, u64> }
impl Board {
    pub fn clock(&mut self) -> bool { std::time::SystemTime::now().elapsed().is_ok() }
    pub fn order(&mut self, all: Vec<u64>) -> Option<u64> {
        let seen: HashMap<u64, u64> = all.into_iter().map(|one| (one, one)).collect();
        seen.into_keys().next()
    }
    pub fn outside(&mut self) -> usize { std::env::var("HOME").map_or(0, |home| home.len()) }
    pub fn thread(&mut self) { drop(std::thread::spawn(|| ())); }
    pub fn fine(&mut self, key: u64) -> Option<u64> { self.plans.insert(key, key) }
}
"#;

/// Where a sin is, by a part of what clippy says of it.
const FOUND: [&str; 5] = [
    "disallowed method `std::time::SystemTime::now`",
    "disallowed type `std::collections::HashMap`",
    "disallowed method `std::env::var`",
    "disallowed method `std::thread::spawn`",
    "every replica has its own clock: ctx.time()",
];

#[test]
fn the_clippy_configuration_finds_what_it_is_for() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("determinism");
    fs::create_dir_all(folder.join("src")).expect("a folder");
    let manifest = "[package]\nname = \"determinism\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest).expect("written");
    fs::write(folder.join("src/lib.rs"), CRATE).expect("written");
    let snippet = tests.join("../book/src/concepts/clippy-determinism.toml");
    fs::copy(snippet, folder.join("clippy.toml")).expect("copied");
    let mut clippy = Command::new(env!("CARGO"));
    clippy.args(["clippy", "--quiet", "--color=never", "--target-dir", "target"]);
    clippy.env_remove("CARGO_TARGET_DIR").env_remove("CLIPPY_CONF_DIR").current_dir(&folder);
    let output = clippy.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for part in FOUND {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    // Nothing else: no path that does not exist, no complaint about what is fine.
    let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("warning")).collect();
    let expected = warnings.iter().all(|line| line.starts_with("warning: use of a disallowed"));
    assert!(expected && warnings.len() == 6 && !said.contains("fn fine"), "{said}");
}
