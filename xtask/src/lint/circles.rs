//! No two files import each other, by whatever way round.
//!
//! An import is a path that names a module of the same crate, by `crate::`, `super::` or `self::`. What a `mod.rs`
//! declares or hands on (`pub use self::...`) is no import of it: a door, not a wall.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::paths;
use super::rooms::is_test;
use super::source::Source;

/// Every Rust file of the workspace's crates, with what it imports.
#[derive(Default)]
pub struct Files {
    /// Module path to file: `["iotrace/src", "host", "proc"]`.
    modules: BTreeMap<Vec<String>, String>,
    /// File to its module path and the paths that it mentions.
    mentioned: BTreeMap<String, (Vec<String>, Vec<String>)>,
}

impl Files {
    /// Notes one file.
    pub fn add(&mut self, file: &str, source: &Source<'_>) {
        let Some((house, module)) = file.split_once("/src/") else { return };
        if is_test(&format!("/{module}")) {
            return;
        }
        let mut path = vec![format!("{house}/src")];
        path.extend(module.trim_end_matches(".rs").split('/').map(str::to_owned));
        if ["mod", "lib", "main"].contains(&path.last().map_or("", String::as_str)) {
            path.pop();
        }
        let mentioned = paths(source.without_tests()).into_iter().map(|(_, path)| path).collect();
        self.modules.insert(path.clone(), file.to_owned());
        self.mentioned.insert(file.to_owned(), (path, mentioned));
    }

    /// The circles, each as the files on it.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let imports: BTreeMap<&String, BTreeSet<String>> =
            self.mentioned.keys().map(|file| (file, self.imports(file))).collect();
        let reaches = |from: &String, to: &String| {
            let (mut open, mut seen) = (vec![from.clone()], BTreeSet::new());
            while let Some(file) = open.pop() {
                for next in imports.get(&file).into_iter().flatten() {
                    if next == to {
                        return true;
                    }
                    if seen.insert(next.clone()) {
                        open.push(next.clone());
                    }
                }
            }
            false
        };
        let mut circles: Vec<Vec<String>> = Vec::new();
        for file in self.mentioned.keys() {
            if circles.iter().flatten().any(|known| known == file) || !reaches(file, file) {
                continue;
            }
            let others = self.mentioned.keys().filter(|other| reaches(file, other) && reaches(other, file));
            circles.push(others.cloned().collect());
        }
        circles
    }

    fn imports(&self, file: &str) -> BTreeSet<String> {
        let (own, mentioned) = &self.mentioned[file];
        let found = mentioned.iter().filter_map(|path| self.resolve(own, path));
        // A module's own items, and those of the modules that it declares.
        found
            .filter(|(module, other)| other != file && !module.starts_with(own))
            .map(|(_, other)| other)
            .collect()
    }

    /// The file that a path leads to: that of the longest module on it.
    fn resolve(&self, own: &[String], path: &str) -> Option<(Vec<String>, String)> {
        let mut words = path.split("::").peekable();
        let mut module = match *words.peek()? {
            "crate" => vec![own[0].clone()],
            "super" | "self" => own.to_vec(),
            _ => return None,
        };
        while let Some(word) = words.next_if(|word| ["crate", "super", "self"].contains(word)) {
            if word == "super" {
                module.pop();
            }
        }
        for word in words {
            module.push(word.to_owned());
            if !self.modules.contains_key(&module) {
                module.pop();
                break;
            }
        }
        // A path to a folder's door only is one to what the door hands on: which, its own imports show.
        self.modules.get(&module).map(|file| (module.clone(), file.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let mut all = Files::default();
        for (file, text) in files {
            all.add(file, &Source::new(text));
        }
        all.circles()
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let found = circles(&[
            ("iotrace/src/bpf/mod.rs", "pub mod btf; pub mod exact; pub mod loader;"),
            ("iotrace/src/bpf/exact.rs", "use super::loader::Observer;"),
            ("iotrace/src/bpf/loader.rs", "use crate::bpf::{exact::Refused, btf};"),
            ("iotrace/src/bpf/btf.rs", ""),
        ]);
        assert_eq!(found, [["iotrace/src/bpf/exact.rs", "iotrace/src/bpf/loader.rs"]]);
    }

    #[test]
    fn a_way_round_several_files_is_one_as_well() {
        let found = circles(&[
            ("xtask/src/a.rs", "use crate::b::B;"),
            ("xtask/src/b.rs", "use crate::c::C;"),
            ("xtask/src/c.rs", "fn f() { crate::a::f() }"),
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].len(), 3);
    }

    #[test]
    fn a_door_is_no_circle() {
        let found = circles(&[
            ("iotrace/src/cli/mod.rs", "pub mod tier;\npub use self::tier::Tier;"),
            ("iotrace/src/cli/tier.rs", "use std::fmt;"),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }
}
