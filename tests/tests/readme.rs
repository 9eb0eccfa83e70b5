//! The papers are true of the code: links lead somewhere, snippets exist, and the pages that list
//! names of the code list all of them. (That the README shows `quickstart.rs` is tested there.)

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("this package");
    tests.parent().expect("the workspace").to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Markdown files that are papers of this project.
fn papers() -> Vec<PathBuf> {
    let root = root();
    let mut folders = vec![root.join("book/src")];
    let mut found: Vec<PathBuf> = markdown_in(&root);
    while let Some(folder) = folders.pop() {
        found.extend(markdown_in(&folder));
        let entries = fs::read_dir(&folder).expect("a folder of the book");
        folders.extend(entries.map(|e| e.expect("an entry").path()).filter(|p| p.is_dir()));
    }
    found.sort();
    found
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|e| e.expect("an entry").path());
    paths.filter(|p| p.extension().is_some_and(|e| e == "md")).collect()
}

/// The lines between `ANCHOR: name` and `ANCHOR_END: name`, without their common indentation.
fn anchored(source: &str, name: &str) -> Option<String> {
    let (start, end) = (format!("// ANCHOR: {name}"), format!("// ANCHOR_END: {name}"));
    let mut lines = source.lines().skip_while(|l| l.trim() != start);
    lines.next()?;
    let body: Vec<&str> = lines.take_while(|l| l.trim() != end).collect();
    let filled = body.iter().filter(|l| !l.trim().is_empty());
    let indent = filled.map(|l| l.len() - l.trim_start().len()).min()?;
    Some(body.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", line.get(indent..).unwrap_or("").trim_end());
        text
    }))
}

#[test]
fn readme_names_the_two_commands() {
    let readme = read(&root().join("README.md"));
    for command in ["cargo run --release -p vsync-examples --bin atc", "cargo test"] {
        assert!(readme.lines().any(|line| line == command), "the README lacks `{command}`");
    }
}

/// Targets of `[text](target)`, outside of code.
fn links(markdown: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let Some(end) = rest.find(')') else { break };
            targets.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    targets
}

