//! How large the probes are once loaded: a number without noise, where times on a shared machine have much.
//!
//! A program that grows past its line of `budget.txt` fails. Verifiers rewrite differently: since 6.8 they
//! follow a global function only where a program reaches it (`do_check_subprogs`, `kernel/bpf/verifier.c`) and drop
//! the rest as dead code, before that every program keeps all that it names. So there is a section for a
//! series on either side, and other series are given half as much again as the next newer section, and
//! programs of their own. After a change that is worth its price: `UPDATE_BUDGET=1 cargo xtask test --no-vm
//! -- budget` writes the section of the kernel that runs; `cargo xtask vm 6.1 -- budget` prints the sizes for its own.

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
use iotrace::host::kernel;
use iotrace::session::settings;
use iotrace_core::domain::syscall;

/// In the working directory of the tests, the package's.
const FILE: &str = "tests/budget.txt";
const BUDGET: &str = include_str!("budget.txt");
const HEAD: &str = "# Instructions of each program after verification, by mode: see kernel_budget.rs.\n";

/// Instructions by mode and program.
type Sizes = BTreeMap<(String, String), u32>;

/// The first two numbers of a kernel's release.
type Series = (u32, u32);

fn parse(text: &str) -> BTreeMap<Series, Sizes> {
    let mut sections = BTreeMap::new();
    let mut of = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match (line.split_whitespace().collect::<Vec<_>>().as_slice(), of) {
            (["kernel", release], _) => {
                of = Some(kernel::version(release).expect("a major and a minor number"));
            }
            ([mode, program, size], Some(of)) => {
                let size = size.parse().expect("a number of instructions");
                let section: &mut Sizes = sections.entry(of).or_default();
                section.insert(((*mode).to_owned(), (*program).to_owned()), size);
            }
            _ => panic!("not a line of a budget: {line}"),
        }
    }
    sections
}

fn render(sections: &BTreeMap<Series, Sizes>) -> String {
    let mut text = HEAD.to_owned();
    for ((major, minor), sizes) in sections {
        writeln!(text, "kernel {major}.{minor}").expect("a String takes everything");
        for ((mode, program), size) in sizes {
            writeln!(text, "{mode:<10} {program:<26} {size}").expect("a String takes everything");
        }
    }
    text
}

/// The section that a series is judged by: its own, the next newer one, or the newest.
fn section_for(sections: &BTreeMap<Series, Sizes>, of: Series) -> (Series, &Sizes) {
    let next = sections.range(of..).next().or_else(|| sections.last_key_value());
    next.map(|(series, sizes)| (*series, sizes)).expect("a budget has a section")
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
    let of = kernel::running().expect("a release begins with two numbers");
    let (sizes, mut sections) = (measure(), parse(BUDGET));
    if std::env::var_os("UPDATE_BUDGET").is_some_and(|value| value == "1") {
        sections.insert(of, sizes);
        fs::write(FILE, render(&sections)).expect("the budget can be written");
        return;
    }
    let (series, budget) = section_for(&sections, of);
    let excess = excess(budget, &sizes, series == of);
    assert!(
        excess.is_empty(),
        "{}\nWhere this is worth it: UPDATE_BUDGET=1 cargo xtask test --no-vm -- budget",
        excess.join("\n")
    );
}

#[test]
fn growth_is_found_and_shrinking_is_not() {
    let sections =
        parse("# a\nkernel 6.1\nrun sys_enter 90\nkernel 6.18\nrun sys_enter 100\nrun sys_exit 200\n");
    assert_eq!(parse(&render(&sections)), sections);
    let judged_by = |of| section_for(&sections, of).0;
    assert_eq!([(5, 10), (6, 1), (6, 12), (7, 2)].map(judged_by), [(6, 1), (6, 1), (6, 18), (6, 18)]);
    let budget = &sections[&(6, 18)];
    let sizes = &parse("kernel 6.18\nrun sys_enter 101\nrun sys_exit 150\nrun new 1\n")[&(6, 18)];
    let found = excess(budget, sizes, true);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|one| one.contains("sys_enter: 101")), "{found:?}");
    assert!(found.iter().any(|one| one.contains("new: 1")), "{found:?}");
    assert_eq!(excess(budget, sizes, false), [""; 0], "another verifier");
}
