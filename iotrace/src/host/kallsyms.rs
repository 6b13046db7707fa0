//! Places of the kernel's symbols, from `/proc/kallsyms`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};

/// The places of those of `names` that the kernel tells; none where it hides them (`kernel.kptr_restrict`).
pub fn places(names: &[&str]) -> HashMap<String, u64> {
    std::fs::File::open("/proc/kallsyms").map(|file| parse(BufReader::new(file), names)).unwrap_or_default()
}

fn parse(symbols: impl BufRead, names: &[&str]) -> HashMap<String, u64> {
    let mut found = HashMap::new();
    for line in symbols.lines().map_while(Result::ok) {
        // Address, type, name, and of a module its name. A hidden address is 0, as is that of the first per-CPU variable.
        let mut words = line.split_ascii_whitespace();
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
}
