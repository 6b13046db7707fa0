//! Tapes and records that are not what they should be: an error that says where, or a result, never a panic, and
//! never more memory than a tape of that length can need.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use iotrace_core::domain::Tier;
use iotrace_core::messages::replay;
use iotrace_core::records::record::Record;
use iotrace_core::report::{Format, Options, render};
use iotrace_core::rows::batch::{Batch, Closes, Closing};
use iotrace_core::rows::sums::{Row, Snapshot};
use iotrace_core::rows::tape::{self, Block, Tape, Writer};
use iotrace_core::summary::Host;
use iotrace_ebpf::abi::AggKey;
use iotrace_ebpf::book::Distribution;

/// Copies of each tape that are damaged in one way or another.
const COPIES: usize = 1_000;
/// What a damaged tape and its results may take at a time, for each byte of it; and for whatever else there is.
const PER_BYTE: usize = 32;
const AND: usize = 4 << 20;

/// Counts what is allocated by all threads: tests take turns.
struct Counted;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counted = Counted;

// SAFETY: everything is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counted {
    // SAFETY: of the caller is asked what the system's allocator asks.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: likewise.
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// One test at a time: what they allocate is counted together.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most that was allocated at a time meanwhile, beside what was there before.
fn allocated(run: impl FnOnce()) -> usize {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    run();
    MOST.load(Relaxed) - before
}

/// A fixed sequence that looks random (xorshift64*).
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tapes").join(name)).expect("it is there")
}

/// Everything that can be made of a tape.
fn use_up(tape: &Tape) {
    for document in replay::documents(tape) {
        for format in [Format::Table, Format::Json, Format::Timeline] {
            render(format, &document, &Options::default(), &mut std::io::sink()).expect("a sink takes all");
        }
    }
}

/// Damages it: flipped bytes, a cut, or both. `head` bytes stay.
fn damage(bytes: &mut Vec<u8>, head: usize, sequence: &mut Sequence) {
    if bytes.len() <= head {
        return;
    }
    let way = sequence.below(3);
    for _ in 0..if way == 1 { 0 } else { 1 + sequence.below(8) } {
        let place = head + sequence.below(bytes.len() - head);
        bytes[place] ^= 1 + sequence.below(255) as u8;
    }
    if way > 0 {
        bytes.truncate(head + sequence.below(bytes.len() - head));
    }
}

/// Where the blocks of a whole tape begin and end.
fn blocks(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut begin, mut blocks) = (16, Vec::new());
    while begin < bytes.len() {
        let length = u32::from_le_bytes(bytes[begin + 4..begin + 8].try_into().expect("four bytes")) as usize;
        blocks.push((begin, begin + 12 + length));
        begin += 12 + length;
    }
    blocks
}

/// The tapes, and how many copies of each: those of runs are large.
const TAPES: [(&str, usize); 3] = [
    ("trace-per-fd.tape", COPIES),
    ("trace-timeline.tape", COPIES),
    ("run-nonblocking-pipe.tape", COPIES / 10),
];

#[test]
fn what_happened_to_a_tape_is_found_and_located() {
    let _alone = alone();
    let mut sequence = Sequence(1);
    for (name, copies) in TAPES {
        let whole = golden(name);
        let read = tape::read(&whole).unwrap();
        for copy in 0..copies {
            let mut bytes = whole.clone();
            damage(&mut bytes, 0, &mut sequence);
            let most = allocated(|| match tape::read(&bytes) {
                Err(damage) => assert!(damage.offset <= bytes.len() && !damage.why.is_empty()),
                Ok(tape) => {
                    // What lies before the damage is as it was; a cut may also lie between two blocks.
                    assert_eq!(tape.blocks, read.blocks[..tape.blocks.len()], "{name} {copy}");
                    let short = tape.blocks.len() < read.blocks.len();
                    assert!(short, "{name} {copy}: no damage was found");
                    assert!(tape.damage.as_ref().is_none_or(|damage| damage.offset < bytes.len()));
                    use_up(&tape);
                }
            });
            assert!(most <= PER_BYTE * whole.len() + AND, "{name} {copy}: {most} bytes");
        }
    }
}

