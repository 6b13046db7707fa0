//! The paths that Rust code mentions, `use` trees and inline paths alike.

/// Every path in the code with the number of its line, from 1: `use a::{b, c::d}` gives `a::b` and
/// `a::c::d`, and so does `a::b(...)` give `a::b`.
pub fn paths(code: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // What stands before each open brace: `a::` of `use a::{`, nothing for a block.
    let mut open: Vec<String> = Vec::new();
    let mut path = String::new();
    for (number, line) in code.iter().enumerate() {
        for token in tokens(line) {
            let is_word = token.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let continues = path.is_empty() || path.ends_with("::");
            if token == "::" || (is_word && continues) {
                path.push_str(token);
                continue;
            }
            let prefix = open.last().cloned().unwrap_or_default();
            let whole = format!("{prefix}{path}");
            path.clear();
            match token {
                "{" if whole.ends_with("::") => open.push(whole.clone()),
                "{" => open.push(String::new()),
                "}" => drop(open.pop()),
                _ if is_word => path.push_str(token),
                _ => {}
            }
            if !whole.is_empty() && whole != prefix {
                found.push((number + 1, whole.trim_start_matches("::").trim_end_matches("::").to_owned()));
            }
        }
        // A path does not go on in the next line, unless it ends in `::`.
        if !path.ends_with("::") && !path.is_empty() {
            found.push((number + 1, format!("{}{path}", open.last().map_or("", String::as_str))));
            path.clear();
        }
    }
    found
}

/// Words, `::`, and single other characters.
fn tokens(line: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let length = match word {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            _ => word,
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::Source;

    #[test]
    fn paths_are_found_in_use_trees_and_in_code() {
        let source = Source::new("use a::{b, c::{d, e as f}};\nuse g;\nlet x = h::i(j::<k::l>(m));\n");
        let paths: Vec<_> = paths(&source.code).into_iter().map(|(_, path)| path).collect();
        for path in ["a::b", "a::c::d", "a::c::e", "g", "h::i", "k::l", "m"] {
            assert!(paths.iter().any(|found| found == path), "{path} in {paths:?}");
        }
        assert!(!paths.iter().any(|found| found == "a::g"));
    }
}
