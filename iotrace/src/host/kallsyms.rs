//! Places of the kernel's symbols, from `/proc/kallsyms`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// The places of those of `names` that the kernel tells; none where it hides them (`kernel.kptr_restrict`).
pub fn places(names: &[&str]) -> HashMap<String, u64> {
    std::fs::File::open("/proc/kallsyms").map(|file| parse(BufReader::new(file), names)).unwrap_or_default()
}

/// Longest line that is read, bytes: a name of the kernel has at most 512 (`KSYM_NAME_LEN`).
const LINE: u64 = 4096;

fn parse(mut symbols: impl BufRead, names: &[&str]) -> HashMap<String, u64> {
    let mut found = HashMap::new();
    let mut line = Vec::new();
    while symbols.by_ref().take(LINE).read_until(b'\n', &mut line).is_ok_and(|got| got > 0) {
        let text = String::from_utf8_lossy(&line).into_owned();
        line.clear();
        // Address, type, name, and of a module its name. A hidden address is 0, as is that of the first per-CPU variable.
        let mut words = text.split_ascii_whitespace();
        let (Some(place), Some(_), Some(name), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if names.contains(&name)
            && let Ok(place) = u64::from_str_radix(place, 16)
            && place != 0
        {
            found.insert(name.to_owned(), place);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_the_kernel_are_found_and_those_of_modules_and_hidden_ones_are_not() {
        let text = "0000000000031f80 A runqueues\n000000000001a0c0 A __preempt_count\n\
                    ffffffffc0000000 t runqueues\t[other]\n0000000000000000 A pcpu_hot\n";
        let found = parse(text.as_bytes(), &["runqueues", "__preempt_count", "pcpu_hot"]);
        assert_eq!(found.get("runqueues"), Some(&0x31f80));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_line_without_end_and_one_that_is_no_text_hide_no_other() {
        let mut text = b"ffff\xff\xfe t x\n".to_vec();
        text.extend(vec![b'a'; 3 * LINE as usize + 5]);
        text.extend(b"\n0000000000031f80 A runqueues\n\n0 0 0 0\n");
        assert_eq!(parse(&text[..], &["runqueues"]).get("runqueues"), Some(&0x31f80));
        let endless = BufReader::new(std::io::repeat(b'a').take(1 << 20));
        assert!(parse(endless, &["runqueues"]).is_empty());
    }
}
