//! Which module may mention what (docs/architecture.md). Data flows one way, the core is pure, and one
//! place touches aya.

use super::source::Source;

/// Paths that only these modules of iotrace may use.
const ONLY: [(&str, &[&str]); 2] =
    [("aya", &["bpf/", "bpf.rs"]), ("tokio", &["session.rs", "session/", "main.rs"])];

/// Modules, and what they may not use.
const NEVER: [(&[&str], &[&str], &str); 3] = [
    (PURE, IMPURE, "is pure"),
    (
        &["workload/"],
        &["anyhow", "clap", "comfy_table", "humantime", "schemars", "thiserror"],
        "uses libc, std, serde and io_uring only",
    ),
    (&["report/"], UPSTREAM, "renders plain data"),
];

const PURE: &[&str] = &[
    "aggregate.rs",
    "analysis.rs",
    "calls.rs",
    "degraded.rs",
    "dist.rs",
    "journal.rs",
    "longest.rs",
    "model.rs",
    "operation.rs",
    "operation/",
    "phase.rs",
    "processes.rs",
    "recognise.rs",
    "record.rs",
    "report.rs",
    "report/",
    "requests.rs",
    "retired.rs",
    "signals.rs",
    "strip.rs",
    "study/sheet.rs",
    "study/stats.rs",
    "summary/",
    "syscall.rs",
    "transfer.rs",
    "verdict.rs",
];

const IMPURE: &[&str] = &[
    "libc",
    "aya",
    "tokio",
    "std::fs",
    "std::process",
    "std::net",
    "crate::bpf",
    "crate::cmd",
    "crate::session",
    "crate::target",
];

const UPSTREAM: &[&str] = &["crate::session", "crate::bpf", "crate::cmd", "crate::target"];

/// Checks one file of iotrace.
pub fn check(file: &str, source: &Source<'_>, report: &mut impl FnMut(usize, String)) {
    let Some(module) = file.strip_prefix("iotrace/src/") else { return };
    if module.ends_with("/tests.rs") || module.contains("/tests/") {
        return;
    }
    let within = |places: &[&str]| {
        places
            .iter()
            .any(|place| if place.ends_with('/') { module.starts_with(place) } else { module == *place })
    };
    for (line, path) in paths(source.without_tests()) {
        for (forbidden, only) in ONLY {
            if uses(&path, forbidden) && !within(only) {
                report(line, format!("`{path}`: only {} may use {forbidden}", only.join(", ")));
            }
        }
        for (places, forbidden, why) in NEVER {
            if within(places) && forbidden.iter().any(|forbidden| uses(&path, forbidden)) {
                report(line, format!("`{path}`: {module} {why}"));
            }
        }
    }
}

/// Whether the path is the forbidden one or lies below it. `aya` stands for its sister crates as well.
fn uses(path: &str, forbidden: &str) -> bool {
    let Some(rest) = path.strip_prefix(forbidden) else { return false };
    rest.is_empty() || rest.starts_with("::") || (forbidden == "aya" && rest.starts_with('_'))
}

/// Every path in the code with the number of its line, from 1: `use a::{b, c::d}` gives `a::b` and
/// `a::c::d`, and so does `a::b(...)` give `a::b`.
fn paths(code: &[String]) -> Vec<(usize, String)> {
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
    use crate::lint::found;

    #[test]
    fn paths_are_found_in_use_trees_and_in_code() {
        let source = Source::new("use a::{b, c::{d, e as f}};\nuse g;\nlet x = h::i(j::<k::l>(m));\n");
        let paths: Vec<_> = paths(&source.code).into_iter().map(|(_, path)| path).collect();
        for path in ["a::b", "a::c::d", "a::c::e", "g", "h::i", "k::l", "m"] {
            assert!(paths.iter().any(|found| found == path), "{path} in {paths:?}");
        }
        assert!(!paths.iter().any(|found| found == "a::g"));
    }

    #[test]
    fn only_bpf_uses_aya() {
        assert_eq!(found("iotrace/src/bpf/loader.rs", "use aya::Ebpf;"), [""; 0]);
        assert_eq!(
            found("iotrace/src/check.rs", "\nuse aya::Ebpf;"),
            ["2: `aya::Ebpf`: only bpf/, bpf.rs may use aya"]
        );
        assert_eq!(found("iotrace/src/check.rs", "use aya_obj::btf::Btf;").len(), 1);
        assert_eq!(found("iotrace/src/check.rs", "let ayahuasca = 1; // aya"), [""; 0]);
    }

    #[test]
    fn only_session_and_main_use_tokio() {
        assert_eq!(found("iotrace/src/session/wait.rs", "use tokio::time;"), [""; 0]);
        assert_eq!(found("iotrace/src/main.rs", "tokio::main();"), [""; 0]);
        assert_eq!(found("iotrace/src/cmd/run.rs", "tokio::spawn(f());").len(), 1);
    }

    #[test]
    fn pure_modules_do_not_touch_the_world() {
        for code in [
            "use libc::c_int;",
            "use std::{fmt, fs};",
            "std::process::exit(1);",
            "use std::{\n    io,\n    net::TcpStream,\n};",
            "use crate::bpf::Event;",
        ] {
            assert_eq!(found("iotrace/src/operation/join.rs", code).len(), 1, "{code}");
        }
        assert_eq!(found("iotrace/src/summary.rs", "use std::fmt;\nuse crate::dist::Dist;"), [""; 0]);
        assert_eq!(found("iotrace/src/report/table.rs", "use std::io::Write;"), [""; 0]);
        assert_eq!(found("iotrace/src/summary.rs", "#[cfg(test)]\nmod tests {\nuse std::fs;\n}"), [""; 0]);
        assert_eq!(found("iotrace/src/report/tests.rs", "use std::fs;"), [""; 0]);
    }

    #[test]
    fn workloads_are_plain_textbook_loops() {
        assert_eq!(
            found("iotrace/src/workload/epoll.rs", "use io_uring::IoUring;\nuse libc::read;"),
            [""; 0]
        );
        assert_eq!(found("iotrace/src/workload/epoll.rs", "use anyhow::Result;").len(), 1);
    }

    #[test]
    fn renderers_do_not_reach_back() {
        assert!(!found("iotrace/src/report/json.rs", "use crate::session::Session;").is_empty());
    }
}
