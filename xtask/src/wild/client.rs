//! Programs that make load, and what they say of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::stage::{Stage, User, program};

/// What the load says of itself.
pub struct Client {
    /// Name of the program.
    pub name: &'static str,
    /// Requests that were answered.
    pub requests: u64,
    /// Median time from request to answer, ns.
    pub p50_ns: Option<u64>,
}

/// Apache's ab: some requests, over connections that are kept or not.
///
/// # Errors
/// Where ab fails.
pub fn ab(stage: &Stage, url: &str, requests: u64, keep_alive: bool) -> Result<Client> {
    let csv = stage.dir.join("ab.csv");
    let mut command = Command::new(program("ab")?);
    command.args(["-q", "-c", "8", "-n", &requests.to_string(), "-e"]).arg(&csv);
    if keep_alive {
        command.arg("-k");
    }
    let said = run(stage, command.arg(url))?;
    let p50_ns = fs::read_to_string(&csv).ok().and_then(|csv| ab_median(&csv));
    Ok(Client { name: "ab", requests: said_by_ab(&said).context("ab counts no requests")?, p50_ns })
}

/// Of `ab -e`, ns: "50,0.123" in ms.
fn ab_median(csv: &str) -> Option<u64> {
    csv.lines().find_map(|line| line.strip_prefix("50,")).and_then(|ms| scaled(ms, 1e6))
}

fn said_by_ab(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.strip_prefix("Complete requests:"))?.trim().parse().ok()
}

/// wrk: as many requests as there is time for.
///
/// # Errors
/// Where wrk fails.
pub fn wrk(stage: &Stage, url: &str, headers: &[&str]) -> Result<Client> {
    let mut command = Command::new(program("wrk")?);
    command.args(["-t1", "-c8", "-d2s", "--latency"]);
    for header in headers {
        command.args(["-H", header]);
    }
    let said = run(stage, command.arg(url))?;
    let (requests, p50_ns) = said_by_wrk(&said).with_context(|| format!("wrk said {said}"))?;
    Ok(Client { name: "wrk", requests, p50_ns: Some(p50_ns) })
}

fn said_by_wrk(said: &str) -> Option<(u64, u64)> {
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in "))?.0.parse().ok()?;
    let median = said.lines().find_map(|line| line.trim().strip_prefix("50%"))?.trim();
    let (unit, scale) =
        [("us", 1e3), ("ms", 1e6), ("s", 1e9)].into_iter().find(|unit| median.ends_with(unit.0))?;
    Some((requests, scaled(median.strip_suffix(unit)?, scale)?))
}

/// redis-benchmark: GETs of 50 clients.
///
/// # Errors
/// Where redis-benchmark fails.
pub fn redis(stage: &Stage, port: u16, requests: u64) -> Result<Client> {
    let mut command = Command::new(program("redis-benchmark")?);
    command.args(["-p", &port.to_string(), "-c", "50", "-n", &requests.to_string(), "-t", "get", "--csv"]);
    let said = run(stage, &mut command)?;
    Ok(Client { name: "redis-benchmark", requests, p50_ns: redis_median(&said) })
}

/// Of `--csv`, ns: the column `p50_latency_ms`.
fn redis_median(said: &str) -> Option<u64> {
    let rows: Vec<Vec<&str>> =
        said.lines().map(|line| line.split(',').map(|cell| cell.trim_matches('"')).collect()).collect();
    let (heading, row) = rows.iter().zip(rows.iter().skip(1)).find(|(heading, _)| heading[0] == "test")?;
    scaled(row.get(heading.iter().position(|&cell| cell == "p50_latency_ms")?)?, 1e6)
}

/// The median of what `pgbench -l` left in its log files, ns, and the number of transactions.
///
/// # Errors
/// Where there is no log.
pub fn pgbench_log(dir: &Path) -> Result<(u64, Option<u64>)> {
    let mut times = Vec::new();
    for entry in fs::read_dir(dir)? {
        let file = entry?.path();
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pgbench_log")) {
            times.extend(fs::read_to_string(file)?.lines().filter_map(pgbench_time));
        }
    }
    times.sort_unstable();
    Ok((times.len() as u64, times.get(times.len() / 2).copied()))
}

/// Client, number of the transaction, and its time in us; more follows.
fn pgbench_time(line: &str) -> Option<u64> {
    Some(line.split(' ').nth(2)?.parse::<u64>().ok()? * 1000)
}

/// A time in text, in ns.
fn scaled(text: &str, scale: f64) -> Option<u64> {
    Some((text.trim().parse::<f64>().ok()? * scale).round() as u64)
}

/// Runs a client to its end; what it printed.
///
/// # Errors
/// Where it fails.
pub fn run(stage: &Stage, command: &mut Command) -> Result<String> {
    stage.start(command, &User::ROOT)?.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_understood() {
        assert_eq!(ab_median("Percentage served,Time in ms\n0,0.100\n50,0.345\n99,2.1\n"), Some(345_000));
        assert_eq!(said_by_ab("Failed requests:        0\nComplete requests:      5000\n"), Some(5000));
        let wrk = "  Latency Distribution\n     50%  123.00us\n     75%    1.20ms\n  21894 requests in 2.00s, 5MB read\n";
        assert_eq!(said_by_wrk(wrk), Some((21_894, 123_000)));
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\"\n\"GET\",\"9\",\"0.3\",\"0.1\",\"0.271\"\n";
        assert_eq!(redis_median(csv), Some(271_000));
        assert_eq!(pgbench_time("0 199 2241 0 1175850568 995598"), Some(2_241_000));
    }
}
