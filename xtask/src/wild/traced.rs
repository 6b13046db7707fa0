//! What iotrace showed: the JSON document of `iotrace trace`, summed over its processes.

use serde_json::Value;

use super::numbers::{self, READINESS};

/// A result.
pub struct Traced {
    /// The document.
    pub json: Value,
}

impl Traced {
    fn calls(&self) -> impl Iterator<Item = &Value> {
        array(&self.json["processes"]).flat_map(|process| array(&process["calls"]))
    }

    /// The sum of a field over the rows of some syscalls.
    pub fn of(&self, field: &str, calls: &[(&str, libc::c_long)]) -> u64 {
        self.sum(calls, |call| call[field].as_u64())
    }

    /// The sum of a value over the rows of some syscalls.
    pub fn sum(&self, calls: &[(&str, libc::c_long)], value: impl Fn(&Value) -> Option<u64>) -> u64 {
        let rows = self
            .calls()
            .filter(|call| call["syscall"].as_str().is_some_and(|name| numbers::has(calls, name)));
        rows.filter_map(value).sum()
    }

    /// How often calls failed with an error, or with any.
    pub fn errors(&self, calls: &[(&str, libc::c_long)], error: Option<&str>) -> u64 {
        self.sum(calls, |call| match error {
            Some(error) => call["errors"][error].as_u64(),
            None => Some(call["errors"].as_object()?.values().filter_map(Value::as_u64).sum()),
        })
    }

    /// Names of the syscalls that have a row.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.calls().filter_map(|call| call["syscall"].as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Events that readiness calls returned, and how many calls returned some: of the rows, or of an older iotrace
    /// from the words of its evidence.
    pub fn events(&self) -> (u64, u64) {
        let returned = self.calls().any(|call| call["returned"].is_u64());
        let waits =
            self.of("calls", READINESS) - self.of("timeouts", READINESS) - self.errors(READINESS, None);
        let polls = self.sum(READINESS, |call| call["empty"].as_u64());
        if returned {
            return (self.of("returned", READINESS), waits.saturating_sub(polls));
        }
        (self.words(" events from "), waits)
    }

    /// Reads for each event, as the evidence says it: of all processes, each with the weight of its events.
    pub fn reads_per_event(&self) -> Option<f64> {
        let (mut reads, mut events) = (0.0, 0.0);
        for evidence in self.evidence() {
            let said = before(evidence, " events from ").zip(before(evidence, " reads per event"));
            let (of, each) = said.unwrap_or_default();
            reads += of * each;
            events += of;
        }
        (events > 0.0).then(|| reads / events)
    }

    /// The number in front of some words, summed over the evidence of all models.
    pub fn words(&self, words: &str) -> u64 {
        self.evidence().filter_map(|evidence| before(evidence, words)).sum::<f64>() as u64
    }

    /// What was said of each model.
    pub fn evidence(&self) -> impl Iterator<Item = &str> {
        let models = array(&self.json["processes"]).flat_map(|process| array(&process["models"]));
        models.filter_map(|model| model["evidence"].as_str())
    }

    /// The most used model of the process that moved most data, with its share.
    pub fn model(&self) -> Option<(&str, f64)> {
        let busiest = array(&self.json["processes"]).max_by_key(|process| {
            array(&process["calls"]).filter_map(|call| call["calls"].as_u64()).sum::<u64>()
        })?;
        let first = &busiest["models"][0];
        Some((first["model"].as_str()?, first["share"].as_f64()?))
    }

    /// Number of pickups, and their median in ns: the middle of the bucket that it is in.
    pub fn pickup(&self) -> (u64, Option<u64>) {
        let mut buckets: Vec<(u64, u64)> = self
            .calls()
            .flat_map(|call| array(&call["pickup"]["buckets"]))
            .filter_map(|bucket| Some((bucket[0].as_u64()?, bucket[1].as_u64()?)))
            .collect();
        buckets.sort_unstable();
        let count: u64 = buckets.iter().map(|bucket| bucket.1).sum();
        let mut sum = 0;
        let half = buckets.into_iter().find(|bucket| {
            sum += bucket.1;
            sum > count / 2
        });
        (count, half.map(|bucket| bucket.0))
    }

    /// Codes of its warnings.
    pub fn warnings(&self) -> Vec<&str> {
        array(&self.json["warnings"]).filter_map(|warning| warning["code"].as_str()).collect()
    }

    /// Whether nothing was lost.
    pub fn complete(&self) -> bool {
        self.json["complete"].as_bool() == Some(true)
    }
}

/// The number in front of some words.
fn before(text: &str, words: &str) -> Option<f64> {
    text.split_once(words)?.0.rsplit(' ').next()?.replace(',', "").parse().ok()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Traced {
        let dist = |buckets: Value| json!({ "buckets": buckets });
        Traced {
            json: json!({ "complete": true, "warnings": [{ "code": "nothing_seen" }], "processes": [{
                "calls": [
                    { "syscall": "recvfrom", "calls": 30, "bytes": 900, "timeouts": 0, "errors": { "EAGAIN": 10 },
                      "pickup": dist(json!([[100, 5], [200, 9]])) },
                    { "syscall": "epoll_wait", "calls": 12, "timeouts": 2, "errors": {} },
                ],
                "models": [{ "model": "epoll", "share": 1.0,
                    "evidence": "1,020 events from 12 waits, 2.00 reads per event, 33 % EAGAIN" }],
            }]}),
        }
    }

    #[test]
    fn rows_are_summed() {
        let seen = sample();
        assert_eq!(seen.of("calls", numbers::INPUT), 30);
        assert_eq!(seen.errors(numbers::INPUT, Some("EAGAIN")), 10);
        assert_eq!(seen.names(), ["epoll_wait", "recvfrom"]);
        assert_eq!(seen.pickup(), (14, Some(200)));
        assert_eq!(seen.model(), Some(("epoll", 1.0)));
        assert_eq!(seen.warnings(), ["nothing_seen"]);
    }

    #[test]
    fn evidence_is_read() {
        assert_eq!(sample().events(), (1020, 10));
        assert_eq!(sample().reads_per_event(), Some(2.0));
        let mut counted = sample();
        counted.json["processes"][0]["calls"][1]["returned"] = json!(55);
        assert_eq!(counted.events(), (55, 10));
    }
}
