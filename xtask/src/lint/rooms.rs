//! Which room may mention what (docs/architecture.md): data flows one way, the core is pure, and one room touches
//! aya.

use super::paths::paths;
use super::source::Source;

/// The crates of iotrace: where their code lies, and their rooms from the ground up. A room may import itself and
/// the rooms before it.
const HOUSES: [(&str, &[&str]); 2] = [
    ("iotrace/core/src/", &["domain", "summary", "samples", "records", "rows", "messages", "report"]),
    ("iotrace/src/", &["host", "bpf", "workload", "session", "selftest", "study", "cli", "cmd"]),
];

/// Rooms that import less than those before them: a renderer gets a finished document, and reaches for nothing else.
const NARROW: [(&str, &[&str]); 1] = [("report", &["report", "domain", "summary", "samples"])];

/// What only these rooms of `iotrace` may use.
const ONLY: [(&str, &[&str]); 3] =
    [("aya", &["bpf"]), ("tokio", &["session"]), ("clap", &["cli", "main.rs"])];

/// What touches the machine. The core cannot name libc, aya, tokio and the rest of `iotrace`, since it does not
/// depend on them; of `std` it may not use these. `std::io` is there for the traits that renderers write to.
const IMPURE: [&str; 14] = [
    "std::fs",
    "std::process",
    "std::net",
    "std::os",
    "std::env",
    "std::thread",
    "std::sync::mpsc",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::ffi",
    "libc",
];

/// The workloads are what a textbook has, and nothing else.
const WORKLOAD_NEVER: [&str; 5] = ["anyhow", "clap", "comfy_table", "humantime", "thiserror"];

/// Checks one file of iotrace.
pub fn check(file: &str, source: &Source<'_>, report: &mut impl FnMut(usize, String)) {
    let Some((house, rooms)) = HOUSES.into_iter().find(|(house, _)| file.starts_with(house)) else { return };
    let module = &file[house.len()..];
    if is_test(module) {
        return;
    }
    let is_core = house.contains("/core/");
    let room = module.split('/').next().unwrap_or(module);
    // A line says each thing once, however many names it imports.
    let mut seen: Vec<(usize, String)> = Vec::new();
    for (line, path) in paths(source.without_tests()) {
        let mut say = |rule: &str, what: String| {
            if !seen.contains(&(line, rule.to_owned())) {
                seen.push((line, rule.to_owned()));
                report(line, what);
            }
        };
        if let Some(imported) = path.strip_prefix("crate::").and_then(|rest| rest.split("::").next()) {
            let floor = |name: &str| rooms.iter().position(|known| *known == name);
            match (floor(room), floor(imported)) {
                (Some(own), Some(other)) if other > own => {
                    say(imported, format!("`{path}`: {room}/ lies below {imported}/ and may not import it"));
                }
                (None, Some(_)) if !["lib.rs", "main.rs"].contains(&module) => {
                    say(module, format!("{module} lies in no room: see docs/architecture.md"));
                }
                _ => {}
            }
            let narrow = NARROW.iter().find(|(name, _)| is_core && *name == room);
            if narrow.is_some_and(|(_, allowed)| floor(imported).is_some() && !allowed.contains(&imported)) {
                say(
                    imported,
                    format!("`{path}`: {room}/ renders a finished document and imports no {imported}/"),
                );
            }
        }
        if is_core && IMPURE.iter().any(|forbidden| uses(&path, forbidden)) {
            say(&path, format!("`{path}`: the core is pure; what touches the machine is in iotrace/src"));
        }
        for (forbidden, only) in ONLY.iter().filter(|_| !is_core) {
            if uses(&path, forbidden) && !only.contains(&room) {
                say(forbidden, format!("`{path}`: only {} may use {forbidden}", only.join(", ")));
            }
        }
        if room == "workload" && WORKLOAD_NEVER.iter().any(|forbidden| uses(&path, forbidden)) {
            say(&path, format!("`{path}`: a workload uses libc, std, serde and io_uring only"));
        }
    }
}

/// Whether a file has nothing but unit tests.
pub fn is_test(module: &str) -> bool {
    module.ends_with("/tests.rs") || module.ends_with("_tests.rs") || module.contains("/tests/")
}

/// Whether the path is the forbidden one or lies below it. `aya` stands for its sister crates as well.
fn uses(path: &str, forbidden: &str) -> bool {
    let Some(rest) = path.strip_prefix(forbidden) else { return false };
    rest.is_empty() || rest.starts_with("::") || (forbidden == "aya" && rest.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use crate::lint::found;

    #[test]
    fn only_bpf_uses_aya_and_only_session_tokio() {
        assert_eq!(found("iotrace/src/bpf/loader.rs", "use aya::Ebpf;"), [""; 0]);
        assert_eq!(
            found("iotrace/src/host/check.rs", "\nuse aya::Ebpf;"),
            ["2: `aya::Ebpf`: only bpf may use aya"]
        );
        assert_eq!(found("iotrace/src/host/check.rs", "use aya_obj::btf::Btf;").len(), 1);
        assert_eq!(found("iotrace/src/host/check.rs", "let ayahuasca = 1; // aya"), [""; 0]);
        assert_eq!(found("iotrace/src/session/until.rs", "use tokio::time;"), [""; 0]);
        assert_eq!(found("iotrace/src/cmd/run.rs", "tokio::spawn(f());").len(), 1);
    }

    #[test]
    fn no_room_imports_from_above() {
        assert_eq!(found("iotrace/core/src/rows/sums.rs", "use crate::records::copy::Seen;"), [""; 0]);
        assert_eq!(
            found("iotrace/core/src/records/copy.rs", "use crate::rows::{sums::Row, calls};").len(),
            1
        );
        assert_eq!(found("iotrace/src/session/trace.rs", "use crate::cli::TraceArgs;").len(), 1);
        assert_eq!(found("iotrace/core/src/report/json.rs", "use crate::rows::row::call;").len(), 1);
        assert_eq!(found("iotrace/core/src/report/json.rs", "use crate::summary::Document;"), [""; 0]);
        assert_eq!(found("iotrace/src/loose.rs", "use crate::host::proc;").len(), 1, "no room at all");
    }

    #[test]
    fn the_core_does_not_touch_the_machine() {
        for code in [
            "use std::{fmt, fs};",
            "std::process::exit(1);",
            "use std::{\n    io,\n    net::TcpStream,\n};",
            "let now = std::time::Instant::now();",
        ] {
            assert_eq!(found("iotrace/core/src/messages/operation.rs", code).len(), 1, "{code}");
        }
        assert_eq!(found("iotrace/core/src/summary/mod.rs", "use std::fmt;"), [""; 0]);
        assert_eq!(found("iotrace/core/src/report/table.rs", "use std::io::Write;"), [""; 0]);
        assert_eq!(
            found("iotrace/core/src/summary/mod.rs", "#[cfg(test)]\nmod tests {\nuse std::fs;\n}"),
            [""; 0]
        );
        assert_eq!(found("iotrace/core/src/report/tests.rs", "use std::fs;"), [""; 0]);
    }

    #[test]
    fn workloads_are_plain_textbook_loops() {
        assert_eq!(
            found("iotrace/src/workload/epoll.rs", "use io_uring::IoUring;\nuse libc::read;"),
            [""; 0]
        );
        assert_eq!(found("iotrace/src/workload/epoll.rs", "use anyhow::Result;").len(), 1);
    }
}
