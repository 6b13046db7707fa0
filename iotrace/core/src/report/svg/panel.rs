//! One measure as a panel: axes, a line for each arm with the confidence intervals of its points, and the names of the
//! arms at the ends of their lines. A measure without an axis is drawn as bars.

use std::fmt::Write as _;

use super::{Drawing, WIDTH, title};
use crate::report::scale::Scale;
use crate::report::study::{point, quantity, source};
use crate::summary::{Arm, Measure, Study};

/// Left edge of the field of a panel, in pixels.
const LEFT: f64 = 84.0;
/// Right edge of the field.
const RIGHT: f64 = WIDTH - 150.0;
/// Height of the field.
const FIELD: f64 = 250.0;
/// Colours of the arms: those of Okabe and Ito without yellow, which colour-blind readers can tell apart and which are
/// dark enough on white.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#aa3377", "#7a5c00", "#56b4e9", "#000000", "#777777"];
/// Dashes of the lines, which tell them apart in a black and white print.
const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];

/// Whether the measure has anything to draw.
pub fn is_drawn(study: &Study, measure: &Measure) -> bool {
    study.arms.iter().any(|arm| arm.measure == measure.name && arm.median.is_some())
}

/// Draws the panel below the elements drawn so far.
pub fn draw(study: &Study, measure: &Measure, drawing: &mut Drawing) {
    let mut arms: Vec<&Arm> = study.arms.iter().filter(|arm| arm.measure == measure.name).collect();
    let heading = format!("{} [{}]", title(measure), source(measure.source));
    drawing.height += 26.0;
    let top =
        drawing.paragraph((24.0, drawing.height), 118, r#"font-size="14" font-weight="bold""#, &heading);
    drawing.height = top;
    match &measure.x {
        Some(axis) => {
            arms.retain(|arm| arm.median.is_some());
            lines(&arms, measure, &axis.label, axis.log, drawing);
        }
        None => bars(&arms, measure, drawing),
    }
}

fn unit(measure: &Measure) -> &str {
    if measure.unit.starts_with("ns") { "ns" } else { "" }
}

fn lines(arms: &[&Arm], measure: &Measure, label: &str, log: bool, drawing: &mut Drawing) {
    let top = drawing.height;
    let ends = arms.iter().flat_map(|arm| arm.ci95.unwrap_or([arm.median.unwrap_or(f64::NAN); 2]));
    let y = Scale::of(ends.chain(arms.iter().filter_map(|arm| arm.median)), log);
    let x = Scale::of(arms.iter().filter_map(|arm| arm.x), log);
    let Some((x, y)) = x.zip(y) else { return };
    let across = |value: f64| Some(LEFT + x.place(value)? * (RIGHT - LEFT));
    let down = |value: f64| Some(top + FIELD - y.place(value)? * FIELD);
    let bottom = top + FIELD;
    for mark in y.marks() {
        let Some(at) = down(mark) else { continue };
        drawing.line((LEFT, at), (RIGHT, at), r##"stroke="#dddddd""##);
        drawing.text(LEFT - 8.0, at + 4.0, r#"text-anchor="end""#, &quantity(mark, unit(measure)));
    }
    let mut last_label = f64::NEG_INFINITY;
    for mark in x.marks() {
        let Some(at) = across(mark) else { continue };
        drawing.line((at, bottom), (at, bottom + 5.0), r##"stroke="#1a1a1a""##);
        if at - last_label > 55.0 {
            drawing.text(at, bottom + 20.0, r#"text-anchor="middle""#, &point(mark));
            last_label = at;
        }
    }
    drawing.line((LEFT, bottom), (RIGHT, bottom), r##"stroke="#1a1a1a""##);
    drawing.line((LEFT, top), (LEFT, bottom), r##"stroke="#1a1a1a""##);
    drawing.text((LEFT + RIGHT) / 2.0, bottom + 38.0, r#"text-anchor="middle""#, label);
    let mut names: Vec<(f64, &str, &str)> = Vec::new();
    for (index, name) in crate::report::study::arm_names(arms).into_iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let own: Vec<&&Arm> = arms.iter().filter(|arm| arm.name == name).collect();
        let mut path = String::new();
        for arm in &own {
            let place = arm.x.and_then(across).zip(arm.median.and_then(down));
            let Some((px, py)) = place else { continue };
            let _ = write!(path, "{px:.1},{py:.1} ");
            if let Some((low, high)) = arm.ci95.and_then(|[low, high]| down(low).zip(down(high))) {
                drawing.line(
                    (px, low),
                    (px, high),
                    &format!(r#"stroke="{colour}" stroke-width="5" opacity="0.3""#),
                );
            }
            drawing.element(&format!(r#"<circle cx="{px:.1}" cy="{py:.1}" r="3" fill="{colour}"/>"#));
        }
        let dash = DASHES[index % DASHES.len()];
        drawing.element(&format!(
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash}"/>"#,
            path.trim_end()
        ));
        if let Some(at) = own.last().and_then(|arm| arm.median).and_then(down) {
            names.push((at, name, colour));
        }
    }
    for (wanted, at, name, colour) in spread(names) {
        let style = format!(r#"fill="{colour}" font-weight="bold""#);
        drawing.line((RIGHT + 2.0, wanted), (RIGHT + 12.0, at), &format!(r#"stroke="{colour}""#));
        drawing.text(RIGHT + 15.0, at + 4.0, &style, name);
    }
    drawing.height = bottom + 46.0;
}

/// The names at the ends of the lines, moved apart where they would overlap: the y of the line, the y of the name, the
/// name, and the colour.
fn spread<'a>(mut names: Vec<(f64, &'a str, &'a str)>) -> Vec<(f64, f64, &'a str, &'a str)> {
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut placed: Vec<(f64, f64, &str, &str)> = Vec::new();
    // From the lowest name on the page upwards, so that no name falls below the axis.
    let mut limit = f64::INFINITY;
    for (wanted, name, colour) in names.into_iter().rev() {
        let at = wanted.min(limit);
        limit = at - 16.0;
        placed.push((wanted, at, name, colour));
    }
    placed
}

fn bars(arms: &[&Arm], measure: &Measure, drawing: &mut Drawing) {
    let left = 250.0;
    let Some(scale) = Scale::of(arms.iter().flat_map(|arm| [arm.median.unwrap_or(0.0), 0.0]), false) else {
        return;
    };
    for arm in arms {
        let top = drawing.height;
        drawing.height += 20.0;
        drawing.text(left - 8.0, top + 13.0, r#"text-anchor="end""#, &arm.name);
        let Some(value) = arm.median else {
            // A figure that was not measured gets the same sign as in a table, and no bar of length 0.
            drawing.text(left + 7.0, top + 13.0, "", "-");
            continue;
        };
        let width = scale.place(value).unwrap_or(0.0) * (RIGHT - left);
        drawing.element(&format!(
            r#"<rect x="{left}" y="{:.1}" width="{:.1}" height="13" fill="{}"/>"#,
            top + 2.0,
            width.max(1.0),
            COLOURS[0]
        ));
        drawing.text(left + width + 7.0, top + 13.0, "", &quantity(value, unit(measure)));
    }
    // Times have their unit at each bar; any other unit stands once below.
    if measure.unit != "ns" {
        drawing.text(left, drawing.height + 12.0, r##"font-size="11.5" fill="#555555""##, &measure.unit);
        drawing.height += 18.0;
    }
}
