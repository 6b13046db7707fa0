//! The command line: commands, options, and the values that they take.

mod output;
mod probe;
mod selftest;
mod study;
mod tier;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::probe::probe;
pub use self::study::StudyArgs;
use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::{ProbeId, syscall};

pub use self::output::{Color, OutputArgs};
pub use self::selftest::{ActArgs, SelftestArgs};
pub use self::tier::TierArg;

/// Where does I/O block: waiting for the data, or copying it?
///
/// iotrace observes programs with eBPF and splits every I/O call into waiting until data is ready in
/// the kernel (phase 1), reading it late (pickup) and copying it to the process (phase 2).
#[derive(Debug, Parser)]
#[command(name = "iotrace", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The command to carry out.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run built-in workloads, one for each I/O model, under observation
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Observe running processes, or start a command and observe it
    #[command(after_help = TRACE_EXAMPLES)]
    Trace(TraceArgs),
    /// Check iotrace's own numbers against known truth on this kernel
    Selftest(SelftestArgs),
    /// Run an experiment on how this kernel does I/O; without a name: list the experiments
    #[command(after_help = study::EXAMPLES)]
    Study(StudyArgs),
    /// Say what works on this machine, what does not, why, and what to do about it
    Doctor(DoctorArgs),
    /// Print the JSON Schema of the JSON output
    Schema,
    /// The process that `run` observes
    #[command(hide = true)]
    Workload(WorkloadArgs),
    /// The process that `selftest` observes
    #[command(hide = true)]
    Act(ActArgs),
    /// Attach programs that do nothing, until killed
    #[command(hide = true)]
    Floor,
    /// Print the results of a tape, which a run or a trace with IOTRACE_TAPE=FILE has left
    #[command(hide = true)]
    Replay(ReplayArgs),
}

const RUN_EXAMPLES: &str = "Examples:
  sudo iotrace run --model select
  sudo iotrace run --model blocking,epoll,io-uring --transport tcp --size 64KiB
  sudo iotrace run --model all --messages 50
  sudo iotrace run --model nonblocking --poll-interval 100us --format json
  sudo iotrace run --model sigio --timeline";

/// Options of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// I/O models, separated by commas, or `all`
    #[arg(long, short = 'm', value_name = "MODEL", required = true, value_delimiter = ',', value_parser = model)]
    pub model: Vec<ModelArg>,
    /// What carries the messages
    #[arg(long, value_enum, default_value_t = Transport::Udp)]
    pub transport: Transport,
    /// Messages to measure
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub messages: u64,
    /// Bytes per message (1024, 16KiB, 1MiB)
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = bytes)]
    pub size: u64,
    /// Time between two messages (500us, 1ms, 2s); 0: as fast as the reader reads
    #[arg(long, value_name = "DUR", default_value = "1ms", value_parser = duration, allow_hyphen_values = true)]
    pub interval: Duration,
    /// Connections of the reader
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub connections: u32,
    /// Connections that carry messages [default: all]
    #[arg(long, value_name = "N")]
    pub active: Option<u32>,
    /// Model nonblocking: pause between two polls (100us, 1ms); 0: no pause
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = duration, allow_hyphen_values = true)]
    pub poll_interval: Duration,
    /// Messages sent first to warm up, not measured
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub warmup: u64,
    /// What the thread does while it waits, in models that leave it free [default: compute]
    #[arg(long, value_enum)]
    pub meanwhile: Option<Meanwhile>,
    /// Loopback port of the reader (tcp, udp); 0: any
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Hooks that time the copy
    #[arg(long, value_enum, default_value_t = TierArg::Auto)]
    pub tier: TierArg,
    /// Leave out a probe, named by its tracepoint, to see what is not measured without it
    #[arg(long, value_name = "PROBE", value_delimiter = ',', value_parser = probe, hide_short_help = true)]
    pub without: Vec<ProbeId>,
    /// Size of the buffer for records (16MiB); a power of two
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = bytes, hide_short_help = true)]
    pub buffer: u64,
    /// Form of the result and where it goes
    #[command(flatten)]
    pub output: OutputArgs,
}

