//! Loads the object, attaches the probes of the groups asked for, and reads their records and counters.

use std::cell::RefCell;
use std::collections::HashSet;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::{Ebpf, EbpfLoader};
use iotrace_ebpf::abi::sinks::AGGREGATES;
use iotrace_ebpf::abi::{
    ERRORS_ROOM, FLOORS_OF, LISTENERS_ROOM, LIVES_ROOM, PEERS_ROOM, STATS, Stat, TAKEN_ROOM, WAKES_ROOM,
    WAYS_ROOM,
};
use iotrace_ebpf::arch::native::RESTARTED;

use iotrace_core::domain::{Loss, ProbeId, Tier, syscall};

pub use super::attach::LoadError;
use super::attach::{Missing, OBJECT, Refused, attach_loaded, kernel_btf, load_probe};
use super::btf::Btf;
use super::exact;
use super::hook::{again, off, with_causes};
use super::ids;
use super::members::{fill, kernel_ids, mark};
use super::probes::{Group, PROBES, Probe, Variant};
use super::prog_info::{Size, recursion_misses, size};
use super::settings::{
    A_DRAIN, Per, Settings, Wish, epoll_is_listed_in_file, iowait_mask, offsets, preempt_distance,
};
use crate::host::check;
use crate::host::clock::monotonic_ns;
use crate::host::proc;

/// Probes attached to a target. Dropping it detaches all of them.
pub struct Observer {
    ebpf: Ebpf,
    records: RingBuf<MapData>,
    attached: Vec<(&'static Probe, &'static Variant)>,
    /// Programs on tracepoints, in the order in which they were attached.
    links: Vec<(&'static str, BtfTracePointLinkId)>,
    missing: Vec<Missing>,
    refused: Option<Refused>,
    tier: Tier,
    /// Functions of the kernel in which traced calls go on by `restart_syscall`.
    continues: Vec<&'static str>,
    /// What the probes were told to be listened on.
    listening: HashSet<u64>,
    /// What a row of the sums stands for.
    pub(super) per: Per,
}

impl Observer {
    /// Attaches the probes of `settings`.
    ///
    /// # Errors
    /// Only where nothing can be measured; an optional probe that fails is in [`Observer::missing`].
    pub fn attach(btf: &Btf, settings: &Settings) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let mut ebpf = load_object(btf, settings)?;
        let kernel_btf = kernel_btf()?;
        let exact::Outcome { mut attached, mut missing, groups, refused } =
            exact::attach(&mut ebpf, btf, kernel_btf, settings)?;
        let tier = exact::tier(&attached, settings.tier);
        let again = check::programs_are_preemptible();
        let asked =
            |group| groups.contains(&group) || group == Group::Submissions && groups.contains(&Group::Uring);
        let wanted = |probe: &&Probe| {
            asked(probe.group)
                && (again || probe.again_of.is_none())
                && !settings.unneeded.contains(&probe.id)
        };
        // All are loaded before one is attached: the verifier takes a while, in which nobody need be slowed down.
        // Programs of one tracepoint run in the order in which they were attached, so the second chance comes second:
        // the sort is stable.
        let mut probes: Vec<&'static Probe> = PROBES.iter().filter(wanted).collect();
        probes.sort_by_key(|probe| turn(probe.id));
        let mut load =
            |&probe: &&'static Probe| (probe, load_probe(&mut ebpf, btf, kernel_btf, settings, probe));
        let loaded: Vec<_> = probes.iter().map(&mut load).collect();
        let mut links = Vec::new();
        for (probe, outcome) in loaded {
            let outcome = outcome.and_then(|variant| Ok((variant, attach_loaded(&mut ebpf, variant)?)));
            match outcome {
                Ok((variant, link)) => {
                    attached.push((probe, variant));
                    links.extend(link.map(|link| (variant.program, link)));
                }
                Err(why) if probe.required => {
                    return Err(LoadError::Required { probe: probe.name(), why, lost: probe.lost });
                }
                Err(why) => missing.push(Missing { probe, why }),
            }
        }
        if let Some(Ok(mut attached)) = ebpf.map_mut("ATTACHED").map(Array::<_, u64>::try_from) {
            // Where it cannot be set, calls that a filter denies in new threads count as open at the start.
            let _ = attached.set(0, monotonic_ns(), 0);
        }
        let records = ebpf
            .take_map("RECORDS")
            .and_then(|map| RingBuf::try_from(map).ok())
            .ok_or_else(|| LoadError::Object("the object has no ring buffer".to_owned()))?;
        let (continues, listening) = (continues(settings), HashSet::new());
        let per = settings.per;
        Ok(Self { ebpf, records, attached, links, missing, refused, tier, continues, listening, per })
    }

