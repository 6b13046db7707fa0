//! Reads the running kernel's BTF: offsets of fields, and arguments of tracepoints and functions.
//!
//! Neither aya nor rustc relocates field accesses of Rust programs, so the offsets are looked up here
//! and passed to the probes as constants. Format: `Documentation/bpf/btf.rst`.

use std::collections::HashSet;
use std::path::Path;

use thiserror::Error;

use crate::host::check::VMLINUX;

/// Why BTF could not be read.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {VMLINUX}: {0}")]
    Read(#[from] std::io::Error),
    /// The file is not valid BTF, or newer than this build.
    #[error("{VMLINUX} is not BTF that iotrace can read: at byte {at} {what}")]
    Format {
        /// What is wrong.
        what: &'static str,
        /// Where, in bytes from the beginning.
        at: usize,
    },
}

/// An argument of a tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A pointer.
    Pointer,
    /// An integer, enum or bool of so many bytes.
    Number(u32),
}

/// Type information of a kernel.
pub struct Btf {
    data: Vec<u8>,
    /// Offset of every type in `data`; entry 0 is `void`.
    types: Vec<u32>,
    /// Ids of the types of each kind: a kernel has more than 100,000 types, and a start asks for a hundred by name.
    by_kind: [Vec<u32>; KINDS],
    strings: usize,
}

/// How deep anonymous structures may lie in each other; those of a kernel do not exceed four.
const DEPTH: u32 = 8;

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;
const KINDS: usize = ENUM64 as usize + 1;

