//! The samples of a study, and the medians, lines and crossings made from them.

use super::stats::{Line, Point};
use crate::samples::stats;
use crate::summary::{Arm, Axis, Crossover, Evidence, Fit, Measure, Source};

/// The samples of one measure of one arm at one point, with a place for each counted round.
#[derive(Clone, Debug)]
struct Series {
    measure: String,
    arm: String,
    x: Option<f64>,
    /// One sample for each round; NaN: the round gave none.
    samples: Vec<f64>,
}

/// Samples by measure, arm and point.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    measures: Vec<Measure>,
    series: Vec<Series>,
    order: Vec<String>,
    round: usize,
}

impl Sheet {
    /// Declares a measure. Call it before the first sample of the measure is added.
    pub fn measure(&mut self, name: &str, title: &str, unit: &str, source: Source, x: Option<Axis>) {
        let (name, title, unit) = (name.to_owned(), title.to_owned(), unit.to_owned());
        self.measures.push(Measure { name, title, unit, source, x });
    }

    /// Sets the order of the arms in the result. Arms that are not listed follow in the order of their first samples.
    pub fn order(&mut self, arms: &[&str]) {
        self.order = arms.iter().map(|&arm| arm.to_owned()).collect();
    }

    /// Begins round `round`, from 0: the samples added from now on belong to it.
    pub fn begin(&mut self, round: usize) {
        self.round = round;
    }

    /// Adds the sample of this round; a later one for the same point replaces it.
    pub fn add(&mut self, measure: &str, arm: &str, x: Option<f64>, sample: f64) {
        debug_assert!(self.measures.iter().any(|known| known.name == measure), "{measure} is not declared");
        let round = self.round;
        let found = self.series.iter_mut().find(|one| one.measure == measure && one.arm == arm && one.x == x);
        let series = match found {
            Some(series) => series,
            None => {
                let (measure, arm) = (measure.to_owned(), arm.to_owned());
                self.series.push(Series { measure, arm, x, samples: Vec::new() });
                let last = self.series.len() - 1;
                &mut self.series[last]
            }
        };
        if series.samples.len() <= round {
            series.samples.resize(round + 1, f64::NAN);
        }
        series.samples[round] = sample;
    }

    /// The declared measures.
    pub fn measures(&self) -> Vec<Measure> {
        self.measures.clone()
    }

    /// Every series as an [`Arm`] of the result: by measure, then arm (see [`Self::order`]), then x.
    pub fn arms(&self) -> Vec<Arm> {
        let mut ordered: Vec<(usize, usize, &Series)> = Vec::new();
        for series in &self.series {
            let measure =
                self.measures.iter().position(|one| one.name == series.measure).unwrap_or(usize::MAX);
            let listed = self.order.iter().position(|one| *one == series.arm);
            let came = self.series.iter().position(|one| one.arm == series.arm).unwrap_or(usize::MAX);
            let arm = listed.unwrap_or(self.order.len() + came);
            ordered.push((measure, arm, series));
        }
        ordered.sort_by(|one, other| {
            let x = |series: &Series| series.x.unwrap_or(f64::NEG_INFINITY);
            (one.0, one.1).cmp(&(other.0, other.1)).then(x(one.2).total_cmp(&x(other.2)))
        });
        ordered.into_iter().map(|(_, _, series)| self.arm(series)).collect()
    }

    fn arm(&self, series: &Series) -> Arm {
        let kept: Vec<f64> = series.samples.iter().copied().filter(|sample| sample.is_finite()).collect();
        Arm {
            name: series.arm.clone(),
            measure: series.measure.clone(),
            x: series.x,
            repeats: kept.len() as u32,
            median: stats::median(&kept),
            ci95: stats::median_ci95(&kept),
            min: kept.iter().copied().min_by(f64::total_cmp),
            max: kept.iter().copied().max_by(f64::total_cmp),
            unit: self.unit(&series.measure),
        }
    }

    fn unit(&self, measure: &str) -> String {
        self.declared(measure).map_or_else(String::new, |one| one.unit.clone())
    }

    fn declared(&self, measure: &str) -> Option<&Measure> {
        self.measures.iter().find(|one| one.name == measure)
    }

    fn axis(&self, measure: &str) -> Option<&Axis> {
        self.declared(measure)?.x.as_ref()
    }

    /// The samples of one point, in the order of the rounds; NaN for a round without one.
    pub fn samples(&self, measure: &str, arm: &str, x: Option<f64>) -> &[f64] {
        let found = self.series.iter().find(|one| one.measure == measure && one.arm == arm && one.x == x);
        found.map_or(&[], |series| &series.samples)
    }

    /// The median of the samples of one point; `None` if there are none.
    pub fn median(&self, measure: &str, arm: &str, x: Option<f64>) -> Option<f64> {
        stats::median(self.samples(measure, arm, x))
    }

    /// The samples of one point as evidence of a claim.
    pub fn evidence(&self, measure: &str, arm: &str, x: Option<f64>) -> Evidence {
        let samples = self.samples(measure, arm, x);
        Evidence {
            value: stats::median(samples),
            ci95: stats::median_ci95(samples),
            unit: self.unit(measure),
            source: self.declared(measure).map_or(Source::Count, |one| one.source),
        }
    }

