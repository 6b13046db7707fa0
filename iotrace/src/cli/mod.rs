//! What the user may type.

mod selftest;
mod study;
mod tier;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::study::StudyArgs;
use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::syscall;
use iotrace_core::report::{Format, Unit};

pub use self::selftest::{ActArgs, SelftestArgs};
pub use self::tier::TierArg;

/// Where does I/O block: waiting for the data, or copying it?
///
/// iotrace observes programs with eBPF and splits every I/O call into waiting until data is ready in
/// the kernel (phase 1), coming for it late (pickup) and copying it to the process (phase 2).
#[derive(Debug, Parser)]
#[command(name = "iotrace", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run built-in workloads, one for each I/O model, under observation
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Observe processes that exist, or a command
    #[command(after_help = TRACE_EXAMPLES)]
    Trace(TraceArgs),
    /// Check iotrace's own numbers against known truth on this kernel
    Selftest(SelftestArgs),
    /// Experiments on how this kernel does I/O; without a name: list them
    #[command(after_help = study::EXAMPLES)]
    Study(StudyArgs),
    /// Say what works here, what does not, why, and what to do
    Doctor(DoctorArgs),
    /// Print the JSON Schema of the JSON output
    Schema,
    /// The observed side of `run`
    #[command(hide = true)]
    Workload(WorkloadArgs),
    /// The observed side of `selftest`
    #[command(hide = true)]
    Act(ActArgs),
    /// Attach programs that do nothing, until killed
    #[command(hide = true)]
    Floor,
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
    /// Time between messages (500us, 1ms, 2s); 0: as fast as the reader takes them
    #[arg(long, value_name = "DUR", default_value = "1ms", value_parser = duration, allow_hyphen_values = true)]
    pub interval: Duration,
    /// Connections the reader watches
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub connections: u32,
    /// How many of them carry messages [default: all]
    #[arg(long, value_name = "N")]
    pub active: Option<u32>,
    /// Model nonblocking: pause between polls; 0: spin
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = duration, allow_hyphen_values = true)]
    pub poll_interval: Duration,
    /// Messages sent first and not measured
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub warmup: u64,
    /// What the thread does in models that leave it free [default: compute]
    #[arg(long, value_enum)]
    pub meanwhile: Option<Meanwhile>,
    /// Loopback port of the reader (tcp, udp); 0: any
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Which hooks time the copy
    #[arg(long, value_enum, default_value_t = TierArg::Auto)]
    pub tier: TierArg,
    /// Leave a probe out, by its tracepoint's name: see what is lost without it
    #[arg(long, value_name = "PROBE", value_delimiter = ',', hide_short_help = true)]
    pub without: Vec<String>,
    /// Size of the record buffer; a power of two
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = bytes, hide_short_help = true)]
    pub buffer: u64,
    /// How the result is shown and where it goes
    #[command(flatten)]
    pub output: OutputArgs,
}

const TRACE_EXAMPLES: &str = "Examples:
  sudo iotrace trace -p 1234 -d 5s
  sudo iotrace trace -p 1234 --per fd --top 10
  sudo iotrace trace --comm nginx -i 1s --format json
  sudo iotrace trace --cgroup system.slice/nginx.service
  sudo iotrace trace -- curl -s localhost
Words for -e trace=: a syscall's name, data, in, out, readiness, completion, all";

