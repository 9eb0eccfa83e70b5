//! The page of the book that lists what `#[replicated]` says: it is made of the cases in `ui/`.
//!
//! `UPDATE_BOOK=1 cargo test -p vsync-tests --test macro_errors` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const HEAD: &str = "\
# Errors of the macro

What `#[replicated]` says, where it points, and what to do about it. All errors of an item come in
one pass, and what stands behind one is not reported for its sake. This page is made of the
compiler's own words in `tests/ui/`, and a test compares it.
";

/// What a case is about, its first line; and what to do about it, the lines behind that.
fn title_and_cure(case: &Path) -> (String, String) {
    let source = fs::read_to_string(case).expect("a case");
    let mut words = source.lines().map_while(|line| line.strip_prefix("//! "));
    let title = words.next().expect("a case begins with what it is about").trim_end_matches('.');
    let cure = words.collect::<Vec<_>>().join("\n");
    let cure = cure.strip_prefix("Cure: ").filter(|cure| cure.ends_with('.'));
    let cure = cure.unwrap_or_else(|| panic!("{}: no `//! Cure: …`", case.display()));
    let mut letters = cure.chars();
    let first = letters.next().map_or(String::new(), |first| first.to_uppercase().to_string());
    (title.to_owned(), first + letters.as_str())
}

/// The code that an error points at: after its place and an empty margin, a line of code and a line
/// of marks, without their margin and without common indentation.
fn pointed(lines: &[&str]) -> Option<(String, String)> {
    let code =
        lines.iter().position(|line| line.contains(" | ") && !line.trim().starts_with('|'))?;
    let text = |line: &str| line.split_once('|').map(|(_, text)| text.to_owned());
    let (code, marks) = (text(lines[code])?, text(lines.get(code + 1)?)?);
    let indent = code.len() - code.trim_start().len();
    // What rustc itself has to add behind the marks is said above them already.
    let end = marks.rfind(['^', '-'])? + 1;
    Some((code[indent..].to_owned(), marks.get(indent..end)?.to_owned()))
}

/// The page, as it should be.
fn page() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let files = fs::read_dir(folder).expect("the cases");
    let mut cases: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "stderr"));
    cases.sort();
    let mut page = HEAD.to_owned();
    for case in cases {
        let said = fs::read_to_string(&case).expect("what is said");
        let (title, cure) = title_and_cure(&case.with_extension("rs"));
        let _ = write!(page, "\n## {title}\n\n{cure}\n\n```text\n");
        let lines: Vec<&str> = said.lines().collect();
        let errors = lines.iter().enumerate().filter(|(_, line)| line.starts_with("error"));
        let starts: Vec<usize> = errors.map(|(at, _)| at).collect();
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(lines.len());
            let gap = if index > 0 { "\n" } else { "" };
            let _ = writeln!(page, "{gap}{}", lines[*start]);
            if let Some((code, marks)) = pointed(&lines[start + 1..end]) {
                let _ = writeln!(page, "    {code}\n    {marks}");
            }
        }
        page.push_str("```\n");
    }
    page
}

#[test]
fn the_page_of_errors_is_what_the_compiler_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/src/errors-of-the-macro.md");
    let page = page();
    assert!(page.matches("\n## ").count() > 20 && page.matches("\nerror").count() > 80, "{page}");
    if std::env::var_os("UPDATE_BOOK").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let there = fs::read_to_string(&path).expect("the page");
    assert!(there == page, "UPDATE_BOOK=1 writes book/src/errors-of-the-macro.md anew");
}