impl Btf {
    /// Reads the running kernel's BTF.
    ///
    /// # Errors
    /// The file is missing, or is not BTF that this build can read.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(std::fs::read(Path::new(VMLINUX))?)
    }

    /// Indexes a BTF blob of this machine's byte order.
    ///
    /// # Errors
    /// The blob is cut off, is not BTF, or has a kind of type that this build does not know.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let wrong = |at: usize, what: &'static str| BtfError::Format { what, at };
        let short = |at: usize| wrong(at, "it ends too early");
        let word = |at: usize| u32_at(&data, at).ok_or_else(|| short(at));
        if data.get(..2) != Some(&0xeb9f_u16.to_ne_bytes()) {
            return Err(wrong(0, "the magic number is not that of BTF"));
        }
        let header = word(4)? as usize;
        let mut at = header + word(8)? as usize;
        let end = at + word(12)? as usize;
        let strings = header + word(16)? as usize;
        if end > data.len() || strings > data.len() {
            return Err(short(data.len()));
        }
        let mut types = vec![0];
        let mut by_kind = [const { Vec::new() }; KINDS];
        while at < end {
            let info = word(at + 4)?;
            let count = info & 0xffff;
            let kind = info >> 24 & 0x1f;
            let tail = match kind {
                INT | VAR | DECL_TAG => 4,
                ARRAY => 12,
                STRUCT | UNION | DATASEC | ENUM64 => count * 12,
                ENUM | FUNC_PROTO => count * 8,
                0 | 20.. => return Err(wrong(at, "is a kind of type that this build does not know")),
                _ => 0,
            };
            by_kind[kind as usize].push(types.len() as u32);
            types.push(at as u32);
            at += 12 + tail as usize;
        }
        Ok(Self { data, types, by_kind, strings })
    }

    /// Byte offset of a field, `None` if this kernel has none of that name. `path` may go through
    /// nested structures with dots; anonymous ones are looked into.
    pub fn offset_of(&self, structure: &str, path: &str) -> Option<u32> {
        Some(self.bit_of(structure, path)? / 8)
    }

    /// Where a field begins, in bits; only that of a bit field is no multiple of eight. `path` as in
    /// [`Self::offset_of`].
    pub fn bit_of(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = self.find(STRUCT, structure)?;
        let mut offset = 0;
        for name in path.split('.') {
            let (bits, member) = self.member(self.stripped(id), name, DEPTH, &mut HashSet::new())?;
            offset = bits.checked_add(offset)?;
            id = member;
        }
        Some(offset)
    }

    /// Where a per-CPU variable lies among those of the kernel itself, in bytes; `None` if it is not described.
    pub fn per_cpu(&self, variable: &str) -> Option<u32> {
        let wanted = self.find(VAR, variable)?;
        let at = self.at(self.find(DATASEC, ".data..percpu")?)?;
        let entries =
            (0..self.count(self.find(DATASEC, ".data..percpu")?)? as usize).map(|n| at + 12 + n * 12);
        let mut entries = entries.filter(|&entry| u32_at(&self.data, entry) == Some(wanted));
        u32_at(&self.data, entries.next()? + 4)
    }

    /// The arguments of a function; `None` if none of that name is described here.
    pub fn function(&self, name: &str) -> Option<Vec<Arg>> {
        let proto = self.target(self.find(FUNC, name)?)?;
        self.params(proto, 0)
    }

    /// The arguments of a tracepoint, without the leading `void *__data`; `None` if it has none here.
    pub fn tracepoint(&self, name: &str) -> Option<Vec<Arg>> {
        let pointer = self.target(self.find(TYPEDEF, &format!("btf_trace_{name}"))?)?;
        let proto = self.target(self.stripped(pointer))?;
        self.params(proto, 1)
    }

    fn params(&self, proto: u32, first: u32) -> Option<Vec<Arg>> {
        let at = self.at(proto)?;
        let params = (first..self.count(proto)?).map(|n| u32_at(&self.data, at + 12 + n as usize * 8 + 4));
        params.map(|id| self.arg(id?)).collect()
    }

    fn arg(&self, id: u32) -> Option<Arg> {
        let id = self.stripped(id);
        match self.kind(id)? {
            PTR => Some(Arg::Pointer),
            INT | ENUM | ENUM64 => Some(Arg::Number(u32_at(&self.data, self.at(id)? + 8)?)),
            _ => None,
        }
    }

    /// Bit and type of a member; anonymous structures are looked into, so many deep, each once.
    fn member(&self, id: u32, wanted: &str, deep: u32, seen: &mut HashSet<u32>) -> Option<(u32, u32)> {
        if !seen.insert(id) {
            return None;
        }
        let at = self.at(id)?;
        let bitfields = u32_at(&self.data, at + 4)? >> 31 != 0;
        for n in 0..self.count(id)? as usize {
            let entry = at + 12 + n * 12;
            let (name, ty) = (self.string(u32_at(&self.data, entry)?)?, u32_at(&self.data, entry + 4)?);
            let offset = u32_at(&self.data, entry + 8)?;
            let bits = if bitfields { offset & 0x00ff_ffff } else { offset };
            if name == wanted.as_bytes() {
                return Some((bits, ty));
            }
            if name.is_empty()
                && let Some(deep) = deep.checked_sub(1)
                && let Some((inner, ty)) = self.member(self.stripped(ty), wanted, deep, seen)
            {
                return Some((bits.checked_add(inner)?, ty));
            }
        }
        None
    }

    fn find(&self, kind: u32, name: &str) -> Option<u32> {
        let is_named = |at: usize| {
            let rest = self
                .data
                .get(self.strings + u32_at(&self.data, at)? as usize..)?
                .strip_prefix(name.as_bytes())?;
            (rest.first() == Some(&0)).then_some(())
        };
        self.by_kind[kind as usize].iter().copied().find(|&id| self.at(id).and_then(is_named).is_some())
    }

    /// Follows typedefs and qualifiers.
    fn stripped(&self, mut id: u32) -> u32 {
        // A chain longer than this is no real one.
        for _ in 0..32 {
            match self.kind(id) {
                Some(TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG) => id = self.target(id).unwrap_or(0),
                _ => break,
            }
        }
        id
    }

    fn at(&self, id: u32) -> Option<usize> {
        (id != 0).then(|| self.types.get(id as usize).map(|&at| at as usize))?
    }

    fn kind(&self, id: u32) -> Option<u32> {
        Some(u32_at(&self.data, self.at(id)? + 4)? >> 24 & 0x1f)
    }

    fn count(&self, id: u32) -> Option<u32> {
        Some(u32_at(&self.data, self.at(id)? + 4)? & 0xffff)
    }

    fn target(&self, id: u32) -> Option<u32> {
        u32_at(&self.data, self.at(id)? + 8)
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.data.get(self.strings + offset as usize..)?;
        rest.iter().position(|&byte| byte == 0).map(|end| &rest[..end])
    }
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes)
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
