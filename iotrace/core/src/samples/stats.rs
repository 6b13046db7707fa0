//! Medians with confidence intervals, and straight lines, without an assumption about the distribution.

/// The lower and the upper end of a 95 % confidence interval.
pub type Interval = [f64; 2];

/// The median of the finite samples; `None` if there are none.
pub fn median(samples: &[f64]) -> Option<f64> {
    let sorted = sorted(samples);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[half]),
        _ => Some(f64::midpoint(sorted[half - 1], sorted[half])),
    }
}

/// The 95 % confidence interval of the median, from order statistics: the number of samples below the true median is
/// binomial with probability 1/2, for any distribution. `None` below 6 samples: then even the range from the smallest
/// to the largest sample covers the median in less than 95 of 100 cases.
pub fn median_ci95(samples: &[f64]) -> Option<Interval> {
    let sorted = sorted(samples);
    let cut = cut(sorted.len())?;
    Some([sorted[cut], sorted[sorted.len() - 1 - cut]])
}

/// Number of samples outside the interval, on each side.
fn cut(samples: usize) -> Option<usize> {
    // P(X <= k) of a binomial with p = 1/2, term by term: as logarithms, as the first is 0 in 1075 samples.
    let mut log_term = samples as f64 * 0.5f64.ln();
    let mut below = 0.0;
    let mut fits = None;
    for k in 0..samples {
        below += log_term.exp();
        if below > 0.025 {
            break;
        }
        fits = Some(k);
        log_term += ((samples - k) as f64 / (k + 1) as f64).ln();
    }
    fits
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// A point of an arm in one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Where on the axis of the measure.
    pub x: f64,
    /// The sample, in the unit of the measure.
    pub y: f64,
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Increase of y per unit of x.
    pub slope: f64,
    /// Value of y at x = 0.
    pub intercept: f64,
}

/// The line through the points by Theil-Sen: its slope is the median of the slopes of all pairs of points, weighted
/// with their distance in x, so that neighbours count little and a single outlier hardly at all. `None` without two
/// different x.
pub fn line(points: &[Point]) -> Option<Line> {
    let mut slopes = Vec::new();
    for (index, one) in points.iter().enumerate() {
        for other in &points[index + 1..] {
            let distance = (other.x - one.x).abs();
            let slope = (other.y - one.y) / (other.x - one.x);
            if distance > 0.0 && slope.is_finite() {
                slopes.push((slope, distance));
            }
        }
    }
    let slope = weighted_median(slopes)?;
    let rests: Vec<f64> = points.iter().map(|point| point.y - slope * point.x).collect();
    Some(Line { slope, intercept: median(&rests)? })
}

fn weighted_median(mut values: Vec<(f64, f64)>) -> Option<f64> {
    values.sort_by(|one, other| one.0.total_cmp(&other.0));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut passed = 0.0;
    for (value, weight) in &values {
        passed += weight;
        if passed >= half {
            return Some(*value);
        }
    }
    None
}

/// The x at which the line through `one`, from point to point, rises above the line through `other`. Both have points
/// at the same x, in ascending order. Of several crossings it is the last; x is interpolated. `None` if `one` does not
/// end above `other`, or if it is above from the start.
pub fn crossing(one: &[Point], other: &[Point]) -> Option<f64> {
    let gap = |point: &Point| {
        let below = other.iter().find(|below| below.x == point.x)?;
        Some(Point { x: point.x, y: point.y - below.y })
    };
    let gaps: Vec<Point> = one.iter().filter_map(gap).collect();
    let last = gaps.last()?;
    if last.y <= 0.0 {
        return None;
    }
    gaps.windows(2).rev().find(|pair| pair[0].y <= 0.0 && pair[1].y > 0.0).map(|pair| {
        let (low, high) = (pair[0], pair[1]);
        low.x + (high.x - low.x) * -low.y / (high.y - low.y)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: &[(f64, f64)]) -> Vec<Point> {
        of.iter().map(|&(x, y)| Point { x, y }).collect()
    }

    #[test]
    fn the_interval_is_that_of_the_tables() {
        // Ranks from tables of the sign test: 6 samples all, 9 the second to the eighth, 20 the sixth to the 15th.
        for (samples, want) in [(5, None), (6, Some(0)), (8, Some(0)), (9, Some(1)), (20, Some(5)), (0, None)]
        {
            assert_eq!(cut(samples), want, "{samples}");
        }
        let samples: Vec<f64> = (1..=9).rev().map(f64::from).collect();
        assert_eq!((median(&samples), median_ci95(&samples)), (Some(5.0), Some([2.0, 8.0])));
        assert_eq!(median(&[1.0, 4.0]), Some(2.5));
        assert_eq!((median(&[f64::NAN]), median_ci95(&[1.0; 5])), (None, None));
        // By the exact sums of binomial coefficients.
        assert_eq!([100, 1000, 5000].map(cut), [Some(39), Some(468), Some(2430)]);
    }

    #[test]
    fn an_outlier_does_not_move_the_line() {
        let on_line = |x| Point { x, y: 3.0 * x + 7.0 };
        let mut all: Vec<Point> = (0..10).map(|x| on_line(f64::from(x))).collect();
        let exact = line(&all).unwrap();
        assert!((exact.slope - 3.0).abs() < 1e-9 && (exact.intercept - 7.0).abs() < 1e-9);
        all[4].y = 1e6;
        let robust = line(&all).unwrap();
        assert!((robust.slope - 3.0).abs() < 1e-9 && (robust.intercept - 7.0).abs() < 1e-9);
        assert_eq!(line(&points(&[(1.0, 2.0), (1.0, 3.0)])), None);
    }

    #[test]
    fn noise_among_near_points_does_not_decide() {
        // At small x the noise is larger than what the slope makes of it.
        let noisy =
            [(1.0, 250.0), (2.0, 150.0), (4.0, 260.0), (8.0, 180.0), (1000.0, 10_200.0), (2000.0, 20_200.0)];
        assert!((line(&points(&noisy)).unwrap().slope - 10.0).abs() < 0.1);
    }

    #[test]
    fn lines_cross_where_the_gap_changes_its_sign() {
        let flat = points(&[(1.0, 100.0), (10.0, 100.0), (100.0, 100.0)]);
        let rising = points(&[(1.0, 60.0), (10.0, 150.0), (100.0, 1000.0)]);
        let at = crossing(&rising, &flat).unwrap();
        assert!((at - 5.0).abs() < 1e-9, "{at}");
        assert_eq!(crossing(&flat, &rising), None, "it ends below");
        assert_eq!(
            crossing(&flat, &points(&[(1.0, 10.0), (100.0, 20.0)])),
            None,
            "it was above from the start"
        );
        assert_eq!(crossing(&[], &flat), None);
    }
}