    /// Does `work` with all probes off their tracepoints; `None` if that cannot be done, or if there are function
    /// hooks, which the kernel takes up to 200 ms to remove.
    ///
    /// Only where nothing is lost by it: threads of the target that are in a call then are taken for new ones
    /// afterwards.
    pub fn without_probes<T>(&mut self, work: impl FnOnce() -> T) -> Option<T> {
        if self.attached.iter().any(|(_, variant)| variant.hook.is_function()) {
            return None;
        }
        let links = std::mem::take(&mut self.links);
        let order: Vec<&'static str> = links.iter().map(|(name, _)| *name).collect();
        // The enters came last and go first: what is seen to begin is seen to the end.
        for (name, link) in links.into_iter().rev() {
            off(self.ebpf.program_mut(name)?, link).ok()?;
        }
        let done = work();
        for name in order {
            let link = again(self.ebpf.program_mut(name)?).ok()?;
            self.links.push((name, link));
        }
        Some(done)
    }

    /// Calls `each` with the records that are in the ring buffer, up to [`A_DRAIN`] bytes: whoever makes them faster
    /// than they are read must not keep this from ending. Says whether there may be more.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) -> bool {
        let mut bytes = 0;
        while bytes < A_DRAIN
            && let Some(item) = self.records.next()
        {
            bytes += item.len();
            each(&item);
        }
        bytes >= A_DRAIN
    }

    /// Optional probes that are not attached.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// What times copies.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Why function hooks do not time copies, where they were tried.
    pub fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Names of the tracepoints and functions that are attached.
    pub fn attached(&self) -> impl Iterator<Item = &'static str> {
        self.attached.iter().map(|(_, variant)| variant.tracepoint)
    }

    /// Whether a probe of the table is attached.
    pub fn has(&self, id: ProbeId) -> bool {
        self.attached.iter().any(|(probe, _)| probe.id == id)
    }

    /// Sets the floors under marked copies, by what ends them.
    pub fn set_floors(&mut self, floors: [u64; FLOORS_OF]) {
        let map = self.ebpf.map_mut("FLOORS").and_then(|map| Array::<_, u64>::try_from(map).ok());
        let Some(mut array) = map else { return };
        for (index, floor) in (0..).zip(floors) {
            // A floor that cannot be set stays 0: copies are a little too long, never too short.
            let _ = array.set(index, floor, 0);
        }
    }

    /// Tells the probes which TCP ports are listened on, by [`iotrace_ebpf::abi::listener`].
    pub fn set_listening(&mut self, ports: HashSet<u64>) {
        let map = self.ebpf.map_mut("LISTENING").and_then(|map| HashMap::<_, u64, u8>::try_from(map).ok());
        let Some(mut map) = map else { return };
        for port in self.listening.difference(&ports) {
            let _ = map.remove(port);
        }
        for port in ports.difference(&self.listening) {
            // A port that cannot be set is taken for one of a client: its connections get rows by remote address.
            let _ = map.insert(port, 0, 0);
        }
        self.listening = ports;
    }

    /// A map of the object.
    pub(super) fn map(&self, name: &str) -> Option<&Map> {
        self.ebpf.map(name)
    }

    /// A program of the object, to run.
    pub(super) fn program_mut(&mut self, name: &str) -> Option<&mut aya::programs::Program> {
        self.ebpf.program_mut(name)
    }

    /// A map of the object, to change.
    pub(super) fn map_mut(&mut self, name: &str) -> Option<&mut Map> {
        self.ebpf.map_mut(name)
    }

    /// The kernel's count of `stat` so far.
    pub fn count(&self, stat: Stat) -> u64 {
        let counters = self.ebpf.map("COUNTERS").and_then(|map| PerCpuArray::<_, u64>::try_from(map).ok());
        let values =
            counters.filter(|_| (stat as u32) < STATS).and_then(|map| map.get(&(stat as u32), 0).ok());
        values.map_or(0, |per_cpu| per_cpu.iter().sum())
    }

    /// Losses so far, with `unknown` records that arrived and could not be read. Calls that are still open are not
    /// among `in_flight_stop`.
    pub fn loss(&self, unknown: u64) -> Loss {
        Loss {
            records: self.count(Stat::RecordsLost) + unknown,
            map_full: [Stat::TasksFull, Stat::SocksFull, Stat::RowsFull, Stat::TargetsFull]
                .map(|stat| self.count(stat))
                .iter()
                .sum(),
            recursion_misses: self.recursion_misses(),
            unmatched: self.count(Stat::Unmatched),
            not_decoded: self.count(Stat::NotDecoded),
            in_flight_start: self.count(Stat::InFlightStart) + self.resumed(),
            in_flight_stop: self.count(Stat::EndedInCall),
            switches_unseen: self.count(Stat::SwitchUnseen),
        }
    }

    /// Traced calls that went on by `restart_syscall` when they were observed first, and ended. Where `/proc/kallsyms`
    /// hides its addresses, calls that are not traced are among them.
    fn resumed(&self) -> u64 {
        let map = self.ebpf.map("RESUMED").and_then(|map| HashMap::<_, u64, u64>::try_from(map).ok());
        let resumed = map.into_iter().flat_map(|map| map.iter().flatten().collect::<Vec<_>>());
        let is_traced = |address: u64| {
            let known = proc::restarts();
            known.is_empty()
                || known.iter().any(|(function, at)| *at == address && self.continues.contains(function))
        };
        resumed.filter(|(address, _)| is_traced(*address)).map(|(_, times)| times).sum()
    }

    /// Probe runs that the kernel skipped and no second program made up for; `None` where the kernel does not count
    /// them (before 5.12).
    pub fn recursion_misses(&self) -> Option<u64> {
        self.attached.iter().map(|(probe, variant)| self.lost_runs(probe, variant)).sum()
    }

    /// Skipped runs of one probe. With a second program, an event is lost at most as often as the less skipped of the
    /// two was skipped. Calls count 0, since a call that both missed is counted as unmatched.
    fn lost_runs(&self, probe: &Probe, variant: &Variant) -> Option<u64> {
        if probe.again_of.is_some() {
            return Some(0);
        }
        let second = self.attached.iter().find(|(second, _)| second.again_of == Some(probe.id));
        match second {
            Some(_) if matches!(probe.id, ProbeId::SysEnter | ProbeId::SysExit) => Some(0),
            Some((_, second)) => Some(self.skipped(variant)?.min(self.skipped(second)?)),
            None => self.skipped(variant),
        }
    }

    fn skipped(&self, variant: &Variant) -> Option<u64> {
        let program = self.ebpf.program(variant.program)?;
        recursion_misses(std::os::fd::AsFd::as_fd(program.fd().ok()?))
    }

    /// How large each attached program has become in this kernel.
    pub fn sizes(&self) -> impl Iterator<Item = (&'static str, Size)> {
        self.attached.iter().filter_map(|(_, variant)| {
            let program = self.ebpf.program(variant.program)?;
            Some((variant.program, size(std::os::fd::AsFd::as_fd(program.fd().ok()?))?))
        })
    }
}

