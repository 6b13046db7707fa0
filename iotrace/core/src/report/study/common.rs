//! The common axis of time for the median messages of several arms, counted from the moment at which data was ready.

use crate::summary::{Picture, Strip};

/// A message whose latency is more than this many times the median latency does not decide the scale.
const OUTLIER: u64 = 4;

/// The axis: from the earliest request, over the moment of data ready, to the latest end that is drawn. All times are
/// ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// Where data ready lies on the axis: the longest time from request to data ready.
    pub ready: u64,
    /// Where the axis changes its scale: before it lies the wait.
    pub cut: u64,
    /// The end of the axis. Strips that last longer are cut off here.
    pub end: u64,
}

impl Common {
    /// The axis for these pictures; `None` without pictures.
    pub fn of(pictures: &[Picture]) -> Option<Self> {
        let ready = pictures.iter().map(|picture| ready(&picture.strip)).max()?;
        let mut after: Vec<u64> = pictures.iter().map(|picture| latency(&picture.strip)).collect();
        after.sort_unstable();
        let usual = after[after.len() / 2].saturating_mul(OUTLIER);
        let longest = after.into_iter().filter(|&latency| latency <= usual).max()?.max(1);
        Some(Self {
            ready,
            cut: ready.saturating_sub(longest / 6),
            end: ready.saturating_add(longest).saturating_add(longest / 20 + 1),
        })
    }

    /// Nanoseconds to add to the times of a strip to place it on the axis.
    pub fn shift(&self, strip: &Strip) -> u64 {
        self.ready.saturating_sub(ready(strip))
    }
}

/// The moment of data ready, ns after the request; without a sign of the kernel, the moment at which it was sent.
fn ready(strip: &Strip) -> u64 {
    let at = |name: &str| strip.marks.iter().find(|mark| mark.name == name).map(|mark| mark.at_ns);
    at("ready").or_else(|| at("sent")).unwrap_or(0).min(strip.end_ns)
}

/// The latency of a strip, ns: from data ready to the delivery to the application.
pub fn latency(strip: &Strip) -> u64 {
    strip.end_ns - ready(strip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Mark;

    fn picture(ready: u64, end_ns: u64) -> Picture {
        let marks = vec![Mark { at_ns: ready, name: "ready".to_owned() }];
        let (arm, group, caption) = Default::default();
        Picture { arm, group, caption, strip: Strip { message: 0, lanes: Vec::new(), marks, end_ns } }
    }

    #[test]
    fn strips_meet_where_data_is_ready() {
        let pictures = [picture(1_000_000, 1_006_000), picture(900_000, 912_000), picture(5, 7_005)];
        let common = Common::of(&pictures).unwrap();
        assert_eq!(common, Common { ready: 1_000_000, cut: 998_000, end: 1_012_601 });
        assert_eq!(common.shift(&pictures[1].strip), 100_000);
        assert_eq!(Common::of(&[]), None);
    }

    #[test]
    fn one_that_lasts_much_longer_does_not_decide_the_scale() {
        let pictures = [picture(9, 1_009), picture(9, 2_009), picture(9, 9_000_000)];
        assert_eq!(Common::of(&pictures).unwrap().end, 9 + 2_000 + 101);
        assert_eq!(Common::of(&[picture(u64::MAX, 3)]).unwrap().ready, 3, "nonsense does not overflow");
    }
}
