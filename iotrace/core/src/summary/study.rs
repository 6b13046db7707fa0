//! The result of a study: samples by arm, lines through them, and verdicts on claims.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Picture, Table};

/// One experiment on kernel behaviour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Study {
    /// Name of the study: `scaling`, `copy`, ...
    pub name: String,
    /// The question that the study answers.
    pub question: String,
    /// The conditions of the study.
    pub environment: Environment,
    /// The quantities that were measured.
    pub measures: Vec<Measure>,
    /// The results: one entry for each measure, arm and point.
    pub arms: Vec<Arm>,
    /// Straight lines through the points of an arm.
    pub fits: Vec<Fit>,
    /// Points from which one arm costs more than another.
    pub crossovers: Vec<Crossover>,
    /// Claims put to the test.
    pub claims: Vec<Claim>,
    /// What the figures say: one sentence each, made from the figures.
    pub findings: Vec<String>,
    /// Tables of measures that are shown side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Table>,
    /// Pictures of the median message of each arm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<Picture>,
}

/// The conditions of a study.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Number of counted rounds. Each measures all arms once, and begins one arm later than the round before.
    pub repeats: u32,
    /// Number of warm-up rounds, which are not counted.
    pub warmup: u32,
    /// Whether sizes and points were reduced by `--quick`.
    pub quick: bool,
    /// The clock of the kernel, from /sys/devices/system/clocksource/clocksource0/current_clocksource; `null`: cannot
    /// be read.
    pub clocksource: Option<String>,
    /// Load average of the last minute when the study began; `null`: cannot be read.
    pub load: Option<f64>,
    /// Model name of the first CPU, from /proc/cpuinfo; `null`: cannot be read.
    pub cpu: Option<String>,
    /// Soft limit on open descriptors during the study (RLIMIT_NOFILE).
    pub descriptors: u64,
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// CLOCK_MONOTONIC, read by the experiment around the call; no probe was attached.
    Clock,
    /// The kernel's records of the call.
    Ebpf,
    /// A counter of the experiment.
    Count,
}

/// One quantity that was measured for every arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measure {
    /// Stable short name, unique in the study.
    pub name: String,
    /// What the quantity is, in one line.
    pub title: String,
    /// Unit of its figures: `ns`, `ns per byte`, `returns`, ...
    pub unit: String,
    /// Where its figures come from.
    pub source: Source,
    /// What `x` of its arms counts; `null`: its arms have no `x`.
    pub x: Option<Axis>,
}

/// The meaning of `x`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Axis {
    /// What `x` counts, in the plural: `connections`, `bytes`, ...
    pub label: String,
    /// What `x` counts, in the singular, for slopes: `fd`, `byte`.
    pub per: String,
    /// Whether plots give `x` and the figures logarithmic scales.
    pub log: bool,
}

/// The samples of one measure of one arm at one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Arm {
    /// Name of the arm: `poll`, `tcp`, ...
    pub name: String,
    /// Name of the measure, see [`Measure::name`].
    pub measure: String,
    /// The point on the axis of the measure; `null`: the measure has no axis.
    pub x: Option<f64>,
    /// Number of samples: one for each round that gave one.
    pub repeats: u32,
    /// Median of the samples, in `unit`; `null`: no round gave one.
    pub median: Option<f64>,
    /// 95 % confidence interval of the median, from order statistics, in `unit`; `null` below 6 samples.
    pub ci95: Option<[f64; 2]>,
    /// Smallest sample, in `unit`.
    pub min: Option<f64>,
    /// Largest sample, in `unit`.
    pub max: Option<f64>,
    /// Unit of the figures, see [`Measure::unit`].
    pub unit: String,
}

/// A straight line through the points of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fit {
    /// Name of the arm.
    pub arm: String,
    /// Name of the measure, see [`Measure::name`].
    pub measure: String,
    /// Slope in `unit`: the median of the slopes of the rounds. The slope of a round is the median slope of all pairs
    /// of its points, weighted with their distance (Theil-Sen).
    pub slope: f64,
    /// Unit of the slope: `ns per fd`, ...
    pub unit: String,
    /// 95 % confidence interval of the slope, from order statistics; `null` below 6 rounds.
    pub ci95: Option<[f64; 2]>,
    /// Value of the line at x = 0, in the unit of the measure: the median of the rounds.
    pub intercept: f64,
    /// Number of points of each round.
    pub points: u32,
    /// Smallest and largest x of the points.
    pub range: [f64; 2],
}

/// Where the lines between the points of two arms cross.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Crossover {
    /// Name of the measure, see [`Measure::name`].
    pub measure: String,
    /// The arm that costs less than `other` below the crossing, and more above it.
    pub arm: String,
    /// The arm that `arm` is compared with.
    pub other: String,
    /// The x of the crossing: the median of the rounds; `null`: in most rounds the lines do not cross.
    pub x: Option<f64>,
    /// 95 % confidence interval of `x`; `null` below 6 rounds that have a crossing.
    pub ci95: Option<[f64; 2]>,
    /// What `x` counts.
    pub unit: String,
}

/// A verdict on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// The data agree with the claim.
    Holds,
    /// The data agree with the claim in part, or under a condition.
    Conditional,
    /// The data contradict the claim.
    Fails,
    /// The claim could not be tested here.
    NotMeasured,
}

impl Ruling {
    /// The verdict in words for a sentence.
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
    /// Stable short name of the claim.
    pub id: String,
    /// The claim in the words in which it is usually made.
    pub claim: String,
    /// What the experiment did.
    pub experiment: String,
    /// The verdict that follows from the evidence.
    pub verdict: Ruling,
    /// How the verdict follows from the evidence.
    pub rule: String,
    /// The reason for the verdict, made from the evidence; a condition is named.
    pub because: String,
    /// The figures that were measured, by name.
    pub evidence: BTreeMap<String, Evidence>,
}

/// One measured figure of a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The figure, in `unit`: the median of the rounds; `null`: not measured.
    pub value: Option<f64>,
    /// 95 % confidence interval of `value`; `null` below 6 samples.
    pub ci95: Option<[f64; 2]>,
    /// Unit of the figure; empty where its name says it.
    pub unit: String,
    /// Where the figure comes from.
    pub source: Source,
}