/// The anchors that a page's headings make.
fn headings(markdown: &str) -> Vec<String> {
    let titles = markdown.lines().filter(|l| l.starts_with('#'));
    let slug = |title: &str| -> String {
        let kept = title.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    titles.map(slug).collect()
}

#[test]
fn links_lead_somewhere() {
    let book = root().join("book/src").canonicalize().expect("the book");
    let mut broken = Vec::new();
    for paper in papers() {
        for link in links(&read(&paper)) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = paper.parent().expect("the paper's folder");
            let target = if file.is_empty() { paper.clone() } else { folder.join(file) };
            let heading_there = || headings(&read(&target)).iter().any(|h| h == heading);
            // What is outside of the book's folder is not in the book that is read.
            let inside = !paper.starts_with(&book)
                || target.canonicalize().is_ok_and(|target| target.starts_with(&book));
            if !target.exists() || !inside || (!heading.is_empty() && !heading_there()) {
                broken.push(format!("{}: {link}", paper.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn book_lists_every_page_and_its_snippets_exist() {
    let book = root().join("book/src");
    let summary = read(&book.join("SUMMARY.md"));
    for page in papers().iter().filter(|p| p.starts_with(&book)) {
        let name = page.strip_prefix(&book).expect("a page of the book").display().to_string();
        let listed = name == "SUMMARY.md" || summary.contains(&format!("({name})"));
        assert!(listed, "{name} is not in SUMMARY.md");
        for include in read(page).split("{{#include ").skip(1) {
            let include = include.split("}}").next().unwrap_or_default().trim();
            let (file, anchor) = include.split_once(':').expect("file:anchor");
            let source = read(&page.parent().expect("the page's folder").join(file));
            let lines = anchor.starts_with(|c: char| c.is_ascii_digit());
            let found = lines || anchored(&source, anchor).is_some();
            assert!(found, "{name}: no anchor in {include}");
        }
    }
}

#[test]
fn paths_that_papers_name_exist() {
    let root = root();
    let floors = ["vsync/", "vsync-macros/", "vsync-net/", "examples/", "tests/", "book/", ".ci/"];
    let mut missing = Vec::new();
    for paper in papers() {
        for quoted in read(&paper).split('`').skip(1).step_by(2) {
            let ours = floors.iter().any(|floor| quoted.starts_with(floor));
            if ours && !quoted.contains(char::is_whitespace) && !root.join(quoted).exists() {
                missing.push(format!("{}: {quoted}", paper.display()));
            }
        }
    }
    assert!(missing.is_empty(), "papers name what is not there:\n{}", missing.join("\n"));
}

/// Variants of the public enums of a source file, as `(enum, variant)`.
fn variants(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut current: Option<String> = None;
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("pub enum ").filter(|rest| !rest.ends_with('}')) {
            let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            current = Some(name.to_owned());
        } else if line == "}" {
            current = None;
        } else if let Some(of) = &current {
            // Variants stand four columns in; their fields, comments and attributes do not count.
            let Some(rest) = line.strip_prefix("    ") else {
                continue;
            };
            if rest.starts_with(|c: char| c.is_ascii_uppercase()) {
                let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                found.push((of.clone(), name.to_owned()));
            }
        }
    }
    found
}

#[test]
fn operations_page_names_every_error() {
    let page = read(&root().join("book/src/operations.md"));
    let source = |file: &str| read(&root().join("vsync/src").join(file));
    let mut errors = variants(&source("error.rs"));
    errors.extend(variants(&source("error/start.rs")));
    let asking = variants(&source("ask.rs"));
    errors.extend(asking.into_iter().filter(|(of, _)| of == "AskError" || of == "Missing"));
    errors.extend(variants(&source("report.rs")).into_iter().filter(|(of, _)| of == "ReportError"));
    assert!(errors.iter().any(|(of, _)| of == "StartError"), "it has moved: {errors:?}");
    assert!(errors.len() > 20, "the errors have moved: {errors:?}");
    for file in ["activation", "state", "timer", "replicated", "group", "view", "events"] {
        errors.extend(variants(&source(&format!("{file}.rs"))));
    }
    let io = variants(&read(&root().join("vsync/core/src/engine/io.rs")));
    errors.extend(io.into_iter().filter(|(of, _)| of == "DropReason"));
    assert!(errors.len() > 90, "the errors have moved: {errors:?}");
    for (of, variant) in errors {
        let name = format!("`{of}::{variant}`");
        assert!(page.contains(&name), "book/src/operations.md does not explain {name}");
    }
}

#[test]
fn testing_page_names_every_planted_bug() {
    let page = read(&root().join("book/src/testing.md"));
    let bugs = variants(&read(&root().join("vsync/core/src/bugs.rs")));
    assert!(bugs.len() >= 10, "the bug bank has moved: {bugs:?}");
    for (_, bug) in bugs {
        let row = format!("| `{bug}` |");
        assert!(page.contains(&row), "book/src/testing.md does not list {bug}");
    }
}

#[test]
fn protocol_pages_have_one_form_and_share_the_planted_bugs() {
    let folder = root().join("book/src/protocol");
    let mut pages = String::new();
    for floor in ["wire", "ordering", "multicast", "membership", "group", "engine"] {
        let page = read(&folder.join(format!("{floor}.md")));
        let parts: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let form =
            ["Requires", "Guarantees", "Messages", "At install", "At crash", "Checker"].as_slice();
        assert_eq!(parts, form, "{floor}");
        let sources = fs::read_dir(root().join("vsync/core/src").join(floor)).expect("a floor");
        for source in sources {
            let name = source.expect("a file").file_name().display().to_string();
            assert!(page.contains(&format!("`{name}`")) || name == "mod.rs", "{floor}: {name}");
        }
        pages += &page;
    }
    for (_, bug) in variants(&read(&root().join("vsync/core/src/bugs.rs"))) {
        let rows = pages.matches(&format!("| `{bug}` |")).count();
        assert_eq!(rows, 1, "a planted bug stands on one page of the protocol: {bug}");
    }
}

#[test]
fn guarantees_page_names_every_checker() {
    let page = read(&root().join("book/src/guarantees.md"));
    let folder = root().join("vsync/history/src/properties");
    let files = fs::read_dir(&folder).expect("the properties");
    let mut names: Vec<String> = files
        .map(|file| file.expect("an entry").path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| !matches!(name.as_str(), "mod" | "story"))
        .collect();
    names.sort();
    assert!(names.len() >= 9, "the checkers have moved: {names:?}");
    for name in names {
        let row = format!("| `{name}` |");
        assert!(page.contains(&row), "book/src/guarantees.md does not list the checker {name}");
    }
}
