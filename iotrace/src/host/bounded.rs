//! Reads files of which others decide how long they are.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a file that has at most `most`.
///
/// # Errors
/// Of reading it, or where it is longer.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is longer than {most} bytes, and nothing of it is used")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_costs_no_memory() {
        assert!(read(Path::new("/dev/zero"), 4096).unwrap_err().to_string().contains("4096"));
        assert_eq!(read(Path::new("/dev/null"), 0).unwrap(), b"");
        assert!(read(Path::new("/proc/self/comm"), 4096).unwrap().ends_with(b"\n"));
    }
}