/// A checksum is no seal: what somebody has changed on purpose, and what a later build means otherwise, has the right
/// one.
#[test]
fn a_block_that_is_wrong_in_itself_does_no_harm() {
    let _alone = alone();
    let mut sequence = Sequence(2);
    for (name, copies) in TAPES {
        let whole = golden(name);
        let blocks = blocks(&whole);
        // Nearly all of the tape is read, replayed and written, of each copy.
        for copy in 0..copies / 4 {
            let mut bytes = whole[..16].to_vec();
            let chosen = sequence.below(blocks.len());
            for (index, (begin, end)) in blocks.iter().enumerate() {
                let kind = &whole[*begin..begin + 4];
                let mut payload = whole[begin + 12..*end].to_vec();
                if index == chosen {
                    digits(&mut payload, &mut sequence);
                }
                let mut sum = crc32fast::Hasher::new();
                sum.update(kind);
                sum.update(&payload);
                bytes.extend(kind);
                bytes.extend((payload.len() as u32).to_le_bytes());
                bytes.extend(sum.finalize().to_le_bytes());
                bytes.extend(payload);
            }
            let most = allocated(|| match tape::read(&bytes) {
                Err(damage) => panic!("the head was not touched: {damage}"),
                Ok(tape) => {
                    assert_eq!(tape.damage.as_ref().map_or(chosen, |_| tape.blocks.len()), chosen);
                    use_up(&tape);
                }
            });
            assert!(most <= PER_BYTE * whole.len() + AND, "{name} {copy}: {most} bytes");
        }
    }
}

/// Damages that leave JSON what it is: digits become others; of every other copy any bytes.
fn digits(payload: &mut Vec<u8>, sequence: &mut Sequence) {
    if sequence.below(2) == 0 || !payload.iter().any(u8::is_ascii_digit) {
        return damage(payload, 0, sequence);
    }
    for _ in 0..1 + sequence.below(16) {
        let from = sequence.below(payload.len());
        let digit = payload[from..].iter().position(u8::is_ascii_digit);
        if let Some(place) = digit {
            // A number must not begin with a 0.
            payload[from + place] = b'1' + sequence.below(9) as u8;
        }
    }
}

#[test]
fn garbage_is_no_record_or_one_without_meaning() {
    let _alone = alone();
    let mut sequence = Sequence(3);
    let host = Host {
        kernel: "6.12.0".to_owned(),
        arch: "x86_64".to_owned(),
        cpus: 2,
        lockdown: "none".to_owned(),
        tier: Tier::Tracepoint,
    };
    let run = tape::read(&golden("run-nonblocking-pipe.tape")).unwrap();
    let workload = run.blocks.iter().find(|block| matches!(block, Block::Workload(_))).unwrap();
    for copy in 0..COPIES {
        let items: Vec<Vec<u8>> = (0..64)
            .map(|_| {
                let length = sequence.below(300);
                let mut item = sequence.bytes(length);
                // Mostly of a known kind, and of a thread of the workload.
                if item.len() >= 16 && sequence.below(4) > 0 {
                    item[..4].copy_from_slice(&(1 + sequence.below(10) as u32).to_le_bytes());
                }
                item
            })
            .collect();
        for item in &items {
            let record = Record::parse(item);
            assert!(record.is_none_or(|record| record.head().kind <= 10), "{copy}");
        }
        let blocks =
            [Block::Run(host.clone()), Block::Items(items), workload.clone(), Block::Ended(Box::default())];
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        blocks.iter().for_each(|block| writer.put(block).unwrap());
        let most = allocated(|| use_up(&tape::read(&bytes).unwrap()));
        assert!(most <= PER_BYTE * bytes.len() + AND, "{copy}: {most} bytes");
    }
}

/// A tape is made by whoever gives it away: many small parts may not become much.
#[test]
fn a_tape_of_many_small_parts_needs_no_more_than_another() {
    let _alone = alone();
    let row = |pid| {
        let mut row = Row { calls: 1, ..Row::default() };
        for distribution in [&mut row.phase1, &mut row.phase2, &mut row.latency, &mut row.pickup] {
            distribution.count(1);
        }
        (AggKey { tgid: pid, ..AggKey::default() }, row)
    };
    let sums = Snapshot { rows: (0..20_000).map(row).collect(), ..Snapshot::default() };
    let opening = tape::read(&golden("trace-per-fd.tape")).unwrap().blocks.swap_remove(0);
    let closing = Closing { of: Closes::Whole, ..Closing::default() };
    let batch = Batch {
        items: vec![Vec::new(); 200_000],
        sums: Some(sums),
        closing: Some(closing),
        ..Batch::default()
    };
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    [opening, Block::Batch(Box::new(batch))].iter().for_each(|block| writer.put(block).unwrap());
    let most = allocated(|| use_up(&tape::read(&bytes).unwrap()));
    assert!(most <= PER_BYTE * bytes.len() + AND, "{most} bytes of {}", bytes.len());
}
