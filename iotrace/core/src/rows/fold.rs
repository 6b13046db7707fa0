//! Rows of descriptors that are shown as one, where a process has too many of them: files of one directory, connections
//! of one listening port or to one remote address.

use std::collections::HashMap;

use iotrace_ebpf::abi::{AggKey, REGISTERED_RING};

use crate::domain::{Fd, WaitsFor};
use crate::rows::names::Names;
use crate::rows::sums::{Row, merge};

/// Rows of a process that are shown one by one, where each descriptor has its own.
pub const ROWS: usize = 100;

/// One or more rows of the kernel that are shown as one.
#[derive(Clone, Debug)]
pub struct Line {
    /// Process, thread, syscall; of the first of its rows also the descriptor.
    pub key: AggKey,
    /// The sums of all of its rows.
    pub row: Row,
    /// The descriptor, or what all of them have in common.
    pub fd: Option<Fd>,
    /// What waits on all of them are for, where that is known.
    pub waits_for: Option<WaitsFor>,
    /// Keys of its rows.
    pub keys: Vec<AggKey>,
}

/// The lines of the rows of one process.
pub fn lines(rows: &[(&AggKey, &Row)], names: &Names) -> Vec<Line> {
    let folds = rows.len() > ROWS;
    let mut lines: Vec<Line> = Vec::with_capacity(rows.len());
    let mut places: HashMap<(u32, u32, String, String), usize> = HashMap::new();
    for &(key, row) in rows {
        let group = names.groups.get(&key.file).filter(|_| folds);
        let mut line = Line {
            key: *key,
            row: row.clone(),
            fd: (key.file != 0).then(|| file(key, names)),
            waits_for: names.waits.get(&key.file).copied(),
            keys: vec![*key],
        };
        if let (Some(group), Some(fd)) = (group, &mut line.fd) {
            fd.name.clone_from(group);
        }
        // Rows that the kernel has shared already have the name of their group.
        let shared = line.fd.as_ref().filter(|_| folds);
        let place = shared.map(|fd| (key.nr, key.tid, fd.kind.clone(), fd.name.clone()));
        match place.as_ref().and_then(|place| places.get(place)) {
            Some(&at) => {
                merge(&mut lines[at].row, row);
                lines[at].keys.push(*key);
                lines[at].waits_for = lines[at].waits_for.filter(|what| line.waits_for == Some(*what));
            }
            None => {
                places.extend(place.map(|place| (place, lines.len())));
                lines.push(line);
            }
        }
    }
    lines
}

/// What is known of the file of a row.
fn file(key: &AggKey, names: &Names) -> Fd {
    if key.file == REGISTERED_RING {
        return Fd { kind: "io_uring".to_owned(), name: format!("registered ring {}", key.fd) };
    }
    let unnamed = || Fd {
        kind: "unknown".to_owned(),
        name: format!("descriptor {}, closed before it could be looked at", key.fd),
    };
    names.files.get(&key.file).cloned().unwrap_or_else(unnamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not the number of a registered ring.
    const FIRST: u64 = REGISTERED_RING + 1;

    fn key(file: u64, nr: u32) -> AggKey {
        AggKey { file, tgid: 7, tid: 0, nr, fd: 3 }
    }

    /// Names of `files` files in three directories. No file has the number of a registered ring.
    fn names(files: u64) -> Names {
        let mut names = Names::default();
        for file in FIRST..FIRST + files {
            let directory = format!("/srv/{}", file % 3);
            names.files.insert(file, Fd { kind: "file".to_owned(), name: format!("{directory}/{file}") });
            names.groups.insert(file, format!("{directory}/*"));
        }
        names
    }

    fn folded(files: u64) -> Vec<Line> {
        let row = Row { calls: 2, ..Row::default() };
        let keys: Vec<AggKey> =
            (FIRST..FIRST + files).flat_map(|file| [key(file, 0), key(file, 40)]).collect();
        let rows: Vec<(&AggKey, &Row)> = keys.iter().map(|key| (key, &row)).collect();
        lines(&rows, &names(files))
    }

    #[test]
    fn few_files_are_shown_one_by_one() {
        let lines = folded(ROWS as u64 / 2);
        assert_eq!(lines.len(), ROWS);
        assert!(
            lines.iter().all(|line| line.keys.len() == 1 && !line.fd.as_ref().unwrap().name.contains('*'))
        );
    }

    #[test]
    fn many_files_become_their_directories_and_no_call_is_lost() {
        let lines = folded(900);
        assert_eq!(lines.len(), 6, "two syscalls in three directories");
        assert!(lines.iter().all(|line| line.keys.len() == 300 && line.row.calls == 600));
        assert!(lines.iter().all(|line| line.fd.as_ref().unwrap().name.ends_with("/*")));
    }

    #[test]
    fn what_the_kernel_shared_joins_what_is_shared_here() {
        let mut names = names(900);
        let shared = 1 << 40;
        names.files.insert(shared, Fd { kind: "file".to_owned(), name: "/srv/0/*".to_owned() });
        let row = Row { calls: 1, ..Row::default() };
        let keys: Vec<AggKey> = (FIRST..FIRST + 300).chain([shared]).map(|file| key(file, 0)).collect();
        let rows: Vec<(&AggKey, &Row)> = keys.iter().map(|key| (key, &row)).collect();
        let lines = lines(&rows, &names);
        assert_eq!(lines.iter().map(|line| line.row.calls).sum::<u64>(), 301);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn rows_without_descriptors_stay_as_they_are() {
        let row = Row { calls: 1, ..Row::default() };
        let keys: Vec<AggKey> = (0..300).map(|tid| AggKey { tid, ..key(0, 45) }).collect();
        let rows: Vec<(&AggKey, &Row)> = keys.iter().map(|key| (key, &row)).collect();
        assert_eq!(lines(&rows, &Names::default()).len(), 300);
    }
}
