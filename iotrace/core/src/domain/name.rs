//! Names that others chose: of processes, threads, files and sockets. To the kernel they are bytes, of which any but
//! zero may occur. [`of`] makes text of them and loses none; [`harmless`] makes text fit for a screen.

use std::borrow::Cow;
use std::fmt::Write;

/// What a character is shown as that a screen must not get.
const INSTEAD: char = '?';
/// Most characters in a row that take no column of their own. Real scripts need up to three on one letter; a name with
/// hundreds covers the lines above and below.
const MOST_ON_ONE: usize = 4;

/// A name as text. What is not UTF-8 becomes `\xNN`, byte by byte, and so does a backslash that would look like the
/// beginning of that: names that differ stay different, and [`bytes`] gives the name back.
pub fn of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find("\\x") {
            let (before, from) = rest.split_at(at);
            text.push_str(before);
            text.push_str(if escaped(from).is_some() { "\\x5c" } else { "\\" });
            rest = &from[1..];
        }
        text.push_str(rest);
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The bytes of a name that [`of`] made text of.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        let (before, from) = rest.split_at(at);
        bytes.extend(before.as_bytes());
        let byte = escaped(from);
        bytes.push(byte.unwrap_or(b'\\'));
        rest = &from[if byte.is_some() { 4 } else { 1 }..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// The byte that `\xNN` at the beginning of a text stands for.
fn escaped(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("\\x")?.get(..2)?;
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.bytes().all(lower).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// A path as text, of a long one the beginning and the end: thousands are kept, and the kernel takes up to 4,096 bytes.
pub fn of_path(path: &[u8]) -> String {
    const HEAD: usize = 200;
    const TAIL: usize = 300;
    if path.len() <= HEAD + TAIL {
        return of(path);
    }
    format!("{}...{}", of(&path[..HEAD]), of(&path[path.len() - TAIL..]))
}

/// Whether a character leaves a terminal, a browser, and the order and place of the text beside it as they are.
pub fn is_harmless(c: char) -> bool {
    !matches!(c,
        // Control characters; Cc of Unicode.
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        // Order of reading: a name that looks like another (Unicode Technical Report #36, 3.3).
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Line and paragraph separators.
        | '\u{2028}' | '\u{2029}'
        // Seen by nobody: soft hyphen, joiners, fillers, marks of order, tags; Default_Ignorable_Code_Point, without the
        // variation selectors of emoji, and with the pattern of Braille that has no dot.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{2800}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}'
        // No characters at all, and none of XML.
        | '\u{fffe}' | '\u{ffff}')
}

/// Text that is fit for a line of a screen: every character that is not harmless is shown as `?`, so that it takes one
/// column, and marks that pile up on one letter are cut off.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if marked(text).all(|(_, fits)| fits) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(marked(text).map(|(c, fits)| if fits { c } else { INSTEAD }).collect())
}

/// Each character of a text, and whether it may be shown where it stands.
fn marked(text: &str) -> impl Iterator<Item = (char, bool)> {
    text.chars().scan(0, |piled, c| {
        *piled = if takes_a_column(c) { 0 } else { *piled + 1 };
        Some((c, is_harmless(c) && *piled <= MOST_ON_ONE))
    })
}

fn takes_a_column(c: char) -> bool {
    unicode_width::UnicodeWidthChar::width(c) != Some(0)
}

/// Several lines for a screen, each [`harmless`]: messages of iotrace, which break lines themselves.
pub fn harmless_lines(text: &str) -> Cow<'_, str> {
    if text.split('\n').all(|line| matches!(harmless(line), Cow::Borrowed(_))) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split('\n').map(harmless).collect::<Vec<_>>().join("\n"))
}

/// A name for a sentence of iotrace: harmless, on one line, and not longer than a line.
pub fn in_a_sentence(bytes: &[u8]) -> String {
    /// Bytes of the longest path that the kernel takes (`PATH_MAX`).
    const MOST: usize = 4096;
    let whole = of(&bytes[..bytes.len().min(MOST)]);
    let more = if bytes.len() > MOST { "..." } else { "" };
    format!("{}{more}", harmless(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        let names: [&[u8]; 8] = [
            b"plain",
            b"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98",
            b"\\xff and \xff",
            b"\\x5cxff",
            b"\\\\x41\\x4",
            b"\\x\xc3\xa9",
            "C:\\xyz\\é".as_bytes(),
            b"\\xF0",
        ];
        let texts: Vec<String> = names.iter().map(|name| of(name)).collect();
        for (name, text) in names.iter().zip(&texts) {
            assert_eq!(bytes(text), *name, "{text}");
        }
        assert_eq!(texts[1], "😀😀😀\\xf0\\x9f\\x98");
        assert_eq!(texts[2], "\\x5cxff and \\xff", "what looks like an escape is told from one");
        assert_eq!(texts[6], "C:\\xyz\\é", "a backslash alone stays as it is");
    }

    #[test]
    fn what_steers_hides_or_turns_text_is_not_shown() {
        let kinds = "\x1b \x7f \u{9b} \u{202e} \u{2067} \u{200f} \u{61c} \u{200b} \u{200d} \u{2060} \u{feff} \u{2028} \
                     \u{2029} \u{e0041} \u{ad} \u{fffe} \n \r \t \0";
        assert_eq!(harmless(kinds), "? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ?");
        for plain in ["nginx: worker", "日本語", "naïve", "e\u{301}t", "☁\u{fe0f}", "C:\\x", "a  b"] {
            assert_eq!(harmless(plain), plain);
        }
    }

    #[test]
    fn marks_do_not_pile_up() {
        let piled = format!("a{}b", "\u{301}".repeat(100));
        let shown = harmless(&piled);
        assert_eq!(shown.chars().filter(|c| *c == '\u{301}').count(), MOST_ON_ONE);
        assert!(shown.ends_with("?b"));
    }

    #[test]
    fn a_message_keeps_its_lines_and_a_name_in_it_has_one() {
        assert_eq!(harmless_lines("one\ntwo\x1b[2J"), "one\ntwo?[2J");
        assert_eq!(in_a_sentence(b"evil\niotrace: all is well\xff"), "evil?iotrace: all is well\\xff");
        assert!(in_a_sentence(&[b'a'; 9000]).len() < 4200);
        let long = [&b"/srv/"[..], &[0xff; 4000], b"/last"].concat();
        let path = of_path(&long);
        assert!(path.starts_with("/srv/") && path.ends_with("/last") && path.len() < 2_100, "{}", path.len());
    }
}
