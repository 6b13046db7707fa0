//! Observations to a file and back: what a source gave, so that the same results come out of it elsewhere.
//!
//! A tape is a head and blocks. Each block has its kind, its length and a checksum (CRC-32), so that a tape of a
//! process that was killed is readable up to its last whole block, and damage is found and located. Records are kept
//! as the probes sent them, everything else as JSON.

use std::io::{self, Write};

use iotrace_ebpf::abi::CallRecord;
use serde::{Deserialize, Serialize};
use serde_json::Error as JsonError;

use crate::domain::spec::{Log, Spec};
use crate::domain::{Loss, Tier};
use crate::rows::batch::{Batch, Closes, Closing, Counts, Facts, Since};
use crate::rows::ledger::Opening;
use crate::rows::snapshot::{OpenOnTape, SnapshotOnTape};
use crate::summary::{Host, Overhead, Warning};

/// The first bytes of every tape.
pub const MAGIC: [u8; 8] = *b"iotrace\n";
/// Version of the format that this build writes and reads.
pub const VERSION: u32 = 1;
/// No block is longer, in bytes: a damaged length must not cost memory.
pub const MAX_BLOCK: usize = 256 << 20;

/// One block.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A trace begins.
    Trace(Opening),
    /// A batch of a trace.
    Batch(Box<Batch>),
    /// A run of workloads begins on this machine.
    Run(Host),
    /// Items of the ring buffer of the workload that is being observed.
    Items(Vec<Vec<u8>>),
    /// That workload has ended.
    Workload(Box<Ended>),
    /// The run has ended.
    Ended(Box<RunEnd>),
}

/// What is known of a workload beside its records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// What it was asked to do.
    pub spec: Spec,
    /// Its own account.
    pub log: Log,
    /// What timed its copies.
    pub tier: Tier,
    /// Probes that were not attached, by name, each with what the reader must know.
    pub missing: Vec<MissingProbe>,
    /// What the probes could not tell.
    pub loss: Loss,
    /// Added to a traced call, ns.
    pub per_call_ns: Option<u64>,
    /// Added to a call of others, ns.
    pub per_other_call_ns: Option<u64>,
}

/// A probe that was not attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingProbe {
    /// Its name.
    pub name: String,
    /// Why, and what is lost without it.
    pub text: String,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// How long it took, ns.
    pub elapsed_ns: u64,
    /// Added to a switch of a traced thread, ns.
    pub per_switch_ns: Option<u64>,
    /// CPU time of iotrace itself, ns.
    pub iotrace_cpu_ns: Option<u64>,
    /// Models that were left out and why.
    pub warnings: Vec<Warning>,
}

/// Why a tape, or the rest of it, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Byte from the start of the tape at which the block begins that cannot be read.
    pub offset: usize,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.why)
    }
}

/// What is in a tape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tape {
    /// Its blocks, in order, up to the first that cannot be read.
    pub blocks: Vec<Block>,
    /// Why there are no more, if that is not the end of the tape.
    pub damage: Option<Damage>,
}

/// Writes a tape block by block.
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a tape.
    ///
    /// # Errors
    /// Of the writer.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        // Records are only as good as the structures that they are read by.
        out.write_all(&(size_of::<CallRecord>() as u32).to_le_bytes())?;
        Ok(Self { out })
    }

    /// What is written to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// Writes a block and flushes it: what is lost with this process is what came after it.
    ///
    /// # Errors
    /// Of the writer, or a block longer than [`MAX_BLOCK`].
    pub fn put(&mut self, block: &Block) -> io::Result<()> {
        let payload = encode(block)?;
        if payload.len() > MAX_BLOCK {
            return Err(io::Error::other(format!("a block of {} bytes does not fit a tape", payload.len())));
        }
        self.out.write_all(&kind(block).to_le_bytes())?;
        self.out.write_all(&(payload.len() as u32).to_le_bytes())?;
        self.out.write_all(&checksum(kind(block), &payload).to_le_bytes())?;
        self.out.write_all(&payload)?;
        self.out.flush()
    }
}

/// Reads a tape.
///
/// # Errors
/// Where it is no tape at all, or one of another version. Damage further on is in [`Tape::damage`].
pub fn read(bytes: &[u8]) -> Result<Tape, Damage> {
    let not = |why: &str| Damage { offset: 0, why: why.to_owned() };
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else { return Err(not("this is no tape of iotrace")) };
    let version = word(&mut rest).ok_or_else(|| not("the tape ends in its head"))?;
    if version != VERSION {
        return Err(not(&format!("a tape of version {version}; this iotrace reads version {VERSION}")));
    }
    let record = word(&mut rest).ok_or_else(|| not("the tape ends in its head"))?;
    if record as usize != size_of::<CallRecord>() {
        return Err(not("its records are those of another build of iotrace"));
    }
    let mut tape = Tape::default();
    while !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        match block(&mut rest) {
            Ok(block) => tape.blocks.push(block),
            Err(why) => {
                tape.damage = Some(Damage { offset, why });
                break;
            }
        }
    }
    Ok(tape)
}

