//! The command-line tool on histories, good and bad ones.
#![cfg(feature = "cli")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory that goes when the test is over.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vsync-cli-{}-{number}", std::process::id());
        let dir = Dir(std::env::temp_dir().join(name));
        fs::create_dir_all(&dir.0).expect("a directory");
        dir
    }

    fn with(files: &[(&str, &str)]) -> Dir {
        let dir = Dir::new();
        for (name, text) in files {
            fs::write(dir.0.join(name), text).expect("a file");
        }
        dir
    }

    fn vsync(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vsync"));
        command.current_dir(&self.0).args(args).output().expect("the tool")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The history of a member that is alone in its group and delivers `updates` of its own.
fn alone(incarnation: &str, updates: u64) -> String {
    let node = format!("p#{incarnation}@1");
    let head = format!(r#""node":"{node}","group":"g{incarnation}","generation":1"#);
    format!(
        concat!(
            r#"{{"t":0,"node":"p#{i}","event":"start","wall_us":17,"protocol":1}}"#,
            "\n",
            r#"{{"t":5,{h},"event":"view","view":1,"members":[{{"id":"{n}","active":true}}],"#,
            r#""together":["{n}"],"joined":["{n}"],"left":[]}}"#,
            "\n",
            r#"{{"t":7,{h},"event":"submit","count":{c},"class":"fifo"}}"#,
            "\n",
            r#"{{"t":7,{h},"event":"send","view":1,"seq":0,"count":{c},"class":"fifo"}}"#,
            "\n",
            r#"{{"t":8,{h},"event":"deliver","view":1,"sender":"{n}","seq":0,"count":{c},"#,
            r#""class":"fifo","level":"optimistic"}}"#,
            "\n",
        ),
        i = incarnation,
        h = head,
        n = node,
        c = updates,
    )
}

#[track_caller]
fn expect(output: &Output, code: i32, parts: &[&str]) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

const CHECK: &[&str] = &["history", "check", "."];
const DRAW: &[&str] = &["history", "draw", ".", "-o", "run.svg"];

#[test]
fn a_clean_history_is_summed_up() {
    let dir = Dir::with(&[("a.jsonl", &alone("a", 3)), ("b.jsonl", &alone("b", 4)), ("c", "?")]);
    let summary = "2 files, 10 events, 2 groups, 2 members, 2 views, 7 deliveries, 0 violations";
    expect(&dir.vsync(CHECK), 0, &[summary]);
}

#[test]
fn violations_are_named_and_counted() {
    let twice = alone("a", 1);
    let last = twice.lines().last().expect("a line");
    let dir = Dir::with(&[("a.jsonl", &format!("{twice}{last}\n"))]);
    expect(&dir.vsync(CHECK), 1, &["integrity: p#a@1 in ga/1 view 1", "1 files"]);
}

#[test]
fn a_last_line_cut_short_is_noted() {
    let text = alone("a", 1);
    let dir = Dir::with(&[("a.jsonl", &text[..text.len() - 30])]);
    expect(&dir.vsync(CHECK), 0, &["note: a.jsonl: the last line is cut short", "4 events"]);
    expect(&dir.vsync(DRAW), 0, &["note: a.jsonl: the last line is cut short"]);
}

#[test]
fn a_corrupt_line_inside_is_named() {
    let text = alone("a", 1).replace(r#""event":"view""#, r#""event":"vie""#);
    let dir = Dir::with(&[("a.jsonl", &text)]);
    for args in [CHECK, DRAW] {
        expect(&dir.vsync(args), 2, &["a.jsonl:2: not an event of a history"]);
    }
    assert!(!dir.0.join("run.svg").exists());
}

#[test]
fn two_files_of_one_incarnation_are_refused() {
    let dir = Dir::with(&[("a.jsonl", &alone("a", 1)), ("copy.jsonl", &alone("a", 1))]);
    for args in [CHECK, DRAW] {
        let parts = ["a.jsonl and ", "copy.jsonl are both of incarnation a"];
        expect(&dir.vsync(args), 2, &parts);
    }
}

#[test]
fn an_empty_directory_and_a_missing_one_are_different() {
    let dir = Dir::new();
    for args in [CHECK, DRAW] {
        expect(&dir.vsync(args), 2, &[".: no history (*.jsonl) in it"]);
    }
    assert!(!dir.0.join("run.svg").exists());
    expect(&dir.vsync(&["history", "check", "nowhere"]), 2, &["nowhere: ", "os error"]);
    let draw = ["history", "draw", "nowhere", "-o", "run.svg"];
    expect(&dir.vsync(&draw), 2, &["nowhere: ", "os error"]);
    fs::write(dir.0.join("file.jsonl"), alone("a", 1)).expect("a file");
    expect(&dir.vsync(&["history", "check", "file.jsonl"]), 2, &["file.jsonl: ", "os error"]);
}

#[test]
fn a_history_is_drawn_into_a_file_or_to_standard_output() {
    let dir = Dir::with(&[("a.jsonl", &alone("a", 3))]);
    expect(&dir.vsync(DRAW), 0, &[]);
    let file = fs::read(dir.0.join("run.svg")).expect("a drawing");
    let output = dir.vsync(&["history", "draw", ".", "-o", "-"]);
    assert!(file.starts_with(b"<svg "));
    assert_eq!(file, output.stdout);
}

#[test]
fn drawing_refuses_what_makes_no_sense() {
    let dir = Dir::with(&[("a.jsonl", &alone("a", 3))]);
    let draw = |more: &[&str]| dir.vsync(&[DRAW, more].concat());
    expect(&draw(&["--group", "x"]), 2, &["no group \"x\" in this history; there is ga/1"]);
    for (from, to) in [("5", "2"), ("0.002", "0.002")] {
        expect(&draw(&["--from", from, "--to", to]), 2, &["must end after it begins"]);
    }
    let span = "the group was there from 0.005 to 0.008 ms";
    for window in [["--from", "500"], ["--to", "0.001"]] {
        expect(&draw(&window), 2, &["nothing happened in this window", span]);
    }
    expect(&draw(&["--from=-1"]), 2, &["milliseconds count from 0"]);
    expect(&draw(&["--from", "soon"]), 2, &["not a number of milliseconds"]);
    let nowhere = ["history", "draw", ".", "-o", "no/such/run.svg"];
    expect(&dir.vsync(&nowhere), 2, &["cannot write no/such/run.svg: ", "os error"]);
    let over = ["history", "draw", ".", "-o", "a.jsonl"];
    expect(&dir.vsync(&over), 2, &["a.jsonl is the name of a history"]);
    assert_eq!(fs::read(dir.0.join("a.jsonl")).expect("a file"), alone("a", 3).as_bytes());
    fs::create_dir(dir.0.join("folder")).expect("a directory");
    let folder = ["history", "draw", ".", "-o", "folder"];
    expect(&dir.vsync(&folder), 2, &["cannot write folder: ", "os error"]);
    assert!(!dir.0.join("run.svg").exists());
    expect(&dir.vsync(&["history", "draw", "."]), 2, &["--output"]);
    let start = alone("a", 1).lines().next().expect("a line").to_owned();
    let dir = Dir::with(&[("a.jsonl", &start)]);
    expect(&dir.vsync(DRAW), 2, &["no group has left a line"]);
}

#[test]
fn it_says_how_it_is_used() {
    let dir = Dir::new();
    expect(&dir.vsync(&["history", "--help"]), 0, &["check", "draw"]);
    expect(&dir.vsync(&[]), 2, &["Usage: vsync"]);
    expect(&dir.vsync(&["history", "chek", "."]), 2, &["chek"]);
}
