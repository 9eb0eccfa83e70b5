//! What programs and checks print, as the book shows it.

use std::path::Path;

/// Compares with the book's copy; `UPDATE_BOOK=1` writes that anew.
pub(crate) fn keep(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/src/tutorials/output");
    let path = folder.join(name);
    let text = format!("{}\n", text.trim_end());
    if std::env::var_os("UPDATE_BOOK").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let there = std::fs::read_to_string(&path).expect("the book's copy");
    assert!(there == text, "UPDATE_BOOK=1 writes {name} anew:\n{text}");
}
