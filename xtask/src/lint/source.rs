//! Rust source as the rules see it: its lines, and the same lines with comments and the insides of
//! literals blanked, so that a word in a comment is not taken for code.

/// One file.
pub struct Source<'a> {
    /// The lines as written.
    pub lines: Vec<&'a str>,
    /// The lines as code only.
    pub code: Vec<String>,
}

/// What the text is in the middle of.
#[derive(Clone, Copy)]
enum State {
    Code,
    LineComment,
    /// Depth: block comments nest.
    BlockComment(u32),
    Text,
    /// The number of `#` that close it.
    RawText(usize),
}

impl<'a> Source<'a> {
    /// Reads a file.
    pub fn new(text: &'a str) -> Self {
        let blanked = blank(text);
        Self { lines: text.lines().collect(), code: blanked.lines().map(str::to_owned).collect() }
    }

    /// The code before the unit tests, which may use what their module may not.
    pub fn without_tests(&self) -> &[String] {
        let mut lines = self.code.windows(2);
        let tests = lines.position(|pair| {
            pair[0].trim_start().starts_with("#[cfg(test)]") && pair[1].trim_start().starts_with("mod ")
        });
        &self.code[..tests.unwrap_or(self.code.len())]
    }

    /// Whether the line (counted from 0) is a comment or an attribute.
    pub fn is_remark(&self, line: usize) -> bool {
        let text = self.lines[line].trim_start();
        text.starts_with("//") || text.starts_with("#[")
    }
}

/// The text with every character that is not code replaced by a space; lines keep their numbers. The
/// quotes around literals stay.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut state = State::Code;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (taken, shown, next) = step(state, rest, &out);
        let piece = &rest[..taken.max(c.len_utf8())];
        match shown {
            true => out.push_str(piece),
            false => out.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
        }
        state = next;
        rest = &rest[piece.len()..];
    }
    out
}

/// How many bytes the next piece has (0: one character), whether it is code, and what follows it.
fn step(state: State, rest: &str, before: &str) -> (usize, bool, State) {
    match state {
        State::Code => code(rest, before),
        State::LineComment if rest.starts_with('\n') => (0, true, State::Code),
        State::LineComment => (0, false, state),
        State::BlockComment(depth) if rest.starts_with("/*") => (2, false, State::BlockComment(depth + 1)),
        State::BlockComment(1) if rest.starts_with("*/") => (2, false, State::Code),
        State::BlockComment(depth) if rest.starts_with("*/") => (2, false, State::BlockComment(depth - 1)),
        State::BlockComment(_) => (0, false, state),
        // An escape takes the next character with it, which may be a quote.
        State::Text if rest.starts_with('\\') => (escape(rest), false, state),
        State::Text if rest.starts_with('"') => (1, true, State::Code),
        State::Text => (0, false, state),
        State::RawText(hashes) if is_raw_end(rest, hashes) => (1 + hashes, true, State::Code),
        State::RawText(_) => (0, false, state),
    }
}

fn code(rest: &str, before: &str) -> (usize, bool, State) {
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return (2, false, State::LineComment);
    }
    if rest.starts_with("/*") {
        return (2, false, State::BlockComment(1));
    }
    if rest.starts_with('"') {
        return (1, true, State::Text);
    }
    if let Some(raw) = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br")).filter(|_| !in_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return (rest.len() - raw.len() + hashes + 1, true, State::RawText(hashes));
        }
    }
    // A character literal, not a lifetime: '"' and '\'' would confuse what follows.
    if let Some(literal) = rest.strip_prefix('\'') {
        let inner = if literal.starts_with('\\') { escape(literal) } else { next_len(literal) };
        if let Some(end) = literal[inner..].find('\'').filter(|&end| end == 0 || literal.starts_with('\\')) {
            return (1 + inner + end + 1, false, State::Code);
        }
    }
    (0, true, State::Code)
}

fn escape(rest: &str) -> usize {
    1 + next_len(&rest[1..])
}

fn next_len(rest: &str) -> usize {
    rest.chars().next().map_or(0, char::len_utf8)
}

fn is_raw_end(rest: &str, hashes: usize) -> bool {
    rest.strip_prefix('"').is_some_and(|rest| rest.len() - rest.trim_start_matches('#').len() >= hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(text: &str) -> String {
        Source::new(text).code.join("\n")
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(code_of("a // b\nc").replace(' ', ""), "a\nc");
        assert_eq!(code_of("a /* b /* c */ d */ e").replace(' ', ""), "ae");
        assert_eq!(code_of(r#"f("x\"y", z)"#).replace(' ', ""), r#"f("",z)"#);
        assert_eq!(code_of("f(r#\"x\"y\"#, z)").replace(' ', ""), "f(r#\"\"#,z)");
        assert_eq!(code_of(r#"f('"', b'\'', '\u{1b}', z)"#).replace(' ', ""), "f(,b,,z)");
    }

    #[test]
    fn a_lifetime_is_no_literal() {
        assert_eq!(code_of("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
    }

    #[test]
    fn unit_tests_are_apart() {
        let source = Source::new("a\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.without_tests(), ["a"]);
    }
}
