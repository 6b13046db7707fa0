//! Results that follow each other on a terminal, each in the place of the one before.
//!
//! Only three things are asked of the terminal (ECMA-48): the cursor to the first line, clearing from there to the end, and
//! going on at the next line. The cursor is never hidden and no mode is changed, so whatever ends iotrace, and whenever,
//! there is nothing to restore.

use super::page::{clip, columns};
use super::units::count;

/// The cursor to the first line (`CUP`), and clear from there to the end of the screen (`ED`).
const ANEW: &str = "\x1b[H\x1b[J";
/// Before the first result, so that the lines that were on the screen go where the terminal keeps those that left it.
const NEXT: char = '\n';

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub lines: usize,
    /// Columns.
    pub columns: usize,
}

/// A terminal on which results take the place of each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Screen {
    is_drawn: bool,
}

impl Screen {
    /// What to write so that the terminal shows `text` from its first line on, and nothing else. A text that is longer than
    /// the terminal ends with a line that says how much of it is hidden. The cursor is below it.
    pub fn draw(&mut self, text: &str, size: Size) -> String {
        let mut out = String::with_capacity(text.len() + 64);
        if !self.is_drawn {
            out.extend(std::iter::repeat_n(NEXT, size.lines));
        }
        self.is_drawn = true;
        out += ANEW;
        let lines: Vec<&str> = text.trim_end_matches('\n').lines().collect();
        // One is for the cursor.
        let room = size.lines.saturating_sub(1).max(1);
        let heights: Vec<usize> = lines.iter().map(|line| height(line, size.columns)).collect();
        let shown = match heights.iter().sum::<usize>() <= room {
            true => lines.len(),
            false => fitting(&heights, room - 1),
        };
        for line in &lines[..shown] {
            out += line;
            out.push(NEXT);
        }
        if shown < lines.len() {
            let hidden = (lines.len() - shown) as u64;
            let note = match hidden {
                1 => "… 1 more line: the terminal is too small".to_owned(),
                hidden => format!("… {} more lines: the terminal is too small", count(hidden)),
            };
            out += &clip(&note, size.columns);
            out.push(NEXT);
        }
        out
    }
}

/// How many of the first lines fit into so much room.
fn fitting(heights: &[usize], room: usize) -> usize {
    let mut used = 0;
    heights
        .iter()
        .take_while(|&&height| {
            used += height;
            used <= room
        })
        .count()
}

/// Lines of the terminal that a line of text takes.
fn height(line: &str, width: usize) -> usize {
    columns(&plain(line)).div_ceil(width.max(1)).max(1)
}

/// The line without its colours: the only sequences that a report has (`paint.rs`).
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        text += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { lines: 5, columns: 20 };

    /// What such a terminal shows then, and the line of its cursor.
    fn shown(written: &str, size: Size) -> (Vec<String>, usize) {
        let mut screen = vec![String::new(); size.lines];
        let (mut row, mut column) = (0, 0);
        let mut rest = written;
        while let Some(next) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("\x1b[H") {
                (row, column, rest) = (0, 0, after);
                continue;
            }
            if let Some(after) = rest.strip_prefix("\x1b[J") {
                screen[row..].iter_mut().for_each(String::clear);
                rest = after;
                continue;
            }
            if let Some(after) = rest.strip_prefix("\x1b[") {
                rest = after.split_once('m').expect("a colour").1;
                continue;
            }
            if next == '\n' || column == size.columns {
                (row, column) = (row + 1, 0);
                if row == size.lines {
                    screen.remove(0);
                    screen.push(String::new());
                    row -= 1;
                }
            }
            if next != '\n' {
                screen[row].push(next);
                column += 1;
            }
            rest = &rest[next.len_utf8()..];
        }
        (screen, row)
    }

    #[test]
    fn each_result_takes_the_place_of_the_one_before() {
        let mut screen = Screen::default();
        let mut written = format!("$ iotrace\n{}", screen.draw("one\ntwo\nthree\n", SMALL));
        assert_eq!(shown(&written, SMALL), (["one", "two", "three", "", ""].map(String::from).to_vec(), 3));
        written += &screen.draw("four\n\n", SMALL);
        assert_eq!(shown(&written, SMALL), (["four", "", "", "", ""].map(String::from).to_vec(), 1));
        assert_eq!(written.matches(ANEW).count(), 2);
    }

    #[test]
    fn what_was_on_the_screen_leaves_it_by_the_top() {
        let written = Screen::default().draw("one", SMALL);
        let until = written.split(ANEW).next().expect("something comes before");
        assert_eq!(until, "\n".repeat(SMALL.lines));
    }

    #[test]
    fn a_small_terminal_says_how_much_it_hides_and_never_scrolls() {
        for lines in 1..9 {
            let size = Size { lines, columns: 70 };
            let text: String = (1..=6).map(|n| format!("line {n}\n")).collect();
            let (screen, cursor) = shown(&Screen::default().draw(&text, size), size);
            if lines >= 7 {
                assert_eq!((screen[5].as_str(), cursor), ("line 6", 6));
            } else if lines > 1 {
                let hidden = 6 - (lines - 2);
                assert!(screen[lines - 2].starts_with(&format!("… {hidden} more lines")), "{screen:?}");
                assert_eq!(cursor, lines - 1);
                assert!(lines < 3 || screen[0] == "line 1", "{screen:?}");
            }
        }
        let (screen, _) = shown(&Screen::default().draw("1\n2\n3\n4\n5", SMALL), SMALL);
        assert_eq!(
            screen,
            ["1", "2", "3", "… 2 more lines: the…"]
                .map(String::from)
                .to_vec()
                .into_iter()
                .chain([String::new()])
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_line_that_is_wider_than_the_terminal_takes_several() {
        let size = Size { lines: 4, columns: 10 };
        let wide = format!("\x1b[1m{}\x1b[0m\nnext\nlast", "x".repeat(20));
        let (screen, _) = shown(&Screen::default().draw(&wide, size), size);
        assert_eq!(screen, ["xxxxxxxxxx", "xxxxxxxxxx", "… 2 more …", ""]);
        assert_eq!(height("", 10), 1);
        assert_eq!(height(&"日".repeat(5), 10), 1);
        assert_eq!(height(&"x".repeat(11), 10), 2);
    }

    #[test]
    fn no_mode_of_the_terminal_is_changed() {
        let mut screen = Screen::default();
        let written: String = (0..3).map(|_| screen.draw("a\nb\n", SMALL)).collect();
        let left = written.replace(ANEW, "");
        assert!(!left.contains('\x1b') && !written.contains("\x1b[?"), "{written:?}");
    }
}
