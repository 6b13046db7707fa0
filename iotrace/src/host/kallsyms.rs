//! Places of the kernel's symbols, from `/proc/kallsyms`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// The kernel's symbols, opened. Whether it tells their places is settled then, by the privileges at that time
/// (`s_open`, `kernel/kallsyms.c`); reading them takes tens of milliseconds, and may come later or never.
pub struct Symbols(Option<File>);

impl Symbols {
    /// Opens them. Without `/proc` there are none.
    pub fn open() -> Self {
        Self(File::open("/proc/kallsyms").ok())
    }

    /// The places of those of `names` that the kernel tells, read until they are `enough`; none where it hides them
    /// (`kernel.kptr_restrict`).
    pub fn places(self, names: &[&str], enough: impl Fn(&Places) -> bool) -> Places {
        self.0.map(|file| parse(BufReader::new(file), names, enough)).unwrap_or_default()
    }
}

/// Addresses by name.
pub type Places = HashMap<String, u64>;

/// Longest line that is read, bytes: a name of the kernel has at most 512 (`KSYM_NAME_LEN`).
const LINE: u64 = 4096;

fn parse(mut symbols: impl BufRead, names: &[&str], enough: impl Fn(&Places) -> bool) -> Places {
    let mut found = HashMap::new();
    let mut line = Vec::new();
    while symbols.by_ref().take(LINE).read_until(b'\n', &mut line).is_ok_and(|got| got > 0) {
        if let Some((name, place)) = symbol(&line)
            && names.contains(&name)
        {
            found.insert(name.to_owned(), place);
            if enough(&found) {
                break;
            }
        }
        line.clear();
    }
    found
}

/// Address, type, name, and of a module its name, which are left out. A hidden address is 0, as is that of the first
/// per-CPU variable.
fn symbol(line: &[u8]) -> Option<(&str, u64)> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (Some(place), Some(_), Some(name), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    let place = u64::from_str_radix(str::from_utf8(place).ok()?, 16).ok()?;
    Some((str::from_utf8(name).ok()?, place)).filter(|_| place != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_the_kernel_are_found_and_those_of_modules_and_hidden_ones_are_not() {
        let text = "0000000000031f80 A runqueues\n000000000001a0c0 A __preempt_count\n\
                    ffffffffc0000000 t runqueues\t[other]\n0000000000000000 A pcpu_hot\n";
        let names = ["runqueues", "__preempt_count", "pcpu_hot"];
        let found = parse(text.as_bytes(), &names, |_| false);
        assert_eq!(found.get("runqueues"), Some(&0x31f80));
        assert_eq!(found.len(), 2);
        let first = parse(text.as_bytes(), &names, |found| found.contains_key("runqueues"));
        assert_eq!(first.len(), 1);
    }

    #[test]
    fn a_line_without_end_and_one_that_is_no_text_hide_no_other() {
        let mut text = b"ffff\xff\xfe t x\n".to_vec();
        text.extend(vec![b'a'; 3 * LINE as usize + 5]);
        text.extend(b"\n0000000000031f80 A runqueues\n\n0 0 0 0\n");
        assert_eq!(parse(&text[..], &["runqueues"], |_| false).get("runqueues"), Some(&0x31f80));
        let endless = BufReader::new(std::io::repeat(b'a').take(1 << 20));
        assert!(parse(endless, &["runqueues"], |_| false).is_empty());
    }
}