/// Which probes are attached first: what makes a thread known must not be there before what sees it leave the CPU and
/// end, else it counts as running while it sleeps. The enters come last: a call that is seen to begin must be seen to
/// the end.
fn turn(id: ProbeId) -> u8 {
    match id {
        ProbeId::SchedSwitch | ProbeId::SchedWaking => 0,
        ProbeId::SchedProcessExit | ProbeId::SchedProcessExitAgain => 1,
        ProbeId::SysExit | ProbeId::SysExitAgain => 3,
        ProbeId::SysEnter | ProbeId::SysEnterAgain => 4,
        _ => 2,
    }
}

/// The functions in which calls that are traced go on by `restart_syscall`.
fn continues(settings: &Settings) -> Vec<&'static str> {
    let is_traced = |name: &str| syscall::named(name).iter().any(|&nr| settings.traits[nr as usize] != 0);
    RESTARTED.iter().filter(|(_, name)| is_traced(name)).map(|(function, _)| *function).collect()
}

thread_local! {
    /// The one loader. A new one reads the kernel's BTF for itself, which takes tens of milliseconds and 15 MiB;
    /// this one is given that of [`kernel_btf`] instead, and used for every attachment.
    static LOADER: RefCell<EbpfLoader<'static>> = RefCell::new({
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        loader
    });
}

/// A constant that outlives the loader: a few hundred bytes an attachment.
fn kept<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Rooms of the sums beside the rows. Per-CPU hashes allocate each of their elements at once, which is a tenth of the
/// time to start: one process as a whole, or records alone, need fewer.
fn rooms(settings: &Settings) -> [u32; 6] {
    let one = settings.whom.is_one_as_a_whole(settings.per);
    if settings.sinks & AGGREGATES == 0 {
        [1; 6]
    } else if one {
        [ERRORS_ROOM / 2, WAKES_ROOM, WAYS_ROOM / 8, LIVES_ROOM / 8, TAKEN_ROOM / 2, PEERS_ROOM]
    } else {
        [ERRORS_ROOM, WAKES_ROOM, WAYS_ROOM, LIVES_ROOM, TAKEN_ROOM, PEERS_ROOM]
    }
}