const TRACE_EXAMPLES: &str = "Examples:
  sudo iotrace trace -p 1234 -d 5s
  sudo iotrace trace -p 1234 --per fd --top 10
  sudo iotrace trace --comm nginx -i 1s --format json
  sudo iotrace trace --cgroup system.slice/nginx.service
  sudo iotrace trace -- curl -s localhost
Values of -e trace=: the name of a syscall, or data, in, out, readiness, completion, connection, durable,
sync (futex, flock, ...), other (nanosleep, wait4, openat, ...), all. Without -e: all but sync, other and syncfs.
Where a call is not traced, the time asleep in it is told all the same, in the bar of its process.";

/// Options of `trace`.
#[derive(Args, Debug)]
pub struct TraceArgs {
    /// Processes to observe, with all their threads
    #[arg(short = 'p', long = "pid", value_name = "PID", value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// Single threads to observe
    #[arg(short = 't', long = "tid", value_name = "TID", value_delimiter = ',')]
    pub tids: Vec<u32>,
    /// Observe the threads with this name: its bytes, or as iotrace shows it (`\\xNN` is a byte that is no UTF-8)
    #[arg(long, value_name = "NAME")]
    pub comm: Option<OsString>,
    /// Observe the threads in this cgroup and in the cgroups below it
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Observe the whole system
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Stop after this time (500ms, 5s)
    #[arg(short = 'd', long, value_name = "DUR", value_parser = duration, allow_hyphen_values = true)]
    pub duration: Option<Duration>,
    /// Print at this interval (1s), each time what happened since the last; a table on a terminal is replaced by the next
    #[arg(short = 'i', long, value_name = "DUR", value_parser = duration, allow_hyphen_values = true)]
    pub interval: Option<Duration>,
    /// Observe children, too, with those that exist already (the default for a command)
    #[arg(short = 'f', long, overrides_with = "no_follow")]
    pub follow: bool,
    /// Do not observe children
    #[arg(long)]
    pub no_follow: bool,
    /// Observe descendants that exist already, too (the default with -f)
    #[arg(long)]
    pub tree: bool,
    /// Go on after the command has ended, until the processes that it leaves behind have ended as well
    #[arg(long, requires = "command")]
    pub wait_all: bool,
    /// Run the command as this user, by name or id; `root`: not as the user who called sudo [default: that user]
    #[arg(long = "as", value_name = "USER", requires = "command")]
    pub user: Option<OsString>,
    /// Observe these syscalls only: trace=NAME,...
    #[arg(short = 'e', value_name = "trace=SYSCALL,...", value_parser = expression)]
    pub expression: Option<Selection>,
    /// Show one row for each
    #[arg(long, value_enum, default_value_t = PerArg::Process)]
    pub per: PerArg,
    /// Show the N processes with the most time in calls that is not idle, and N rows of each (with --per)
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Count only calls that take at least this time (1ms)
    #[arg(long, value_name = "DUR", value_parser = duration, allow_hyphen_values = true)]
    pub min: Option<Duration>,
    /// Most rows of sums in the kernel [default: as many as fit into 32 MiB, 512 to 4096]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub rows: Option<u32>,
    /// Hooks that time the copy
    #[arg(long, value_enum, default_value_t = TierArg::Auto)]
    pub tier: TierArg,
    /// Leave out a probe, named by its tracepoint, to see what is not measured without it
    #[arg(long, value_name = "PROBE", value_delimiter = ',', value_parser = probe, hide_short_help = true)]
    pub without: Vec<ProbeId>,
    /// Where finished calls go; records are read and dropped, to see what they cost
    #[arg(long, value_enum, default_value_t = SinkArg::Aggregate, hide = true)]
    pub sink: SinkArg,
    /// Start sooner: what observing costs is not measured, and nothing is subtracted from copies
    #[arg(long, hide = true)]
    pub uncalibrated: bool,
    /// Form of the result and where it goes
    #[command(flatten)]
    pub output: OutputArgs,
    /// Command to start and observe, run as the user who called sudo
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// What gets a row of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PerArg {
    /// Each process and syscall.
    Process,
    /// Each thread and syscall.
    Thread,
    /// Each process, descriptor and syscall.
    Fd,
}

