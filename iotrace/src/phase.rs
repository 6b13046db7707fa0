//! The copy of one transfer: how it is known, and what its floor is.
//!
//! Two kinds of windows come out of the probes. A *marked* one lies between tracepoints at both edges
//! of the copy; a one-byte copy still takes about 300 ns between them (two probe dispatches, the set-up
//! of the copy), and that floor is calibrated and subtracted. Where no start mark exists (small UDP,
//! pipes) the window is the whole stretch on the CPU up to the end of the receive; the same window
//! around a one-byte message is subtracted, and what is left is an *estimate* with that window as bound.

use iotrace_ebpf::abi::CallRecord;

use crate::summary::CopySource;

/// What a transfer showed of its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Marks at both edges.
    Marked {
        /// Time between the marks, all copies together.
        raw: u64,
        /// Copies.
        copies: u64,
    },
    /// Only the window it must lie in.
    Window {
        /// Length of the window.
        upper: u64,
        /// Whether the thread slept before the window: it begins with a cold switch-in then.
        slept: bool,
    },
}

/// The copy of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Time in the copy.
    pub ns: u64,
    /// How it is known.
    pub source: CopySource,
    /// It was not longer than this.
    pub upper: u64,
}

/// What a one-byte transfer shows, by kind of window: the median of the calibration messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Per marked copy.
    pub marked: Option<u64>,
    /// Window of a call that slept.
    pub slept: Option<u64>,
    /// Window of a call that did not.
    pub awake: Option<u64>,
}

impl Floors {
    /// Medians over calibration transfers.
    pub fn of(transfers: impl IntoIterator<Item = Seen>) -> Self {
        let (mut marked, mut slept, mut awake) = (Vec::new(), Vec::new(), Vec::new());
        for transfer in transfers {
            match transfer {
                Seen::Marked { raw, copies } if copies > 0 => marked.push(raw / copies),
                Seen::Marked { .. } => {}
                Seen::Window { upper, slept: true } => slept.push(upper),
                Seen::Window { upper, slept: false } => awake.push(upper),
            }
        }
        Self { marked: median(marked), slept: median(slept), awake: median(awake) }
    }

    /// The copy of a transfer, floor subtracted.
    pub fn copied(&self, seen: Seen) -> Copied {
        match seen {
            Seen::Marked { raw, copies } => {
                let floor = self.marked.unwrap_or(0).saturating_mul(copies);
                Copied { ns: raw.saturating_sub(floor), source: CopySource::Marked, upper: raw }
            }
            Seen::Window { upper, slept } => Copied {
                ns: upper.saturating_sub(self.window(slept).unwrap_or(0)),
                source: CopySource::Estimated,
                upper,
            },
        }
    }

    /// The floor under a window: of its own kind, else of the other.
    pub fn window(&self, slept: bool) -> Option<u64> {
        if slept { self.slept.or(self.awake) } else { self.awake.or(self.slept) }
    }
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// What a finished call that moved data showed of its copy.
pub fn seen_in(call: &CallRecord) -> Seen {
    if call.copies > 0 {
        return Seen::Marked { raw: call.parts.copy, copies: u64::from(call.copies) };
    }
    let begin = call.enter.max(call.last_in);
    let end = if call.recv_at > begin { call.recv_at } else { call.head.at };
    Seen::Window { upper: end - begin, slept: call.sleeps > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_median_of_its_kind() {
        let floors = Floors::of([
            Seen::Marked { raw: 300, copies: 1 },
            Seen::Marked { raw: 9000, copies: 1 },
            Seen::Marked { raw: 640, copies: 2 },
            Seen::Window { upper: 2000, slept: true },
            Seen::Window { upper: 900, slept: false },
        ]);
        assert_eq!(floors, Floors { marked: Some(320), slept: Some(2000), awake: Some(900) });
    }

    #[test]
    fn every_copy_has_its_own_floor() {
        let floors = Floors { marked: Some(300), ..Floors::default() };
        let copied = floors.copied(Seen::Marked { raw: 2000, copies: 3 });
        assert_eq!(copied, Copied { ns: 1100, source: CopySource::Marked, upper: 2000 });
    }

    #[test]
    fn an_estimate_keeps_its_bound_and_never_goes_below_nothing() {
        let floors = Floors { awake: Some(800), ..Floors::default() };
        let copied = floors.copied(Seen::Window { upper: 700, slept: true });
        assert_eq!(copied, Copied { ns: 0, source: CopySource::Estimated, upper: 700 });
    }

    #[test]
    fn the_window_begins_at_the_last_switch_in_and_ends_with_the_receive() {
        let mut call = CallRecord { enter: 100, last_in: 500, recv_at: 900, ..CallRecord::default() };
        call.head.at = 1000;
        call.sleeps = 1;
        assert_eq!(seen_in(&call), Seen::Window { upper: 400, slept: true });
        call.recv_at = 0;
        assert_eq!(seen_in(&call), Seen::Window { upper: 500, slept: true });
    }
}