fn load_object(btf: &Btf, settings: &Settings) -> Result<Ebpf, LoadError> {
    let (whom, offsets) = (&settings.whom, offsets(btf));
    let (iowait_mask, preempt_distance) = (iowait_mask(btf), preempt_distance(btf));
    let (mode, sinks, per) = (whom.mode(), settings.sinks, settings.per.number());
    let (cgroup, level) = whom.cgroup.unwrap_or_default();
    let compat = check::runs_32_bit();
    let preemptible = u32::from(check::programs_are_preemptible());
    let [errors, wakes, transfers, lives, taken, peers] = rooms(settings);
    let listeners = if settings.per == Per::Fd { LISTENERS_ROOM } else { 1 };
    let namespace = ids::namespace(btf)?;
    let (tgids, tids) = (kernel_ids(btf, &whom.tgids)?, kernel_ids(btf, &whom.tids)?);
    let target = tgids.first().map_or(0, |target| target.kernel);
    let own = ids::kernel_id(btf, std::process::id())?.unwrap_or(0);
    let (comm, now) = (whom.comm_words(), monotonic_ns());
    // The loader comes first: it reads a BTF of its own and drops it, so that there is one at a time.
    let load = |loader: &mut EbpfLoader<'static>| {
        loader
            .btf(Some(kernel_btf()?))
            .override_global("MODE", kept(mode), true)
            .override_global("SINKS", kept(sinks), true)
            .override_global("PER", kept(per), true)
            .override_global("TARGET_TGID", kept(target), true)
            .override_global("SELF_TGID", kept(own), true)
            .override_global("NS_LEVEL", kept(namespace.level), true)
            .override_global("NS", kept(namespace.address), true)
            .override_global("TARGET_COMM", &kept(comm)[..], true)
            .override_global("TARGET_CGROUP", kept(cgroup), true)
            .override_global("CGROUP_LEVEL", kept(level), true)
            .override_global("TRACED", &kept(syscall::traced(&settings.traits, compat))[..], true)
            .override_global("TRAITS", &kept(settings.traits)[..], true)
            .override_global("PREEMPTIBLE", kept(preemptible), true)
            .override_global("COMPAT", kept(u32::from(compat)), true)
            .override_global(
                "TYPED",
                kept(u32::from(btf.function("bpf_get_current_task_btf").is_some())),
                true,
            )
            .override_global("REGS", kept(u32::from(btf.function("bpf_task_pt_regs").is_some())), true)
            .override_global("MIN_NS", kept(settings.min_ns), true)
            .override_global("STARTED", kept(now), true)
            .override_global("PER_KIB", &kept(settings.per_kib)[..], true)
            .override_global("SIGNALS", kept(settings.signals), true)
            .override_global("BESIDE", kept(u32::from(settings.tier == Wish::Both)), true)
            .override_global("EPOLL_LISTED", kept(u32::from(epoll_is_listed_in_file(btf))), true)
            .override_global("FOLD_AT", kept(u64::from(settings.rows / 4)), true)
            .override_global("OFFSETS", &kept(offsets)[..], true)
            .override_global("IOWAIT_MASK", kept(iowait_mask), true)
            .override_global("PREEMPT_DISTANCE", kept(preempt_distance), true)
            .override_global("FAULT", kept(settings.fault.kind), true)
            .override_global("FAULT_NS", kept(settings.fault.shift_ns), true)
            .map_max_entries("RECORDS", settings.ring_bytes)
            .map_max_entries("ROWS", settings.rows)
            .map_max_entries("ERRORS", errors)
            .map_max_entries("WAKES", wakes)
            .map_max_entries("TRANSFERS", transfers)
            .map_max_entries("LIVES", lives)
            .map_max_entries("TAKEN", taken)
            .map_max_entries("PEERS", peers)
            .map_max_entries("LISTENING", listeners)
            .load(OBJECT)
            .map_err(|error| LoadError::Object(with_causes(&error)))
    };
    let mut ebpf = LOADER.with_borrow_mut(load)?;
    fill(&mut ebpf, "TGIDS", &tgids)?;
    mark(&mut ebpf, &tgids)?;
    fill(&mut ebpf, "TIDS", &tids)?;
    Ok(ebpf)
}
