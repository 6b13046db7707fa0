//! What the time of all processes of a target means together.

use crate::summary::{Code, Diagnosis, Process};

/// One line for the target as a whole: what the process says first that is kept from its work, or busy, for the largest
/// part of the time. Where all are idle, what those that were observed longest wait for. A process alone says it itself.
pub fn of_all(processes: &[Process]) -> Vec<Diagnosis> {
    let first = |process: &Process| {
        let ns = process.time.as_ref().map_or(0, |time| time.observed_ns);
        process.diagnosis.first().map(|one| (is_idle(one.code), one.share, ns, one.clone()))
    };
    let all: Vec<_> = processes.iter().filter_map(|process| Some((process, first(process)?))).collect();
    if all.len() < 2 {
        return Vec::new();
    }
    let busy = all.iter().filter(|(_, (idle, ..))| !idle);
    let most = busy.max_by(|(_, (_, one, ..)), (_, (_, other, ..))| one.total_cmp(other));
    let (process, (idle, .., one)) = match most {
        Some(most) => most,
        None => match all.iter().max_by_key(|(_, (_, _, ns, _))| *ns) {
            Some(longest) => longest,
            None => return Vec::new(),
        },
    };
    let who = match process.pid {
        0 => process.comm.clone(),
        pid => format!("{} ({pid})", process.comm),
    };
    let how = if *idle { format!("none of {} processes is busy; ", all.len()) } else { String::new() };
    vec![Diagnosis { text: format!("{how}{who}: {}", one.text), ..one.clone() }]
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
        of_all(processes).pop().map(|one| one.text)
    }

    #[test]
    fn the_busiest_speaks_for_all() {
        let idle = process(1, Code::Timers, 1.0, 9);
        assert_eq!(text(std::slice::from_ref(&idle)), None);
        let starved = process(2, Code::CpuStarved, 0.2, 1);
        let late = process(3, Code::Late, 0.4, 1);
        assert_eq!(text(&[idle.clone(), starved.clone(), late]).as_deref(), Some("some (3): Late"));
        let short = process(4, Code::WaitingForRequests, 1.0, 3);
        let both = text(&[short, idle]);
        assert_eq!(both.as_deref(), Some("none of 2 processes is busy; some (1): Timers"));
    }
}
