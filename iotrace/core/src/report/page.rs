//! The lines of a report before they are written. No line is wider than the page, and what a name of a file or a process
//! has in it to steer the terminal, or to look like another, is replaced ([`harmless`]).

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::MAX_WIDTH;
use super::paint::{Style, paint};
use crate::domain::name::harmless;

/// Columns of the narrowest page: wrapped text would be unreadable on a narrower one.
const MIN_WIDTH: usize = 60;

/// The lines of a report, each with its style.
pub struct Page {
    width: usize,
    lines: Vec<(Style, String)>,
}

impl Page {
    /// An empty page for a terminal of `width` columns.
    pub fn new(width: usize) -> Self {
        Self { width: width.clamp(MIN_WIDTH, MAX_WIDTH), lines: Vec::new() }
    }

    /// Columns for text and bars.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Adds one line.
    pub fn line(&mut self, style: Style, text: impl AsRef<str>) {
        self.lines.push((style, clip(text.as_ref().trim_end(), MAX_WIDTH)));
    }

    /// Adds an empty line.
    pub fn gap(&mut self) {
        self.lines.push((Style::Plain, String::new()));
    }

    /// Adds text broken at spaces. The first line begins with `first`; the other lines are indented by its width.
    pub fn wrap(&mut self, style: Style, first: &str, text: &str) {
        let indent = " ".repeat(columns(first));
        let room = self.width.saturating_sub(indent.len()).max(1);
        let mut line = first.to_owned();
        let mut empty = true;
        for word in text.split_whitespace().flat_map(|word| pieces(word, room)) {
            if !empty && columns(&line) + 1 + columns(&word) > self.width {
                self.line(style, &line);
                line.clone_from(&indent);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(&word);
            empty = false;
        }
        self.line(style, &line);
    }

    /// Writes all lines, with ANSI colours if `color`.
    ///
    /// # Errors
    /// `out` could not be written.
    pub fn write(&self, color: bool, out: &mut dyn Write) -> io::Result<()> {
        for (style, line) in &self.lines {
            if color && !line.is_empty() {
                writeln!(out, "{}", paint(*style, line))?;
            } else {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }
}

/// A word in pieces of at most `room` columns. It is split and not clipped, because a path in a warning is of use only
/// if it is complete.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = word;
    while !rest.is_empty() {
        let head = prefix(rest, room);
        // A character that is wider than the room stands alone.
        let at = if head.is_empty() { rest.chars().next().map_or(0, char::len_utf8) } else { head.len() };
        pieces.push(rest[..at].to_owned());
        rest = &rest[at..];
    }
    pieces
}

/// Columns that the text takes in a terminal (Unicode Standard Annex #11): East Asian wide characters and emoji take
/// two, combining characters none. What is replaced on the page takes one.
pub fn columns(text: &str) -> usize {
    UnicodeWidthStr::width(&*harmless(text))
}

/// The longest beginning of the text that takes at most `width` columns.
fn prefix(text: &str, width: usize) -> &str {
    // A character may change how wide the one before it is shown, so beginnings are measured, not characters.
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|&end| columns(&text[..end]) <= width).last().unwrap_or(0);
    &text[..end]
}

/// The text, harmless, cut to at most `width` columns; `…` marks a cut.
pub fn clip(text: &str, width: usize) -> String {
    let text = harmless(text);
    if columns(&text) <= width {
        text.into_owned()
    } else {
        format!("{}…", prefix(&text, width.saturating_sub(1)))
    }
}

/// The text, clipped or filled up to exactly `width` columns.
pub fn fit(text: &str, width: usize) -> String {
    let text = clip(text, width);
    let fill = width.saturating_sub(columns(&text));
    text + &" ".repeat(fill)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_counts_what_a_terminal_shows() {
        assert_eq!(clip("recvfrom", 8), "recvfrom");
        assert_eq!(clip("io_uring_enter", 8), "io_urin…");
        assert_eq!(columns(&fit("日本語日本語", 7)), 7);
    }

    #[test]
    fn wide_and_combining_characters_take_the_columns_of_a_terminal() {
        assert_eq!(
            (columns("日本"), columns("e\u{301}"), columns("👩🔬"), columns("☁\u{fe0f}")),
            (4, 1, 4, 2)
        );
        assert_eq!(columns("👩\u{200d}🔬"), 5, "a joiner is replaced");
        assert_eq!(clip("日本語", 4), "日…");
        assert_eq!(fit("e\u{301}t", 3), "e\u{301}t ");
        assert_eq!(pieces("日本語", 3), ["日", "本", "語"]);
        assert_eq!(pieces("日本", 1), ["日", "本"]);
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut page = Page::new(100);
        page.line(Style::Plain, "fd \x1b[2J\n/tmp");
        page.line(Style::Plain, "gpj.\u{202e}exe \u{200b} \u{2028} \u{9b}2J");
        assert_eq!([&page.lines[0].1, &page.lines[1].1], ["fd ?[2J?/tmp", "gpj.?exe ? ? ?2J"]);
    }

    #[test]
    fn text_is_broken_at_spaces_and_indented() {
        let mut page = Page::new(60);
        page.wrap(Style::Plain, "note: ", &"word ".repeat(30));
        assert!(page.lines.iter().all(|(_, line)| columns(line) <= 60));
        assert!(page.lines[1].1.starts_with("      word"));
        let mut page = Page::new(60);
        page.wrap(Style::Plain, "note: ", &"/path".repeat(30));
        let whole: String = page.lines.iter().map(|(_, line)| &line[6..]).collect();
        assert_eq!(whole, "/path".repeat(30));
    }
}
