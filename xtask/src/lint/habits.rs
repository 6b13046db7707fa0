//! Habits that hold in every crate.

use super::source::Source;

/// A longer file is several.
const MAX_LINES: usize = 400;
/// How far above an `unsafe` its comment may begin.
const NEAR: usize = 3;
/// Directories of somebody's machine; in two parts, so that this file does not break its own rule.
const MACHINE_PATHS: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];

/// The only file that writes to stderr, and how others would.
const STDERR: &str = "iotrace/src/host/stderr.rs";
const PRINTING: [&str; 4] = ["eprintln!(", "eprint!(", "dbg!(", "(io::stderr()"];

/// Checks one Rust file.
pub fn check(file: &str, source: &Source<'_>, report: &mut impl FnMut(usize, String)) {
    if source.lines.len() > MAX_LINES {
        report(0, format!("{} lines, more than {MAX_LINES}: divide it", source.lines.len()));
    }
    for (index, code) in source.code.iter().enumerate() {
        let mut report = |what: &str| report(index + 1, what.to_owned());
        let dense: String = code.split_whitespace().collect();
        if needs_safety(code) && !has_safety(source, index) {
            report("unsafe without a SAFETY comment that says why it is sound");
        }
        if dense.contains("[allow(") || (dense.contains("cfg_attr(") && dense.contains(",allow(")) {
            report("a bare allow: #[expect(lint, reason = \"...\")] goes away with its cause");
        }
        if PRINTING.iter().any(|word| dense.contains(word))
            && file.starts_with("iotrace/src/")
            && file != STDERR
        {
            report("stderr is written by host/stderr.rs alone: names of others must not steer the terminal");
        }
        if dense.contains("#[ignore]") {
            report("#[ignore] without a reason");
        }
        if dense.contains("#[ignore") && !is_kernel_test(file) {
            report("an ignored test outside iotrace/tests/kernel_*.rs is never run");
        }
    }
}

/// No path that exists on one machine only, in whatever kind of file.
pub fn no_machine_paths(text: &str, report: &mut impl FnMut(usize, String)) {
    for (index, line) in text.lines().enumerate() {
        for path in MACHINE_PATHS {
            // `$DIR/work/x`, `src/work/x` and the like are relative to something.
            let absolute =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.~}*)]".contains(c));
            if line.match_indices(path).any(|(at, _)| absolute(at)) {
                report(index + 1, format!("{path}... is a path of one machine"));
            }
        }
    }
}

fn is_kernel_test(file: &str) -> bool {
    file.starts_with("iotrace/tests/kernel_")
}

/// Whether the line starts something unsafe that has to be argued for. A function pointer's type and an
/// attribute are not.
fn needs_safety(code: &str) -> bool {
    code.match_indices("unsafe").any(|(at, word)| {
        let after = code[at + word.len()..].trim_start();
        let alone = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let names_function =
            |rest: &str| rest.trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_');
        let function =
            after.split_once("fn").filter(|(before, _)| before.is_empty() || before.starts_with("extern"));
        alone
            && (after.is_empty()
                || after.starts_with('{')
                || after.starts_with("impl")
                || function.is_some_and(|(_, rest)| names_function(rest)))
    })
}

/// Whether the line, one of the three above it, or the comment that one of those is the end of, says why
/// the code is sound, or asks it of the caller.
fn has_safety(source: &Source<'_>, line: usize) -> bool {
    let mut first = line.saturating_sub(NEAR);
    while first > 0 && source.is_remark(first) && source.is_remark(first - 1) {
        first -= 1;
    }
    source.lines[first..=line].iter().any(|text| text.contains("SAFETY") || text.contains("# Safety"))
}

#[cfg(test)]
mod tests {
    use crate::lint::found;

    const FILE: &str = "iotrace/src/workload/x.rs";

    #[test]
    fn unsafe_needs_its_reason() {
        for code in [
            "unsafe { f() };",
            "unsafe impl Send for X {}",
            "pub unsafe fn f() {}",
            "let x = unsafe\n{ f() };",
        ] {
            assert_eq!(found(FILE, code).len(), 1, "{code}");
            assert_eq!(found(FILE, &format!("// SAFETY: it is.\n{code}")), [""; 0]);
        }
        assert_eq!(
            found(FILE, "/// # Safety\n///\n/// One.\n/// Two.\n/// Three.\nunsafe fn f() {}"),
            [""; 0]
        );
        assert_eq!(found(FILE, "// SAFETY: far away.\na;\nb;\nc;\nunsafe { f() };").len(), 1);
    }

    #[test]
    fn the_word_alone_is_not_unsafe() {
        for code in
            ["// unsafe { }", "#[unsafe(no_mangle)]", "type F = unsafe extern \"C\" fn(i32);", "unsafe_op();"]
        {
            assert_eq!(found(FILE, code), [""; 0], "{code}");
        }
    }

    #[test]
    fn lints_are_expected_not_allowed() {
        assert_eq!(found(FILE, "#[allow(dead_code)]").len(), 1);
        assert_eq!(found(FILE, "#![allow(dead_code)]").len(), 1);
        assert_eq!(found(FILE, "#[cfg_attr(test, allow(dead_code))]").len(), 1);
        assert_eq!(found(FILE, "#[expect(dead_code, reason = \"r\")]"), [""; 0]);
    }

    #[test]
    fn ignored_tests_say_why_and_are_where_they_are_run() {
        assert_eq!(found("iotrace/tests/kernel_x.rs", "#[ignore = \"needs root\"]"), [""; 0]);
        assert_eq!(found("iotrace/tests/kernel_x.rs", "#[ignore]").len(), 1);
        assert_eq!(found("iotrace/tests/cli.rs", "#[ignore = \"needs root\"]").len(), 1);
    }

    #[test]
    fn stderr_has_one_door() {
        assert_eq!(found("iotrace/src/cmd/x.rs", "eprintln!(\"{name}\");").len(), 1);
        assert_eq!(found("iotrace/src/cmd/x.rs", "let _ = writeln!(io::stderr(), \"x\");").len(), 1);
        assert_eq!(found("iotrace/src/host/stderr.rs", "let _ = writeln!(io::stderr(), \"x\");"), [""; 0]);
        assert_eq!(found("xtask/src/x.rs", "eprintln!(\"x\");"), [""; 0]);
    }

    #[test]
    fn files_are_short() {
        assert_eq!(found(FILE, &"\n".repeat(400)), [""; 0]);
        assert_eq!(found(FILE, &"\n".repeat(401)).len(), 1);
    }

    #[test]
    fn paths_of_one_machine_are_found_in_any_file() {
        let path = concat!("/ho", "me/me/x");
        assert_eq!(found("docs/a.md", &format!("see {path}")).len(), 1);
        assert_eq!(found("docs/a.md", &format!("see $ROOT{path} and tests{path}")), [""; 0]);
    }
}
