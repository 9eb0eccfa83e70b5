//! Writing SVG: elements, numbers, text.

use std::fmt::Write;

/// Sizes of text; the style sheet has the same. A book shows pictures smaller than they are: what
/// is smaller than this cannot be read there.
pub(super) const TITLE: f64 = 18.0;
/// Names of processes.
pub(super) const NAME: f64 = 14.0;
/// Legend and views.
pub(super) const PLAIN: f64 = 13.0;
/// Labels and numbers.
pub(super) const SMALL: f64 = 12.0;

/// A document that grows.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    text: String,
}

/// Where text stands relative to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    /// To the right of it.
    Start,
    /// Around it.
    Middle,
    /// To the left of it.
    End,
}

impl Sheet {
    /// Adds text as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// An element without a tooltip.
    pub(super) fn element(&mut self, element: &str) {
        let _ = writeln!(self.text, "<{element}/>");
    }

    /// An element with a tooltip.
    pub(super) fn told(&mut self, element: &str, tooltip: &str) {
        let name = element.split(' ').next().unwrap_or_default();
        let tooltip = escape(tooltip);
        let _ = writeln!(self.text, "<{element}><title>{tooltip}</title></{name}>");
    }

    /// A line of text.
    pub(super) fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let (x, y, text) = (number(at.0), number(at.1), escape(text));
        let _ =
            writeln!(self.text, r#"<text class="{class}" x="{x}" y="{y}"{anchor}>{text}</text>"#);
    }

    /// The document so far.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Text that is no markup. Characters that XML does not have are replaced.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A coordinate, to a tenth of a pixel.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// About how wide text is in a font of this size.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.56
}

/// Text that is about as wide as this at most.
pub(super) fn cut(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let room = (most / (size * 0.56)) as usize;
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_do_not_get_through() {
        assert_eq!(escape("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
        assert_eq!(escape("a\u{1}\n\u{ffff}b"), "a\u{fffd} \u{fffd}b");
        let mut sheet = Sheet::default();
        sheet.told(r#"circle class="x""#, "</title><script>");
        sheet.text("y", (1.0, 2.04), Anchor::Middle, "<tspan>");
        let text = sheet.finish();
        assert!(!text.contains("<script>") && !text.contains("<tspan>"), "{text}");
        assert!(text.contains(r#"x="1" y="2""#), "{text}");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(cut("short", 10.0, 100.0), "short");
        assert_eq!(cut(&"m".repeat(50), 10.0, 60.0), format!("{}…", "m".repeat(9)));
    }
}
