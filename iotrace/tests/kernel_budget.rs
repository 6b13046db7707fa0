//! How large the probes are once loaded: a number without noise, where times on a shared machine have much.
//!
//! A program that grows past its line of `budget.txt` fails. Verifiers rewrite differently: the sizes are
//! those of one kernel series, and others are given half as much again and programs of their own. After a
//! change that is worth its price: `UPDATE_BUDGET=1 cargo xtask test --no-vm -- budget`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use clap::Parser as _;
use iotrace::bpf::btf::Btf;
use iotrace::bpf::loader::Observer;
use iotrace::bpf::probes::Group;
use iotrace::bpf::settings::{Settings, Whom};
use iotrace::cli::{Cli, Command};
use iotrace::cmd::trace;
use iotrace::session::settings;
use iotrace_core::domain::syscall;

/// In the working directory of the tests, the package's.
const FILE: &str = "tests/budget.txt";
const BUDGET: &str = include_str!("budget.txt");
const HEAD: &str = "# Instructions of each program after verification, by mode: see kernel_budget.rs.\n";

/// Instructions by mode and program.
type Sizes = BTreeMap<(String, String), u32>;

fn parse(text: &str) -> (String, Sizes) {
    let mut series = String::new();
    let mut sizes = Sizes::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["kernel", of] => series = of.to_owned(),
            [mode, program, size] => {
                let size = size.parse().expect("a number of instructions");
                sizes.insert((mode.to_owned(), program.to_owned()), size);
            }
            _ => panic!("not a line of a budget: {line}"),
        }
    }
    (series, sizes)
}

fn render(series: &str, sizes: &Sizes) -> String {
    let mut text = format!("{HEAD}kernel {series}\n");
    for ((mode, program), size) in sizes {
        writeln!(text, "{mode:<10} {program:<26} {size}").expect("a String takes everything");
    }
    text
}

/// What has outgrown its budget; on the kernel that it was made on also what has none.
fn excess(budget: &Sizes, sizes: &Sizes, same_kernel: bool) -> Vec<String> {
    let over = |(key, size): (&(String, String), &u32)| {
        let (mode, program) = key;
        let limit = budget.get(key).map(|limit| if same_kernel { *limit } else { limit + limit / 2 });
        match limit {
            Some(limit) if *size <= limit => None,
            Some(limit) => Some(format!("{mode} {program}: {size} instructions, {limit} allowed")),
            None => same_kernel.then(|| format!("{mode} {program}: {size} instructions, and no budget")),
        }
    };
    sizes.iter().filter_map(over).collect()
}

/// The first two numbers of the kernel's release.
fn series() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    release.trim().split('.').take(2).collect::<Vec<_>>().join(".")
}

fn load(btf: &Btf, mode: &str, settings: &Settings, into: &mut Sizes) {
    let observer = Observer::attach(btf, settings).expect("iotrace works here");
    for (program, size) in observer.sizes() {
        println!(
            "{mode:<10} {program:<26} {:>5} instructions, {:>5} bytes",
            size.instructions, size.machine_bytes
        );
        into.insert((mode.to_owned(), program.to_owned()), size.instructions);
    }
}

/// What `trace` with these arguments loads.
fn traced(args: &[&str], whom: &Whom) -> Settings {
    let words = ["iotrace", "trace"].iter().chain(args);
    let Command::Trace(args) = Cli::try_parse_from(words).expect("valid arguments").command else {
        panic!("trace was asked for")
    };
    settings::of_trace(&trace::asked(&args), whom)
}

fn measure() -> Sizes {
    let btf = Btf::of_kernel().expect("this kernel has BTF");
    let pid = std::process::id();
    let one = Whom::process(pid);
    let groups =
        [Group::Core, Group::Sockets, Group::Copy, Group::CopyUnix, Group::Signals, Group::Uring].to_vec();
    let run = Settings { traits: syscall::input_table(false), ..Settings::records(pid, groups) };
    let all = Whom { all: true, ..Whom::default() };
    let followed = Whom { follow: true, ..one.clone() };
    let mut sizes = Sizes::new();
    load(&btf, "run", &run, &mut sizes);
    load(&btf, "trace-p", &traced(&["-p", "1"], &one), &mut sizes);
    load(&btf, "trace-f", &traced(&["-f", "-p", "1"], &followed), &mut sizes);
    load(&btf, "trace-a", &traced(&["-a"], &all), &mut sizes);
    load(&btf, "trace-fd", &traced(&["-p", "1", "--per", "fd"], &one), &mut sizes);
    sizes
}

#[test]
#[ignore = "needs root"]
fn no_program_outgrows_its_budget() {
    let (series, sizes) = (series(), measure());
    if std::env::var_os("UPDATE_BUDGET").is_some_and(|value| value == "1") {
        fs::write(FILE, render(&series, &sizes)).expect("the budget can be written");
        return;
    }
    let (of, budget) = parse(BUDGET);
    let excess = excess(&budget, &sizes, series == of);
    assert!(
        excess.is_empty(),
        "{}\nWhere this is worth it: UPDATE_BUDGET=1 cargo xtask test --no-vm -- budget",
        excess.join("\n")
    );
}

#[test]
fn growth_is_found_and_shrinking_is_not() {
    let (series, budget) = parse("# a\nkernel 6.18\nrun sys_enter 100\nrun sys_exit 200\n");
    assert_eq!(parse(&render(&series, &budget)), (series, budget.clone()));
    let (_, sizes) = parse("kernel 6.18\nrun sys_enter 101\nrun sys_exit 150\nrun new 1\n");
    let found = excess(&budget, &sizes, true);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|one| one.contains("sys_enter: 101")), "{found:?}");
    assert!(found.iter().any(|one| one.contains("new: 1")), "{found:?}");
    assert_eq!(excess(&budget, &sizes, false), [""; 0], "another verifier");
}