    /// The points of an arm in one round, by ascending x.
    fn points(&self, measure: &str, arm: &str, round: usize) -> Vec<Point> {
        let of_arm = self.series.iter().filter(|one| one.measure == measure && one.arm == arm);
        let mut points: Vec<Point> = of_arm
            .filter_map(|one| Some(Point { x: one.x?, y: *one.samples.get(round)? }))
            .filter(|point| point.y.is_finite())
            .collect();
        points.sort_by(|one, other| one.x.total_cmp(&other.x));
        points
    }

    fn rounds(&self) -> usize {
        self.series.iter().map(|one| one.samples.len()).max().unwrap_or(0)
    }

    /// The line through the points of an arm up to x = `most`; `None` if no round has two points.
    pub fn fit(&self, measure: &str, arm: &str, most: f64) -> Option<Fit> {
        let mut range = [f64::INFINITY, f64::NEG_INFINITY];
        let mut points = 0;
        let lines: Vec<Line> = (0..self.rounds())
            .filter_map(|round| {
                let mut of_round = self.points(measure, arm, round);
                of_round.retain(|point| point.x <= most);
                for &Point { x, .. } in &of_round {
                    range = [range[0].min(x), range[1].max(x)];
                }
                points = points.max(of_round.len() as u32);
                stats::line(&of_round)
            })
            .collect();
        let slopes: Vec<f64> = lines.iter().map(|line| line.slope).collect();
        let intercepts: Vec<f64> = lines.iter().map(|line| line.intercept).collect();
        let per = self.axis(measure).map_or("x", |axis| axis.per.as_str());
        Some(Fit {
            arm: arm.to_owned(),
            measure: measure.to_owned(),
            slope: stats::median(&slopes)?,
            unit: format!("{} per {per}", self.unit(measure)),
            ci95: stats::median_ci95(&slopes),
            intercept: stats::median(&intercepts)?,
            points,
            range,
        })
    }

    /// The point from which `arm` lies above `other`: the median of the rounds, if most rounds have such a point.
    pub fn crossover(&self, measure: &str, arm: &str, other: &str) -> Crossover {
        let rounds = self.rounds();
        let crossings: Vec<f64> = (0..rounds)
            .filter_map(|round| {
                stats::crossing(&self.points(measure, arm, round), &self.points(measure, other, round))
            })
            .collect();
        let usual = crossings.len() * 2 > rounds;
        Crossover {
            measure: measure.to_owned(),
            arm: arm.to_owned(),
            other: other.to_owned(),
            x: stats::median(&crossings).filter(|_| usual),
            ci95: stats::median_ci95(&crossings).filter(|_| usual),
            unit: self.axis(measure).map_or_else(String::new, |axis| axis.label.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::default();
        let axis = Axis { label: "connections".into(), per: "fd".into(), log: true };
        sheet.measure("idle", "Nothing ready", "ns", Source::Clock, Some(axis));
        for round in 0..9 {
            sheet.begin(round);
            for x in [100.0, 1.0, 10.0] {
                sheet.add("idle", "poll", Some(x), 200.0 + 30.0 * x + round as f64);
                sheet.add("idle", "epoll", Some(x), 400.0);
            }
        }
        sheet
    }

    #[test]
    fn series_become_arms_in_order() {
        let arms = sheet().arms();
        let order: Vec<_> = arms.iter().map(|arm| (arm.name.as_str(), arm.x.unwrap())).collect();
        assert_eq!(
            order,
            [
                ("poll", 1.0),
                ("poll", 10.0),
                ("poll", 100.0),
                ("epoll", 1.0),
                ("epoll", 10.0),
                ("epoll", 100.0)
            ]
        );
        assert_eq!((arms[0].median, arms[0].ci95, arms[0].repeats), (Some(234.0), Some([231.0, 237.0]), 9));
    }

    #[test]
    fn lines_are_fitted_round_by_round() {
        let sheet = sheet();
        let fit = sheet.fit("idle", "poll", f64::INFINITY).unwrap();
        assert!((fit.slope - 30.0).abs() < 1e-9 && (fit.intercept - 204.0).abs() < 1e-9, "{fit:?}");
        assert_eq!((fit.unit.as_str(), fit.points, fit.range), ("ns per fd", 3, [1.0, 100.0]));
        assert_eq!(sheet.fit("idle", "poll", 10.0).unwrap().range, [1.0, 10.0]);
        assert_eq!(sheet.fit("idle", "nobody", f64::INFINITY), None);
        let crossover = sheet.crossover("idle", "poll", "epoll");
        assert!(crossover.x.is_some_and(|x| (6.0..7.0).contains(&x)), "{crossover:?}");
        assert_eq!(sheet.crossover("idle", "epoll", "poll").x, None);
    }

    #[test]
    fn a_round_without_a_sample_is_not_a_zero() {
        let mut sheet = Sheet::default();
        sheet.measure("n", "Counted", "calls", Source::Count, None);
        for round in [0, 2] {
            sheet.begin(round);
            sheet.add("n", "a", None, 7.0);
        }
        let arms = sheet.arms();
        assert_eq!((arms[0].repeats, arms[0].median, arms[0].min), (2, Some(7.0), Some(7.0)));
        assert_eq!(sheet.evidence("n", "b", None).value, None);
    }
}
