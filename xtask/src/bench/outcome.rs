//! What a run came to, as plain data: questions about it, and its JSON.

use serde_json::{Value, json};

use super::arm::Arm;
use super::facts::Fact;
use super::load::Load;
use super::measure::Measured;
use super::target::Target;

/// One load with all of its arms.
pub struct Row {
    pub load: &'static Load,
    pub arms: Vec<Measured>,
    /// Why there are none.
    pub failure: Option<String>,
}

/// Everything.
#[derive(Default)]
pub struct Outcome {
    pub rows: Vec<Row>,
    pub facts: Vec<Fact>,
    pub failures: Vec<String>,
}

impl Row {
    pub fn arm(&self, arm: Arm) -> Option<&Measured> {
        self.arms.iter().find(|one| one.arm == arm)
    }

    /// ns that an arm adds to an operation: by the minima, and by the medians.
    pub fn added(&self, arm: Arm) -> Option<(f64, f64)> {
        let (with, without) = (self.arm(arm)?, self.arm(Arm::Nothing)?);
        Some((with.min()? - without.min()?, with.median()? - without.median()?))
    }
}

impl Outcome {
    pub fn row(&self, load: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.load.name == load)
    }

    /// ns added to an operation, by the minima.
    pub fn added(&self, load: &str, arm: Arm) -> Option<f64> {
        Some(self.row(load)?.added(arm)?.0)
    }

    pub fn fact(&self, name: &str) -> Option<f64> {
        self.facts.iter().find(|(known, ..)| *known == name).map(|(_, value, _)| *value)
    }

    pub fn json(&self, targets: &[Target], host: &str) -> Value {
        let arm = |row: &Row, one: &Measured| {
            let added = row.added(one.arm);
            json!({
                "arm": one.arm.name(),
                "windows": one.windows.len(),
                "min_ns": one.min(),
                "median_ns": one.median(),
                "added_min_ns": added.map(|both| both.0),
                "added_median_ns": added.map(|both| both.1),
                "failure": one.failure,
            })
        };
        let loads = self.rows.iter().map(|row| {
            let arms: Vec<Value> = row.arms.iter().map(|one| arm(row, one)).collect();
            json!({ "load": row.load.name, "unit": row.load.unit, "arms": arms, "failure": row.failure })
        });
        let facts = self
            .facts
            .iter()
            .map(|(name, value, unit)| json!({ "name": name, "value": value, "unit": unit }));
        let targets = targets.iter().map(|target| {
            json!({
                "quantity": target.quantity, "limit": target.limit, "value": target.value,
                "unit": target.unit, "met": target.met(),
            })
        });
        json!({
            "schema": "iotrace-bench/1",
            "host": host,
            "loads": loads.collect::<Vec<_>>(),
            "facts": facts.collect::<Vec<_>>(),
            "targets": targets.collect::<Vec<_>>(),
            "failures": self.failures,
        })
    }
}
