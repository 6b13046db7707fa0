//! Licences of everything in Cargo.lock that is built for Linux: iotrace is MIT OR Apache-2.0, and what is linked into it
//! must allow that.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// Licences by their SPDX names that ask for no more than a notice.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Packages whose licence does not fit, each with the reason.
pub fn misfits(root: &Path) -> Result<Vec<String>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]);
    cargo.arg("x86_64-unknown-linux-gnu").current_dir(root);
    let metadata: Value =
        serde_json::from_str(&process::output(&mut cargo)?).context("reading cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("cargo's metadata has no packages")?;
    Ok(packages.iter().filter_map(misfit).collect())
}

fn misfit(package: &Value) -> Option<String> {
    let (name, version) = (package["name"].as_str()?, package["version"].as_str()?);
    match package["license"].as_str() {
        None => Some(format!("{name} {version} names no licence")),
        Some(licence) if fits(licence) => None,
        Some(licence) => Some(format!("{name} {version} is under {licence}")),
    }
}

/// Whether an SPDX expression allows what iotrace needs: one of those behind OR, all of those behind AND. Old manifests
/// have a slash for OR.
fn fits(licence: &str) -> bool {
    let spaced = licence.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) == Some(true) && rest.is_empty()
}

fn any(rest: &mut &[&str]) -> Option<bool> {
    let mut fits = all(rest)?;
    while take(rest, "OR") {
        fits |= all(rest)?;
    }
    Some(fits)
}

fn all(rest: &mut &[&str]) -> Option<bool> {
    let mut fits = one(rest)?;
    while take(rest, "AND") {
        fits &= one(rest)?;
    }
    Some(fits)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    if take(rest, "(") {
        let inner = any(rest)?;
        return take(rest, ")").then_some(inner);
    }
    let (&name, after) = rest.split_first()?;
    *rest = after;
    if take(rest, "WITH") {
        let (exception, after) = rest.split_first()?;
        *rest = after;
        return Some(ALLOWED.contains(&format!("{name} WITH {exception}").as_str()));
    }
    Some(ALLOWED.contains(&name))
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    let found = rest.first() == Some(&word);
    *rest = &rest[usize::from(found)..];
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_fits_if_one_choice_does() {
        for licence in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(fits(licence), "{licence}");
        }
        for licence in
            ["GPL-2.0", "MIT AND GPL-2.0", "", "(MIT", "MIT OR", "GPL-2.0 WITH LLVM-exception", "MIT MIT"]
        {
            assert!(!fits(licence), "{licence}");
        }
    }

    #[test]
    fn a_package_without_a_licence_is_named() {
        let package = serde_json::json!({ "name": "x", "version": "1.0.0", "license": null });
        assert_eq!(misfit(&package).as_deref(), Some("x 1.0.0 names no licence"));
    }
}