/// Options of `trace`.
#[derive(Args, Debug)]
pub struct TraceArgs {
    /// Processes, with all their threads
    #[arg(short = 'p', long = "pid", value_name = "PID", value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// Single threads
    #[arg(short = 't', long = "tid", value_name = "TID", value_delimiter = ',')]
    pub tids: Vec<u32>,
    /// Threads of this name
    #[arg(long, value_name = "NAME")]
    pub comm: Option<String>,
    /// Threads in this cgroup or below it
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// The whole system
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Stop after this long
    #[arg(short = 'd', long, value_name = "DUR", value_parser = duration, allow_hyphen_values = true)]
    pub duration: Option<Duration>,
    /// Print every so often, what happened since the last time
    #[arg(short = 'i', long, value_name = "DUR", value_parser = duration, allow_hyphen_values = true)]
    pub interval: Option<Duration>,
    /// Follow children (the default for a command)
    #[arg(short = 'f', long, overrides_with = "no_follow")]
    pub follow: bool,
    /// Do not follow children
    #[arg(long)]
    pub no_follow: bool,
    /// Which syscalls: trace=NAME,...
    #[arg(short = 'e', value_name = "trace=SYSCALL,...", value_parser = expression)]
    pub expression: Option<Selection>,
    /// One row for each
    #[arg(long, value_enum, default_value_t = PerArg::Process)]
    pub per: PerArg,
    /// Show only the N processes with the most time in calls
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Count only calls at least this long
    #[arg(long, value_name = "DUR", value_parser = duration, allow_hyphen_values = true)]
    pub min: Option<Duration>,
    /// Most rows kept in the kernel [default: as many as fit 32 MiB, 512 to 4096]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub rows: Option<u32>,
    /// Which hooks time the copy
    #[arg(long, value_enum, default_value_t = TierArg::Auto)]
    pub tier: TierArg,
    /// Leave a probe out, by its tracepoint's name: see what is lost without it
    #[arg(long, value_name = "PROBE", value_delimiter = ',', hide_short_help = true)]
    pub without: Vec<String>,
    /// Where finished calls go; records are drained and dropped, to see what they cost
    #[arg(long, value_enum, default_value_t = SinkArg::Aggregate, hide = true)]
    pub sink: SinkArg,
    /// How the result is shown and where it goes
    #[command(flatten)]
    pub output: OutputArgs,
    /// A command to start and observe, as the user behind sudo
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// By what rows are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PerArg {
    /// Process and syscall.
    Process,
    /// Thread and syscall.
    Thread,
    /// Process, descriptor and syscall.
    Fd,
}

/// Where finished calls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SinkArg {
    /// Into sums in the kernel.
    Aggregate,
    /// Through the ring buffer, one record each.
    Records,
}

/// Syscalls that were asked for, by number.
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
                "{name} is not traced; known are the families data, in, out, readiness, completion, all, and {}",
                known.join(", ")
            ));
        }
        numbers.extend(found);
    }
    Ok(Selection(numbers))
}

/// Options that all measuring commands share.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// The same as --format timeline: the median message (run) or the longest calls (trace), drawn
    #[arg(long, conflicts_with = "format")]
    pub timeline: bool,
    /// Write the result to a file
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Unit of times in the table
    #[arg(long, value_enum, default_value_t = Unit::Auto)]
    pub unit: Unit,
    /// Colour
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Print the result and nothing else
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Say what is attached and how long it took
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Exit with 3 when the result is incomplete
    #[arg(long)]
    pub strict: bool,
}

impl OutputArgs {
    /// Whether a timeline was asked for, by either option.
    pub fn is_timeline(&self) -> bool {
        self.timeline || self.format == Format::Timeline
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Options of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = DoctorFormat::Table)]
    pub format: DoctorFormat,
}

/// How the doctor speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Options of the hidden `workload`.
#[derive(Args, Debug)]
pub struct WorkloadArgs {
    /// Descriptor of the control pipe.
    #[arg(long)]
    pub control: i32,
    /// The `Spec`, as JSON.
    #[arg(long)]
    pub spec: String,
}

/// A model, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelArg {
    /// One.
    One(Model),
    /// Every one.
    All,
}

fn model(word: &str) -> Result<ModelArg, String> {
    if word == "all" {
        return Ok(ModelArg::All);
    }
    Model::ALL.into_iter().find(|model| model.name() == word).map(ModelArg::One).ok_or_else(|| {
        let known: Vec<&str> = Model::ALL.iter().map(|model| model.name()).collect();
        format!("there is no such model; known are {}, all", known.join(", "))
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
    // Far beyond any run, and well inside 64 bits of nanoseconds.
    if parsed > Duration::from_secs(86_400) { Err("no more than a day".to_owned()) } else { Ok(parsed) }
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
    number.checked_mul(factor).ok_or_else(|| "more bytes than there are".to_owned())
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
