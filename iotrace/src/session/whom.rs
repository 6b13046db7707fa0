//! The targets that were asked for: process and thread ids, names, cgroups.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::bpf::settings::Whom;
use crate::host::{bounded, proc, stderr};
use crate::session::asked::Asked;
use crate::session::error::Failure;
use crate::session::limits;

/// Most that is read of `cgroup.procs`, bytes: as many processes as there can be (`PID_MAX_LIMIT`), 8 bytes each.
const MEMBERS: u64 = 32 << 20;

/// Checks what was asked for against what is there.
///
/// # Errors
/// No target at all, more than there is room for, or one that does not exist, with what to do about it.
pub fn resolve(asked: &Asked) -> Result<Whom, Failure> {
    limits::check(asked)?;
    let nobody = asked.pids.is_empty()
        && asked.tids.is_empty()
        && asked.comm.is_none()
        && asked.cgroup.is_none()
        && !asked.all
        && asked.command.is_empty();
    if nobody {
        return Err(Failure::Usage(
            "no target given: -p PID, -t TID, --comm NAME, --cgroup PATH, -- COMMAND, \
             or -a for the whole system"
                .to_owned(),
        ));
    }
    for &pid in &asked.pids {
        exists(pid)?;
    }
    for &tid in &asked.tids {
        if !Path::new(&format!("/proc/{tid}")).exists() {
            return Err(Failure::Failed(format!(
                "there is no thread {tid}; `ps -eLf` lists those that are there"
            )));
        }
    }
    let mut whom = Whom {
        tgids: asked.pids.clone(),
        tids: asked.tids.clone(),
        comm: asked.comm.clone(),
        all: asked.all,
        follow: asked.follow && !asked.no_follow,
        tree: (asked.tree || (asked.follow && !asked.no_follow)) && !asked.pids.is_empty(),
        ..Whom::default()
    };
    if let Some(path) = &asked.cgroup {
        whom.cgroup = Some(unified(path)?);
    }
    Ok(whom)
}

fn exists(pid: u32) -> Result<(), Failure> {
    match proc::process_of(pid) {
        Some(tgid) if tgid == pid => Ok(()),
        Some(tgid) => Err(Failure::Failed(format!(
            "{pid} is a thread of process {tgid}; trace it with -t {pid}, or its process with -p {tgid}"
        ))),
        None => Err(Failure::Failed(format!("there is no process {pid} here{}", elsewhere(pid)))),
    }
}

/// Whether a process of that number is there in another pid namespace.
fn elsewhere(pid: u32) -> String {
    let inside =
        proc::processes().into_iter().find(|&outer| outer != pid && proc::namespaced(outer) == Some(pid));
    match inside {
        Some(outer) => format!(
            "; a process that is {pid} in its own pid namespace is {outer} in this one: use -p {outer} if you mean it"
        ),
        None => "; it may have ended, `ps -e` lists those that are there".to_owned(),
    }
}

/// Id and depth of a cgroup of the unified hierarchy. One of the first version is refused: the helper that tells a
/// thread's cgroup knows the unified hierarchy only (`bpf_get_current_ancestor_cgroup_id`), and a list of its members
/// would miss who joins, and have iotrace itself in it.
fn unified(path: &Path) -> Result<(u64, u32), Failure> {
    let path = directory(path)?;
    let kind = statfs(&path).map_err(Failure::while_doing("looking at the cgroup"))?.filesystem_type();
    is_unified(&path, kind)?;
    // Each cgroup of the hierarchy has that file, its root too.
    let root = path.ancestors().take_while(|up| up.join("cgroup.controllers").exists()).last();
    let level = path.components().count() - root.unwrap_or(&path).components().count();
    let id = fs::metadata(&path).map_err(Failure::while_doing("looking at the cgroup"))?.ino();
    Ok((id, level as u32))
}

/// Whether a directory is a cgroup of the unified hierarchy, by its file system: anybody can make files that are called
/// like those of a cgroup.
fn is_unified(path: &Path, kind: FsType) -> Result<(), Failure> {
    let shown = stderr::shown(path);
    match kind {
        CGROUP2_SUPER_MAGIC => Ok(()),
        CGROUP_SUPER_MAGIC => Err(Failure::Usage(format!(
            "--cgroup: {shown} is of a hierarchy of cgroups version 1, and the kernel tells probes the cgroups of \
             version 2 only. Give a path below the mount of type cgroup2 (`findmnt -t cgroup2` shows it), or the \
             processes that are there now: -f -p $(paste -sd, {shown}/cgroup.procs)"
        ))),
        _ => Err(Failure::Failed(format!(
            "{shown} is no cgroup. Give a path below the cgroup mount, such as /sys/fs/cgroup/NAME"
        ))),
    }
}

/// The directory of a cgroup: as given, or below one of the usual mounts.
fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let below = |mount: &str| Path::new(mount).join(path.strip_prefix("/").unwrap_or(path));
    let candidates = [path.to_owned(), below("/sys/fs/cgroup"), below("/sys/fs/cgroup/unified")];
    let found =
        candidates.iter().find(|candidate| candidate.is_dir()).and_then(|found| found.canonicalize().ok());
    found.ok_or_else(|| {
        Failure::Failed(format!(
            "there is no cgroup {}; `ls /sys/fs/cgroup` lists those that are there",
            stderr::shown(path)
        ))
    })
}

fn members(path: &Path) -> Result<Vec<u32>, Failure> {
    let procs = directory(path)?.join("cgroup.procs");
    let bytes =
        bounded::read(&procs, MEMBERS).map_err(Failure::while_doing("reading the cgroup's processes"))?;
    // iotrace may be in it: it never observes itself.
    let own = std::process::id();
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid != own).collect())
}