fn block(rest: &mut &[u8]) -> Result<Block, String> {
    let ends = || "the tape ends in the middle of a block".to_owned();
    let (kind, length, sum) = (|| Some((word(rest)?, word(rest)?, word(rest)?)))().ok_or_else(ends)?;
    if length as usize > MAX_BLOCK {
        return Err(format!("a block of {length} bytes is longer than any"));
    }
    let payload = rest.get(..length as usize).ok_or_else(ends)?;
    if checksum(kind, payload) != sum {
        return Err("the checksum of a block does not fit it".to_owned());
    }
    let block = decode(kind, payload)?;
    *rest = &rest[payload.len()..];
    Ok(block)
}

/// CRC-32 of a block's kind and payload.
fn checksum(kind: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&kind.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    let (word, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*word))
}

fn kind(block: &Block) -> u32 {
    match block {
        Block::Trace(_) => 1,
        Block::Batch(_) => 2,
        Block::Run(_) => 3,
        Block::Items(_) => 4,
        Block::Workload(_) => 5,
        Block::Ended(_) => 6,
    }
}

fn encode(block: &Block) -> io::Result<Vec<u8>> {
    let json = |value: Result<Vec<u8>, JsonError>| value.map_err(io::Error::other);
    match block {
        Block::Trace(opening) => json(serde_json::to_vec(opening)),
        Block::Run(host) => json(serde_json::to_vec(host)),
        Block::Workload(ended) => json(serde_json::to_vec(ended)),
        Block::Ended(end) => json(serde_json::to_vec(end)),
        Block::Items(items) => Ok(framed(items)),
        Block::Batch(batch) => {
            let text = json(serde_json::to_vec(&BatchOnTape::of(batch)))?;
            let mut payload = (text.len() as u32).to_le_bytes().to_vec();
            payload.extend(text);
            payload.extend(framed(&batch.items));
            Ok(payload)
        }
    }
}

fn decode(kind: u32, payload: &[u8]) -> Result<Block, String> {
    fn json<T: for<'a> Deserialize<'a>>(payload: &[u8]) -> Result<T, String> {
        serde_json::from_slice(payload).map_err(|error| format!("a block that cannot be understood: {error}"))
    }
    Ok(match kind {
        1 => Block::Trace(json(payload)?),
        2 => {
            let mut rest = payload;
            let length = word(&mut rest).ok_or("a batch without a length")?;
            let (text, items) =
                rest.split_at_checked(length as usize).ok_or("a batch shorter than it says")?;
            let batch: BatchOnTape = json(text)?;
            Block::Batch(Box::new(batch.batch(unframed(items)?)))
        }
        3 => Block::Run(json(payload)?),
        4 => Block::Items(unframed(payload)?),
        5 => Block::Workload(Box::new(json(payload)?)),
        6 => Block::Ended(Box::new(json(payload)?)),
        other => return Err(format!("a block of kind {other}, which this iotrace does not know")),
    })
}

fn framed(items: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(items.iter().map(|item| item.len() + 4).sum());
    for item in items {
        payload.extend((item.len() as u32).to_le_bytes());
        payload.extend(item);
    }
    payload
}

fn unframed(mut rest: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        let length = word(&mut rest).ok_or("an item without a length")?;
        let (item, after) = rest.split_at_checked(length as usize).ok_or("an item shorter than it says")?;
        items.push(item.to_vec());
        rest = after;
    }
    Ok(items)
}

/// A batch but for its items.
#[derive(Serialize, Deserialize)]
struct BatchOnTape {
    at: u64,
    facts: Facts,
    sums: Option<SnapshotOnTape>,
    retired: Option<SnapshotOnTape>,
    closing: Option<ClosingOnTape>,
}

#[derive(Serialize, Deserialize)]
struct ClosingOnTape {
    of: Closes,
    open: Vec<OpenOnTape>,
    before: Vec<Since>,
    loss: Loss,
    counts: Counts,
    overhead: Overhead,
}

impl BatchOnTape {
    fn of(batch: &Batch) -> Self {
        let closing = |closing: &Closing| ClosingOnTape {
            of: closing.of,
            open: closing.open.iter().map(OpenOnTape::of).collect(),
            before: closing.before.clone(),
            loss: closing.loss,
            counts: closing.counts,
            overhead: closing.overhead,
        };
        Self {
            at: batch.at,
            facts: batch.facts.clone(),
            sums: batch.sums.as_ref().map(SnapshotOnTape::of),
            retired: batch.retired.as_ref().map(SnapshotOnTape::of),
            closing: batch.closing.as_ref().map(closing),
        }
    }

    fn batch(self, items: Vec<Vec<u8>>) -> Batch {
        let closing = |closing: ClosingOnTape| Closing {
            of: closing.of,
            open: closing.open.iter().map(OpenOnTape::open).collect(),
            before: closing.before,
            loss: closing.loss,
            counts: closing.counts,
            overhead: closing.overhead,
        };
        Batch {
            at: self.at,
            items,
            facts: self.facts,
            sums: self.sums.map(|sums| sums.snapshot()),
            retired: self.retired.map(|sums| sums.snapshot()),
            closing: self.closing.map(closing),
        }
    }
}

#[cfg(test)]
#[path = "tape_tests.rs"]
mod tests;
