//! The exact tier: hooks on the functions that copy. Whether a kernel accepts them shows only when they are attached,
//! so they are tried first, and the tracepoints that they replace are attached only where they are refused.

use aya::Ebpf;

use super::attach::{LoadError, Missing, attach_loaded, load_probe};
pub use super::attach::{REMEDY, Refused};
use super::btf::Btf;
use super::probes::{Group, PROBES, Probe, Variant};
use super::settings::{Settings, Wish};
use iotrace_core::domain::{ProbeId, Tier};

/// The groups of function hooks. The first must be attached for the others to be of use.
pub const GROUPS: [Group; 3] = [Group::ExactSockets, Group::ExactDatagrams, Group::ExactUring];

/// A probe that is attached, and how.
pub type Attached = (&'static Probe, &'static Variant);

/// What was attached of the function hooks.
pub struct Outcome {
    /// Hooks that are attached.
    pub attached: Vec<Attached>,
    /// Hooks that were refused, where the user is to be warned.
    pub missing: Vec<Missing>,
    /// Groups that are still to be attached.
    pub groups: Vec<Group>,
    /// The first refusal; `None` where there was none, or no hook was tried.
    pub refused: Option<Refused>,
}

/// Tries the function hooks among the groups of `settings`.
///
/// # Errors
/// A hook is refused and `--tier exact` was asked for.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    kernel_btf: &aya::Btf,
    settings: &Settings,
) -> Result<Outcome, LoadError> {
    let groups = settings.groups.iter().copied().filter(|group| !GROUPS.contains(group)).collect();
    let mut outcome = Outcome { attached: Vec::new(), missing: Vec::new(), groups, refused: None };
    if settings.tier == Wish::Tracepoint {
        return Ok(outcome);
    }
    for group in GROUPS.into_iter().filter(|group| settings.groups.contains(group)) {
        match attach_group(ebpf, btf, kernel_btf, settings, group) {
            Ok(attached) => outcome.attached.extend(attached),
            Err(refused) if settings.tier == Wish::Exact => return Err(LoadError::Exact(refused)),
            Err(refused) => {
                // With `Auto` the header of the result names the tier; a comparison of both needs a warning.
                if settings.tier == Wish::Both {
                    let missing = |probe| Missing { probe, why: refused.why.clone() };
                    outcome.missing.extend(probes(group).map(missing));
                }
                outcome.refused.get_or_insert(refused);
                // A kernel that refuses the first refuses the others, and each try takes its time.
                if settings.tier == Wish::Auto {
                    break;
                }
            }
        }
    }
    if tier(&outcome.attached, settings.tier) == Tier::Exact {
        // The marks of tracepoints inside a hooked function would only make its copies longer.
        outcome.groups.retain(|group| !matches!(group, Group::Copy | Group::CopyUnix));
    }
    Ok(outcome)
}

fn probes(group: Group) -> impl Iterator<Item = &'static Probe> {
    PROBES.iter().filter(move |probe| probe.group == group)
}

/// Attaches all hooks of a group, or none: a copy needs both its start and its end.
fn attach_group(
    ebpf: &mut Ebpf,
    btf: &Btf,
    kernel_btf: &aya::Btf,
    settings: &Settings,
    group: Group,
) -> Result<Vec<Attached>, Refused> {
    let mut attached: Vec<Attached> = Vec::new();
    for probe in probes(group) {
        let outcome = load_probe(ebpf, btf, kernel_btf, settings, probe)
            .and_then(|variant| attach_loaded(ebpf, variant).map(|_| variant));
        match outcome {
            Ok(variant) => attached.push((probe, variant)),
            Err(why) => {
                for (_, variant) in attached {
                    if let Some(program) = ebpf.program_mut(variant.program) {
                        variant.hook.detach(program);
                    }
                }
                return Err(Refused { function: probe.variants[0].tracepoint, why });
            }
        }
    }
    Ok(attached)
}

/// Whether all hooks of a group are among these probes.
pub fn is_whole(group: Group, has: impl Fn(ProbeId) -> bool) -> bool {
    probes(group).all(|probe| has(probe.id))
}

/// What times copies when these hooks are attached.
pub(super) fn tier(attached: &[Attached], wish: Wish) -> Tier {
    if has_sockets(attached) && wish != Wish::Both { Tier::Exact } else { Tier::Tracepoint }
}

/// Whether the hooks of socket buffers are attached, without which the other groups are of no use.
fn has_sockets(attached: &[Attached]) -> bool {
    attached.iter().any(|(probe, _)| probe.group == Group::ExactSockets)
}
