//! What the time of all processes of a target means together.

use crate::rows::diagnosis::{of_process, wall_ns};
use crate::rows::finding::MUCH;
use crate::rows::time;
use crate::summary::{Code, Diagnosis, Process};

/// One line for the target as a whole: what the process says first that is kept from its work, or busy, for the largest
/// part of the time of the target, `elapsed_ns`, however long it lived itself. Where no process is for much of it,
/// what all of them together are: many short processes may take all of the time. Where all are idle, what those that were
/// observed longest wait for. A process alone says it itself.
pub fn of_all(processes: &[Process], elapsed_ns: u64) -> Vec<Diagnosis> {
    let all: Vec<(&Process, &Diagnosis)> =
        processes.iter().filter_map(|process| Some((process, process.diagnosis.first()?))).collect();
    if all.len() < 2 {
        return Vec::new();
    }
    let share = |process: &Process| largest_ns(process, elapsed_ns) / elapsed_ns.max(1) as f64;
    let busy = all.iter().filter(|(_, one)| !is_idle(one.code));
    let most = busy.max_by(|(one, _), (other, _)| share(one).total_cmp(&share(other)));
    let single = most.map_or(0.0, |(process, _)| share(process));
    if let Some(one) = together(processes, elapsed_ns).filter(|one| one.share > 2.0 * single) {
        return vec![one];
    }
    if let Some((process, one)) = most.filter(|_| single >= MUCH) {
        let of_all = one.share * wall_ns(process, elapsed_ns) as f64 / elapsed_ns.max(1) as f64;
        let share = (of_all * 1000.0).round() / 1000.0;
        return vec![Diagnosis { share, text: format!("{}: {}", who(process), one.text), ..(*one).clone() }];
    }
    // A shell that waits for what it started tells nothing.
    let tells = |one: &Diagnosis| (one.code != Code::None, !one.evidence.contains_key("child_wait_ns"));
    let observed = |process: &Process| process.time.as_ref().map_or(0, |time| time.observed_ns);
    let idle = all.iter().filter(|(_, one)| is_idle(one.code));
    let longest = idle.max_by_key(|(process, one)| (tells(one), observed(process))).or(most);
    let Some((process, one)) = longest else { return Vec::new() };
    let how = format!("none of {} processes is busy for much of the time", all.len());
    vec![Diagnosis { text: format!("{how}; {}: {}", who(process), one.text), ..(*one).clone() }]
}

fn who(process: &Process) -> String {
    match process.pid {
        0 => process.comm.clone(),
        pid => format!("{} ({pid})", process.comm),
    }
}

/// Time of the largest finding of a process, ns.
fn largest_ns(process: &Process, elapsed_ns: u64) -> f64 {
    let busy = process.diagnosis.iter().filter(|one| !is_idle(one.code)).map(|one| one.share);
    busy.fold(0.0, f64::max) * wall_ns(process, elapsed_ns) as f64
}

/// What all processes do together, if that is much of the time.
fn together(processes: &[Process], elapsed_ns: u64) -> Option<Diagnosis> {
    let mut all = processes.first()?.clone();
    all.pid = 0;
    all.throttled_ns = None;
    all.processes = processes.iter().map(|one| one.processes).fold(0, u64::saturating_add);
    all.threads = processes.iter().map(|one| one.threads).fold(0, u64::saturating_add);
    all.time = time::of_all(processes);
    all.calls = processes.iter().flat_map(|one| one.calls.iter().cloned()).collect();
    all.in_flight = Vec::new();
    // Waits for each other are no waits for others.
    all.replies = Vec::new();
    let one = of_process(&all, elapsed_ns).into_iter().next()?;
    let told = !is_idle(one.code) && one.share >= MUCH;
    told.then(|| Diagnosis { text: format!("{} processes together: {}", all.processes, one.text), ..one })
}

/// Whether a process with this finding has nothing to do.
fn is_idle(code: Code) -> bool {
    matches!(code, Code::WaitingForRequests | Code::WaitingForConnections | Code::Timers | Code::None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::summary::Time;

    fn process(pid: u32, code: Code, share: f64, observed_ns: u64) -> Process {
        let json = r#"{"pid": 7, "comm": "some", "processes": 1, "threads": 1, "calls": [], "operations": null,
            "models": [], "wakers": [], "in_flight": []}"#;
        let mut process: Process = serde_json::from_str(json).unwrap();
        process.pid = pid;
        process.time = Some(Time { observed_ns, ..Time::default() });
        let text = format!("{code:?}");
        process.diagnosis =
            vec![Diagnosis { code, share, text, evidence: BTreeMap::new(), next: String::new() }];
        process
    }

    fn text(processes: &[Process]) -> Option<String> {
        of_all(processes, 10).pop().map(|one| one.text)
    }

    #[test]
    fn the_busiest_speaks_for_all() {
        let idle = process(1, Code::Timers, 1.0, 9);
        assert_eq!(text(std::slice::from_ref(&idle)), None);
        let starved = process(2, Code::CpuStarved, 0.2, 9);
        let late = process(3, Code::Late, 0.4, 9);
        assert_eq!(text(&[idle.clone(), starved.clone(), late]).as_deref(), Some("some (3): Late"));
        let short = process(4, Code::WaitingForRequests, 1.0, 3);
        let both = text(&[short.clone(), idle.clone()]);
        assert_eq!(
            both.as_deref(),
            Some("none of 2 processes is busy for much of the time; some (1): Timers")
        );
    }
    #[test]
    fn a_short_life_is_a_small_part_of_the_time_of_the_target() {
        // One that computed for all of its 2.5 ms, beside one that did so for most of a second.
        let shell = process(1, Code::None, 0.9, 1_000_000_000);
        let short = process(2, Code::Computing, 1.0, 2_500_000);
        let main = process(3, Code::Computing, 0.6, 900_000_000);
        let said = |processes: &[Process]| of_all(processes, 1_000_000_000).pop().unwrap();
        let one = said(&[shell.clone(), short.clone(), main]);
        assert_eq!((one.text.as_str(), one.share), ("some (3): Computing", 0.54));
        // Nobody is busy for a tenth of the time.
        let one = said(&[shell.clone(), short.clone()]);
        assert_eq!((one.code, one.text.contains("some (1)")), (Code::None, true));
        // Three hundred of them are.
        let many: Vec<Process> = (0..300)
            .map(|_| {
                let mut one = short.clone();
                one.time.as_mut().unwrap().own_ns = 2_500_000;
                one
            })
            .chain([shell])
            .collect();
        let one = said(&many);
        assert_eq!((one.code, one.share), (Code::Computing, 0.75));
        assert!(one.text.starts_with("301 processes together: computing: 750.0 ms"), "{}", one.text);
    }
}