/// Where finished calls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SinkArg {
    /// Into sums in the kernel.
    Aggregate,
    /// Through the ring buffer, one record for each call.
    Records,
}

/// The syscalls of `-e trace=`, by number on x86-64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(pub Vec<u32>);

fn expression(word: &str) -> Result<Selection, String> {
    let names = word.strip_prefix("trace=").ok_or("write it as -e trace=NAME,NAME")?;
    let mut numbers = Vec::new();
    for name in names.split(',') {
        let found = syscall::named(name);
        if found.is_empty() {
            let known: Vec<&str> = syscall::all().map(|one| one.name).collect();
            return Err(format!(
                "{name} is not traced; use one of data, in, out, readiness, completion, connection, durable, sync, other, all, {}",
                known.join(", ")
            ));
        }
        numbers.extend(found);
    }
    Ok(Selection(numbers))
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The tape
    pub tape: PathBuf,
    /// Form of the result and where it goes
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Form of the result
    #[arg(long, value_enum, default_value_t = DoctorFormat::Table)]
    pub format: DoctorFormat,
}

/// Form of the output of `doctor` and `study`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// Text for people.
    Table,
    /// JSON for programs.
    Json,
}

/// Options of the hidden `workload`.
#[derive(Args, Debug)]
pub struct WorkloadArgs {
    /// Descriptor of the control pipe.
    #[arg(long)]
    pub control: i32,
    /// The workload as JSON, see `Spec`.
    #[arg(long)]
    pub spec: String,
}

/// A value of `--model`: one model, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelArg {
    /// One model.
    One(Model),
    /// Every model.
    All,
}

fn model(word: &str) -> Result<ModelArg, String> {
    if word == "all" {
        return Ok(ModelArg::All);
    }
    Model::ALL.into_iter().find(|model| model.name() == word).map(ModelArg::One).ok_or_else(|| {
        let known: Vec<&str> = Model::ALL.iter().map(|model| model.name()).collect();
        let near =
            probe::nearest(word, &known).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
        format!("there is no such model{near}; use one of {}, all", known.join(", "))
    })
}

fn duration(word: &str) -> Result<Duration, String> {
    if word == "0" {
        return Ok(Duration::ZERO);
    }
    if word.starts_with('-') {
        return Err("a duration cannot be negative".to_owned());
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a duration needs a unit: {word}ns, {word}us, {word}ms or {word}s"));
    }
    let parsed = humantime::parse_duration(word)
        .map_err(|error| format!("{error}; write it like 500us, 10ms or 2s"))?;
    // A day is far beyond any run, and its nanoseconds fit into 64 bits many times over.
    if parsed > Duration::from_secs(86_400) {
        Err("the longest duration is a day".to_owned())
    } else {
        Ok(parsed)
    }
}

fn bytes(word: &str) -> Result<u64, String> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at(digits);
    let factor = match unit {
        "" | "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err("write it in bytes, or with KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "not a number of bytes".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "this number of bytes does not fit into 64 bits".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units_and_are_not_negative() {
        assert_eq!(duration("10us"), Ok(Duration::from_micros(10)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("5").unwrap_err().contains("5ms"));
        assert!(duration("-1ms").unwrap_err().contains("negative"));
        assert!(duration("1 fortnight").is_err());
        assert!(duration("99999999days").is_err());
    }

    #[test]
    fn sizes_may_have_units() {
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("1024"), Ok(1024));
        assert!(bytes("18446744073709551615G").is_err());
        assert!(bytes("many").is_err());
        assert!(bytes("-1").is_err());
    }

    #[test]
    fn an_unknown_model_lists_the_known() {
        let error = model("epol").unwrap_err();
        assert!(Model::ALL.iter().all(|model| error.contains(model.name())));
    }
}
