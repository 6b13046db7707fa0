use iotrace_ebpf::abi::{AggKey, ErrorKey, LifeKey, LifeSum, PeerKey, TakenKey, WakeKey, WayKey};
use iotrace_ebpf::book::Distribution;
use iotrace_ebpf::span::Parts;

use super::*;
use crate::domain::{Fd, Triggers};
use crate::rows::batch::{FileName, ProcessTriggers, ThreadName};
use crate::rows::complete::Target;
use crate::rows::ledger::WallClock;
use crate::rows::open::Open;
use crate::rows::sums::{Row, Snapshot};

fn host() -> Host {
    Host {
        kernel: "6.18.0".to_owned(),
        arch: "x86_64".to_owned(),
        cpus: 2,
        lockdown: "none".to_owned(),
        tier: Tier::Tracepoint,
    }
}

fn snapshot() -> Snapshot {
    let key = AggKey { file: 3, tgid: 7, tid: 8, nr: 45, fd: 5 };
    let mut row = Row { calls: 2, bytes: 64, sleeps: 1, pickup_ns: u64::MAX, ..Row::default() };
    row.parts.wait = 900;
    row.parts.work = 100;
    row.parts.total = 1000;
    row.latency.count(1000);
    row.pickup.count(u64::MAX);
    Snapshot {
        rows: [(key, row)].into(),
        errors: [(ErrorKey { row: key, errno: 104 }, 3)].into(),
        wakes: [(WakeKey { tgid: 7, nr: 45, waker: 9, by_socket: 1 }, 4)].into(),
        ways: [(WayKey { tgid: 7, nr: 45, way: 3 }, 5)].into(),
        lives: [(LifeKey { tgid: 7, tid: 8, what: 202, place: 1 }, LifeSum { ns: 6, times: 7 })].into(),
        taken: [(TakenKey { tgid: 7, taker: 9 }, 8)].into(),
        peers: [(
            PeerKey { address: [1; 16], tgid: 7, network: 2, local: 3, remote: 4, family: 2 },
            LifeSum { ns: 1, times: 2 },
        )]
        .into(),
    }
}

fn blocks() -> Vec<Block> {
    let facts = Facts {
        threads: vec![ThreadName { tid: 8, pid: 7, name: "naïve \u{202e}".to_owned() }],
        files: vec![FileName {
            group: Some("/srv/*".to_owned()),
            file: 3,
            fd: Fd { kind: "tcp".to_owned(), name: "a".to_owned() },
            waits_for: None,
        }],
        triggers: vec![ProcessTriggers { pid: 7, triggers: Triggers { edge: 1, level: 2 } }],
        ..Facts::default()
    };
    let closing = Closing {
        of: Closes::Whole,
        open: vec![Open {
            tgid: 7,
            tid: 8,
            nr: 45,
            since: 12,
            key: AggKey { tgid: 7, nr: 45, fd: -1, ..AggKey::default() },
            parts: Parts { total: 30, wait: 20, work: 10, ..Parts::default() },
        }],
        before: vec![Since { pid: 7, tid: 9, nr: 7 }],
        loss: Loss::NOTHING,
        ..Closing::default()
    };
    let batch = Batch {
        at: 99,
        items: vec![vec![1, 2, 3], Vec::new()],
        facts,
        sums: Some(snapshot()),
        retired: Some(Snapshot::default()),
        closing: Some(closing),
    };
    let opening = Opening {
        traced: vec![0, 232],
        host: host(),
        started: 5,
        exact: false,
        top: Some(3),
        warnings: Vec::new(),
        initial: vec![7],
        with_command: true,
        selective: false,
        target: Target { follows: true, ..Target::default() },
        missing: vec!["task_rename".to_owned()],
        min_ns: 0,
        wall_clock: Some(WallClock { unix_ns: 5, utc_offset_s: -3600 }),
    };
    vec![
        Block::Trace(opening),
        Block::Batch(Box::new(batch)),
        Block::Run(host()),
        Block::Items(vec![vec![9; 40]]),
        Block::Ended(Box::new(RunEnd { elapsed_ns: 3, ..RunEnd::default() })),
    ]
}

fn tape(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    blocks.iter().for_each(|block| writer.put(block).unwrap());
    bytes
}

#[test]
fn what_was_written_is_read() {
    let written = blocks();
    assert_eq!(read(&tape(&written)), Ok(Tape { blocks: written, damage: None }));
}

#[test]
fn a_tape_that_was_cut_is_read_up_to_its_last_whole_block() {
    let (written, bytes) = (blocks(), tape(&blocks()));
    let mut most = 0;
    for length in 16..bytes.len() {
        let tape = read(&bytes[..length]).unwrap();
        let whole = tape.blocks.len();
        assert_eq!(tape.blocks, written[..whole]);
        assert!(whole >= most && whole < written.len());
        most = whole;
        assert!(tape.damage.is_none() || tape.damage.is_some_and(|damage| damage.offset < length));
    }
    assert_eq!(most, written.len() - 1);
    for length in 0..16 {
        assert!(read(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn no_flipped_byte_is_taken_for_something_else() {
    let (written, bytes) = (blocks(), tape(&blocks()));
    for place in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[place] ^= flip;
            match read(&damaged) {
                Err(_) => assert!(place < 16, "{place}"),
                Ok(tape) => {
                    let damage = tape.damage.expect("damage is found");
                    assert!(damage.offset <= place, "{damage}");
                    assert_eq!(tape.blocks, written[..tape.blocks.len()]);
                }
            }
        }
    }
}

#[test]
fn a_tape_of_another_version_is_refused_by_name() {
    let mut bytes = tape(&[]);
    bytes[8] = 9;
    let damage = read(&bytes).unwrap_err();
    assert!(damage.why.contains("version 9"), "{damage}");
    assert!(read(b"#!/bin/sh").unwrap_err().why.contains("no tape"));
}
