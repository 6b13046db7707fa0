//! How long the cgroup of a process, or one around it, was not allowed to run, as its CPU quota was used up (`cpu.stat`).

use std::fs;
use std::path::Path;

/// Time since the cgroup was made, ns, all CPUs together: the most of its cgroup and those around it, any of which stops
/// it; `None`: none of them has a quota that tells.
pub fn throttled_ns(pid: u32) -> Option<u64> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let (mounts, path) = place(&groups)?;
    let below = path.trim_start_matches('/');
    let of = |mount: &str| {
        let mount = Path::new(mount);
        let own = mount.join(below);
        let around = own.ancestors().take_while(|up| up.starts_with(mount));
        around.filter_map(|up| told(&fs::read_to_string(up.join("cpu.stat")).ok()?)).max()
    };
    mounts.iter().find_map(|mount| of(mount))
}

/// Where the hierarchy of the CPU controller is usually mounted, and the path of a cgroup there, by `/proc/PID/cgroup`.
fn place(groups: &str) -> Option<(&'static [&'static str], &str)> {
    let lines = || groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let first = lines().find(|(controllers, _)| controllers.split(',').any(|one| one == "cpu"));
    if let Some((_, path)) = first {
        return Some((&["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"], path));
    }
    let (_, path) = lines().find(|(controllers, _)| controllers.is_empty())?;
    Some((&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], path))
}

/// The time in a `cpu.stat`: `throttled_usec` of the unified hierarchy, `throttled_time` in ns of the first version.
fn told(text: &str) -> Option<u64> {
    let number = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
        value.trim().parse::<u64>().ok()
    };
    number("throttled_usec").map(|us| us.saturating_mul(1000)).or_else(|| number("throttled_time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_tell() {
        assert_eq!(told("nr_periods 3\nnr_throttled 1\nthrottled_usec 25\n"), Some(25_000));
        assert_eq!(told("nr_periods 3\nnr_throttled 1\nthrottled_time 498000000\n"), Some(498_000_000));
        assert_eq!(told("usage_usec 7\n"), None);
    }

    #[test]
    fn the_controller_is_looked_for_before_the_unified_hierarchy() {
        assert_eq!(place("4:cpu,cpuacct:/a\n0::/b\n").unwrap().1, "/a");
        assert_eq!(
            place("3:cpuset:/a\n0::/b\n").unwrap(),
            (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"][..], "/b")
        );
        assert!(place("").is_none());
    }
}
