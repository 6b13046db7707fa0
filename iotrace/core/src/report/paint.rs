//! Colour. It is added last and character by character, so that it cannot change the layout.

/// The kind of a line, which decides its colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Ordinary text.
    Plain,
    /// The title of a part of the report.
    Title,
    /// An explanation that experienced readers skip.
    Dim,
    /// Something that no reader must miss.
    Alert,
    /// Text with the words blocked, polling, free.
    Words,
    /// A bar of the parts of a call.
    Parts,
    /// A bar of what a thread did in a phase.
    Doing,
}

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BLUE: &str = "\x1b[34m";
const MAGENTA: &str = "\x1b[35m";
const CYAN: &str = "\x1b[36m";

/// The line with its colours.
pub fn paint(style: Style, line: &str) -> String {
    match style {
        Style::Plain => line.to_owned(),
        Style::Title => format!("{BOLD}{line}{RESET}"),
        Style::Dim => format!("{DIM}{line}{RESET}"),
        Style::Alert => format!("{BOLD}{RED}{line}{RESET}"),
        Style::Words => words(line),
        Style::Parts => glyphs(line, part),
        Style::Doing => words(&glyphs(line, doing)),
    }
}

fn part(glyph: char) -> Option<&'static str> {
    match glyph {
        '░' => Some(BLUE),
        '▒' => Some(MAGENTA),
        '▓' => Some(RED),
        '█' => Some(CYAN),
        '▄' => Some(YELLOW),
        '▚' => Some(YELLOW),
        '·' => Some(GREEN),
        _ => None,
    }
}

fn doing(glyph: char) -> Option<&'static str> {
    match glyph {
        '█' => Some(RED),
        '▚' => Some(YELLOW),
        '·' => Some(GREEN),
        _ => None,
    }
}

fn glyphs(line: &str, color: fn(char) -> Option<&'static str>) -> String {
    let mut text = String::with_capacity(line.len() * 2);
    let mut now = None;
    for glyph in line.chars() {
        let next = color(glyph);
        if next != now {
            if now.is_some() {
                text.push_str(RESET);
            }
            text.push_str(next.unwrap_or_default());
            now = next;
        }
        text.push(glyph);
    }
    if now.is_some() {
        text.push_str(RESET);
    }
    text
}

fn words(line: &str) -> String {
    [("blocked", RED), ("polling", YELLOW), ("free", GREEN)]
        .iter()
        .fold(line.to_owned(), |line, (word, color)| line.replace(word, &format!("{color}{word}{RESET}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_changes_nothing_but_colour() {
        let line = "  free ███▚▚·· 1.02 ms blocked";
        for style in [Style::Plain, Style::Title, Style::Alert, Style::Words, Style::Parts, Style::Doing] {
            let mut text = paint(style, line);
            for code in [RESET, BOLD, DIM, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN] {
                text = text.replace(code, "");
            }
            assert_eq!(text, line);
        }
    }

    #[test]
    fn one_escape_a_run_of_equal_glyphs() {
        assert_eq!(paint(Style::Doing, "██·"), format!("{RED}██{RESET}{GREEN}·{RESET}"));
    }
}
