//! The tables.

use std::fmt::Write as _;

use serde_json::Value;

use super::arm::Arm;
use super::outcome::{Outcome, Row};
use super::target::{Target, number};

/// Everything, for people.
pub fn text(run: &Outcome, targets: &[Target]) -> String {
    let mut out = String::new();
    for row in &run.rows {
        load(&mut out, row);
    }
    if !run.facts.is_empty() {
        let _ = writeln!(out, "\niotrace itself");
    }
    for (name, value, unit) in &run.facts {
        let _ = writeln!(out, "  {name:<34} {:>9} {unit}", number(*value));
    }
    let _ = writeln!(out, "\ntargets");
    for target in targets {
        let _ = writeln!(out, "  {:<40} {}", target.quantity, target.verdict());
    }
    for failure in &run.failures {
        let _ = writeln!(out, "FAILED {failure}");
    }
    out
}

fn load(out: &mut String, row: &Row) {
    let _ = writeln!(out, "\n{}: ns per {}", row.load.name, row.load.unit);
    if let Some(failure) = &row.failure {
        let _ = writeln!(out, "  FAILED {failure}");
        return;
    }
    let _ = writeln!(
        out,
        "  {:<22}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}{:>8}",
        "", "min", "median", "added min", "median", "x floor", "x none", "windows"
    );
    let floor = row.added(Arm::Floor).map(|both| both.0);
    let nothing = row.arm(Arm::Nothing).and_then(super::measure::Measured::min);
    for one in &row.arms {
        let name = one.arm.name();
        let (Some(min), Some(median)) = (one.min(), one.median()) else {
            let why = one.failure.as_deref().unwrap_or("no window");
            let _ = writeln!(out, "  {name:<22}FAILED {why}");
            continue;
        };
        let added = row.added(one.arm).filter(|_| one.arm != Arm::Nothing);
        let to = |under: Option<f64>, over: Option<f64>| {
            under.zip(over).map_or(String::new(), |(under, over)| format!("{:.2}", over / under))
        };
        let cell = |value: Option<f64>| value.map_or(String::new(), number);
        let _ = writeln!(
            out,
            "  {name:<22}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}{:>8}",
            number(min),
            number(median),
            cell(added.map(|both| both.0)),
            cell(added.map(|both| both.1)),
            to(floor, added.map(|both| both.0)),
            to(nothing, Some(min)),
            one.windows.len()
        );
        if let Some(failure) = &one.failure {
            let _ = writeln!(out, "  {:<22}then FAILED {failure}", "");
        }
    }
}

/// This run beside an earlier one.
pub fn comparison(before: &Value, now: &Value) -> String {
    let mut out = "\ncompared with the earlier run: ns added, by the minima\n".to_owned();
    for load in array(&now["loads"]) {
        for arm in array(&load["arms"]) {
            let earlier = array(&before["loads"])
                .filter(|one| one["load"] == load["load"])
                .flat_map(|one| array(&one["arms"]))
                .find(|one| one["arm"] == arm["arm"]);
            let value = |arm: &Value| arm["added_min_ns"].as_f64();
            let (Some(now), Some(then)) = (value(arm), earlier.and_then(value)) else { continue };
            if arm["arm"] == Arm::Nothing.name() {
                continue;
            }
            line(&mut out, &format!("{} / {}", text_of(&load["load"]), text_of(&arm["arm"])), then, now);
        }
    }
    out.push_str("targets\n");
    for target in array(&now["targets"]) {
        let earlier = array(&before["targets"]).find(|one| one["quantity"] == target["quantity"]);
        let (Some(now), Some(then)) =
            (target["value"].as_f64(), earlier.and_then(|one| one["value"].as_f64()))
        else {
            continue;
        };
        line(&mut out, text_of(&target["quantity"]), then, now);
    }
    out
}

fn line(out: &mut String, what: &str, then: f64, now: f64) {
    let change = if then == 0.0 { String::new() } else { format!("{:+.0} %", (now / then - 1.0) * 100.0) };
    let _ = writeln!(out, "  {what:<42}{:>10} -> {:>8} {change:>8}", number(then), number(now));
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_both_runs_have_is_compared() {
        let run = |arms: Value| json!({ "loads": [{ "load": "read", "arms": arms }], "targets": [] });
        let before = run(json!([{ "arm": "iotrace", "added_min_ns": 400.0 }]));
        let now = run(json!([
            { "arm": "iotrace", "added_min_ns": 300.0 },
            { "arm": "strace -c", "added_min_ns": null },
        ]));
        let text = comparison(&before, &now);
        assert!(text.contains("read / iotrace") && text.contains("-25 %"), "{text}");
        assert!(!text.contains("strace"), "{text}");
    }
}