/// Processes in a cgroup or below it.
///
/// # Errors
/// Where the cgroup cannot be read.
pub fn members_below(path: &Path) -> Result<Vec<u32>, Failure> {
    let mut pids = members(path)?;
    for entry in fs::read_dir(directory(path)?).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            // One that was removed meanwhile has no members.
            pids.extend(members_below(&entry.path()).unwrap_or_default());
        }
    }
    Ok(pids)
}

/// When each process and thread of the target that was named by its number began: clock ticks since boot.
pub fn births(whom: &Whom) -> HashMap<u32, u64> {
    whom.tgids.iter().chain(&whom.tids).filter_map(|&id| Some((id, proc::birth(id)?))).collect()
}

/// Takes those out of the target that have ended since, whose numbers may be those of others by now. Says whether any
/// is left.
pub fn keep_the_same(whom: &mut Whom, births: &HashMap<u32, u64>, observer: &mut Observer) -> bool {
    let same =
        |id: &u32| proc::birth(*id).is_some_and(|birth| births.get(id).is_none_or(|known| *known == birth));
    let named = whom.tgids.iter().chain(&whom.tids);
    let strangers: HashSet<u32> = named.copied().filter(|id| !same(id)).collect();
    observer.remove_members(&strangers);
    whom.tgids.retain(|id| !strangers.contains(id));
    whom.tids.retain(|id| !strangers.contains(id));
    let by_number = !whom.tgids.is_empty() || !whom.tids.is_empty();
    by_number || whom.all || whom.comm.is_some() || whom.cgroup.is_some()
}

/// Adds the descendants that are there. The probes see forks of every process of the target by now, so that a child is
/// missed only where its parent is found too late: hence it is looked again until there is nobody new. A child whose
/// parent has ended belongs to another parent and is no descendant any more.
///
/// # Errors
/// There are more than the probes have room for.
pub fn adopt(whom: &mut Whom, observer: &mut Observer, btf: &Btf) -> Result<(), Failure> {
    loop {
        let known = observer.members().processes;
        let roots: HashSet<u32> = known.iter().chain(&whom.tgids).copied().collect();
        let found: Vec<u32> = descendants(&roots).into_iter().filter(|pid| !known.contains(pid)).collect();
        if found.is_empty() {
            return Ok(());
        }
        observer.add_processes(btf, &found)?;
        // Those that have ended meanwhile are found no more, and are not asked for again.
        let fresh = found.into_iter().filter(|pid| !whom.tgids.contains(pid)).collect::<Vec<_>>();
        whom.tgids.extend(fresh);
    }
}

/// Processes below these, as far as their parents are there; without iotrace itself.
fn descendants(roots: &HashSet<u32>) -> HashSet<u32> {
    let own = std::process::id();
    let all = proc::processes().into_iter().filter(|&pid| pid != own);
    let parents: Vec<(u32, u32)> = all.filter_map(|pid| Some((pid, proc::parent(pid)?))).collect();
    let mut found = HashSet::new();
    loop {
        let below = |pid: &u32| roots.contains(pid) || found.contains(pid);
        let more: Vec<u32> = parents
            .iter()
            .filter(|(pid, parent)| below(parent) && !below(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Whether a thread of a process that [`present`] gives belongs to the target itself: with a name, only threads of that
/// name do.
pub fn is_meant(whom: &Whom, pid: u32, tid: u32) -> bool {
    let named = |name: &Vec<u8>| is_called(tid, name);
    whom.all
        || whom.tgids.contains(&pid)
        || whom.tids.contains(&tid)
        || whom.cgroup.is_some()
        || whom.comm.as_ref().is_some_and(named)
}

/// Whether a thread has this name, of which the kernel keeps 15 bytes.
fn is_called(tid: u32, name: &[u8]) -> bool {
    proc::comm_bytes(tid).is_some_and(|comm| comm == name[..name.len().min(15)])
}

/// Processes of the target that are there now.
pub fn present(whom: &Whom, cgroup: Option<&Path>) -> Vec<u32> {
    let own = std::process::id();
    let mut pids = whom.tgids.clone();
    pids.extend(whom.tids.iter().filter_map(|&tid| proc::process_of(tid)));
    if whom.all {
        pids.extend(proc::processes().into_iter().filter(|&pid| pid != own));
    }
    if let Some(name) = &whom.comm {
        let named = |&pid: &u32| {
            let mut threads = proc::threads(pid).into_iter();
            threads.any(|tid| is_called(tid, name))
        };
        pids.extend(proc::processes().into_iter().filter(|&pid| pid != own).filter(named));
    }
    if let Some(path) = cgroup {
        pids.extend(members_below(path).unwrap_or_default());
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unified_hierarchy_has_cgroups_for_probes() {
        let path = Path::new("/sys/fs/cgroup/cpu/x");
        let code = |kind| is_unified(path, kind).err().map(|failure| (failure.code(), failure.to_string()));
        assert_eq!(code(CGROUP2_SUPER_MAGIC), None);
        let (first, text) = code(CGROUP_SUPER_MAGIC).unwrap();
        assert!(first == 2 && text.contains("version 1") && text.contains("cgroup.procs"), "{text}");
        let (other, text) = code(nix::sys::statfs::TMPFS_MAGIC).unwrap();
        assert!(other == 1 && text.contains("is no cgroup"), "{text}");
    }

    /// The members are taken where the kernel does not tell a thread's cgroup, and iotrace may be one of them.
    #[test]
    fn iotrace_is_no_member_of_what_it_observes() {
        let path = std::env::temp_dir().join(format!("iotrace-members-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("cgroup.procs"), format!("1\n{}\n7\n", std::process::id())).unwrap();
        let found = members_below(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(found, [1, 7]);
    }
}
