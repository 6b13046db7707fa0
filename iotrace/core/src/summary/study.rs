//! What a study found: samples by arm, lines through them, and verdicts on claims.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Picture, Table};

/// One experiment on kernel behaviour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Study {
    /// `scaling`, `copy`, ...
    pub name: String,
    /// What it asks.
    pub question: String,
    /// Under what conditions it was asked.
    pub environment: Environment,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// What came out: one entry a measure, arm and point.
    pub arms: Vec<Arm>,
    /// Lines through the points of an arm.
    pub fits: Vec<Fit>,
    /// Where one arm passes another.
    pub crossovers: Vec<Crossover>,
    /// Claims put to the test.
    pub claims: Vec<Claim>,
    /// What the figures say, one sentence each, made from them.
    pub findings: Vec<String>,
    /// Measures that are shown side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Table>,
    /// The course of the median message of each arm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<Picture>,
}

/// The conditions of a study.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Counted rounds. Each visits all arms once, in an order that is turned by one from round to round.
    pub repeats: u32,
    /// Rounds before them that are not counted.
    pub warmup: u32,
    /// Whether sizes and points were reduced by `--quick`.
    pub quick: bool,
    /// `/sys/devices/system/clocksource/clocksource0/current_clocksource`; `null`: cannot be read.
    pub clocksource: Option<String>,
    /// Load average of the last minute when the study began; `null`: cannot be read.
    pub load: Option<f64>,
    /// `model name` of the first CPU; `null`: cannot be read.
    pub cpu: Option<String>,
    /// The soft limit on descriptors during the study (RLIMIT_NOFILE).
    pub descriptors: u64,
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The experiment's own CLOCK_MONOTONIC around the call; no probe was attached.
    Clock,
    /// The kernel's records of the call.
    Ebpf,
    /// Counted by the experiment.
    Count,
}

/// One thing that was measured, of every arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measure {
    /// Stable short name, unique in the study.
    pub name: String,
    /// What it is, in one line.
    pub title: String,
    /// `ns`, `ns per byte`, `returns`, ...
    pub unit: String,
    /// Where its figures come from.
    pub source: Source,
    /// What `x` of its arms counts; `null`: they have none.
    pub x: Option<Axis>,
}

/// The meaning of `x`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Axis {
    /// `connections`, `bytes`, ...
    pub label: String,
    /// Its singular, for slopes: `fd`, `byte`.
    pub per: String,
    /// Whether figures give it a logarithmic scale.
    pub log: bool,
}

/// One arm at one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Arm {
    /// The arm: `poll`, `tcp`, ...
    pub name: String,
    /// [`Measure::name`].
    pub measure: String,
    /// Where on the axis of the measure.
    pub x: Option<f64>,
    /// Samples: one a round that gave one.
    pub repeats: u32,
    /// Their median; `null`: no round gave one.
    pub median: Option<f64>,
    /// 95 % confidence interval of the median, from order statistics; `null` below 6 samples.
    pub ci95: Option<[f64; 2]>,
    /// Smallest sample.
    pub min: Option<f64>,
    /// Largest sample.
    pub max: Option<f64>,
    /// [`Measure::unit`].
    pub unit: String,
}

/// A straight line through the points of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fit {
    /// The arm.
    pub arm: String,
    /// [`Measure::name`].
    pub measure: String,
    /// Median of the slopes of the rounds. Each is the median slope of all pairs of points of that round,
    /// weighted with their distance (Theil-Sen).
    pub slope: f64,
    /// `ns per fd`, ...
    pub unit: String,
    /// 95 % confidence interval of that median, from order statistics; `null` below 6 rounds.
    pub ci95: Option<[f64; 2]>,
    /// Median of the lines' values at 0, in the unit of the measure.
    pub intercept: f64,
    /// Points of each round.
    pub points: u32,
    /// Smallest and largest x of these points.
    pub range: [f64; 2],
}

/// Where the lines between the points of two arms cross.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Crossover {
    /// [`Measure::name`].
    pub measure: String,
    /// Less than `other` below, more above.
    pub arm: String,
    /// The other arm.
    pub other: String,
    /// Median of the rounds; `null`: in most rounds they do not cross.
    pub x: Option<f64>,
    /// 95 % confidence interval of that median; `null` below 6 rounds that have a crossing.
    pub ci95: Option<[f64; 2]>,
    /// What `x` counts.
    pub unit: String,
}

/// A verdict on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// The data agree with it.
    Holds,
    /// The data agree in part, or under a condition that they show.
    Conditional,
    /// The data contradict it.
    Fails,
    /// It could not be put to the test here.
    NotMeasured,
}

impl Ruling {
    /// As people say it.
    pub fn words(self) -> &'static str {
        match self {
            Ruling::Holds => "holds",
            Ruling::Conditional => "holds with a condition",
            Ruling::Fails => "does not hold",
            Ruling::NotMeasured => "not measured",
        }
    }
}

/// One claim put to the test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// Stable short name.
    pub id: String,
    /// As it is usually told.
    pub claim: String,
    /// What was done.
    pub experiment: String,
    /// What the data say.
    pub verdict: Ruling,
    /// How the verdict follows from the evidence.
    pub rule: String,
    /// What the evidence comes to, made from it; for a condition, which.
    pub because: String,
    /// What was measured.
    pub evidence: BTreeMap<String, Evidence>,
}

/// One measured figure of a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The figure: the median of the rounds; `null`: not measured.
    pub value: Option<f64>,
    /// 95 % confidence interval of that median; `null`: below 6 samples.
    pub ci95: Option<[f64; 2]>,
    /// Its unit.
    pub unit: String,
    /// Where it comes from.
    pub source: Source,
}
