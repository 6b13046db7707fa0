//! A document as JSON. What a terminal must not get as it is, JSON allows in its strings; here it is escaped, since
//! people look at JSON on terminals. Whoever parses it gets the name as it was.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::domain::name::is_harmless;
use crate::summary::Document;

/// Writes the document, indented, and a newline.
///
/// # Errors
/// `out` could not be written.
pub fn pretty(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    document.serialize(&mut Serializer::with_formatter(&mut *out, Indent::default()))?;
    writeln!(out)
}

/// Writes the document on one line, for streams of documents.
///
/// # Errors
/// `out` could not be written.
pub fn line(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    document.serialize(&mut Serializer::with_formatter(&mut *out, Compact))?;
    writeln!(out)
}

/// Writes a part of a string that JSON takes as it is.
fn fragment<W: ?Sized + Write>(out: &mut W, text: &str) -> io::Result<()> {
    let mut plain = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| !is_harmless(*c)) {
        out.write_all(&text.as_bytes()[plain..at])?;
        for half in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{half:04x}")?;
        }
        plain = at + c.len_utf8();
    }
    out.write_all(&text.as_bytes()[plain..])
}

/// Everything on one line.
struct Compact;

impl Formatter for Compact {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        fragment(out, text)
    }
}

/// Indents objects, also those in arrays, and keeps numbers in arrays on one line. With the usual indentation each
/// bucket of a histogram would take four lines, and the buckets most of the document.
#[derive(Default)]
struct Indent {
    depth: usize,
    /// Whether the next value is an element of an array.
    element: bool,
    /// For each open array: whether it holds an object.
    arrays: Vec<bool>,
    empty: bool,
}

impl Indent {
    fn new_line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        write!(out, "\n{:1$}", "", 2 * self.depth)
    }
}

impl Formatter for Indent {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        fragment(out, text)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.arrays.push(false);
        out.write_all(b"[")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.element = true;
        if first { Ok(()) } else { out.write_all(b",") }
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.arrays.pop() == Some(true) {
            self.new_line(out)?;
        }
        out.write_all(b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if let (true, Some(holds_object)) = (self.element, self.arrays.last_mut()) {
            *holds_object = true;
            self.new_line(out)?;
        }
        self.depth += 1;
        self.empty = true;
        out.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        self.empty = false;
        self.new_line(out)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.element = false;
        out.write_all(b": ")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if !self.empty {
            self.new_line(out)?;
        }
        self.empty = false;
        out.write_all(b"}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_terminal_is_steered_by_json_and_a_parser_gets_the_name() {
        let name = "a\u{9b}2J \u{202e}\u{2028} \u{e0041} \u{7f} \u{200b} \x1b \"q\" é 日本";
        let mut document = crate::report::sample::document(Vec::new());
        document.warn("name", name.to_owned());
        for write in [pretty, line] {
            let mut out = Vec::new();
            write(&document, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.chars().all(|c| c == '\n' || is_harmless(c)), "{text}");
            assert!(text.contains(r"a\u009b2J \u202e\u2028 \udb40\udc41 \u007f \u200b \u001b"), "{text}");
            let read: Document = serde_json::from_str(&text).unwrap();
            assert_eq!(read, document);
        }
    }
}
