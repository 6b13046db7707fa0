//! An initramfs: a cpio archive in the `newc` form, the only one that the kernel unpacks.
//!
//! The form is described in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::io::{Result, Write};

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Writes entries one after the other; a directory must come before what lies in it.
pub struct Archive<W: Write> {
    out: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// A directory.
    pub fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(name, DIRECTORY, (0, 0), &[])
    }

    /// An executable file (nothing here minds that data files are executable too).
    pub fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.entry(name, EXECUTABLE, (0, 0), content)
    }

    /// A symbolic link.
    pub fn symlink(&mut self, name: &str, to: &str) -> Result<()> {
        self.entry(name, SYMLINK, (0, 0), to.as_bytes())
    }

    /// A character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        self.entry(name, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// Closes the archive.
    pub fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).map_err(std::io::Error::other)?;
        let name_size = u32::try_from(name.len() + 1).map_err(std::io::Error::other)?;
        // Magic, then: inode, mode, uid, gid, links, mtime, size, device of the file system (two), device
        // of the node (two), length of the name, checksum (unused in this form).
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        write!(self.out, "070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        // The header is 110 bytes; name and content each end on a multiple of four.
        self.pad(110 + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, length: usize) -> Result<()> {
        self.out.write_all(&[0; 3][..length.next_multiple_of(4) - length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_the_archive_is_closed() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("bin").unwrap();
        archive.file("bin/x", b"abcde").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        let starts: Vec<_> = text.match_indices("070701").map(|(at, _)| at).collect();
        // 110 + "bin\0" -> 116; 110 + "bin/x\0" -> 116, + "abcde" -> 8.
        assert_eq!(starts, [0, 116, 116 + 116 + 8]);
        assert!(text[starts[1]..].contains("bin/x\0abcde\0\0\0"));
        assert!(text.ends_with("TRAILER!!!\0\0\0\0"));
    }
}
