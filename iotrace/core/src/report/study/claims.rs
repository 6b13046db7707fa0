//! The verdicts on claims in the terminal.

use super::quantity::{point, quantity};
use super::source;
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::summary::{Claim, Evidence, Ruling};

/// Each claim with its verdict, the reason, the experiment, the rule, and the figures.
pub fn draw(claims: &[Claim], page: &mut Page) {
    for claim in claims {
        page.gap();
        let style = if claim.verdict == Ruling::Fails { Style::Alert } else { Style::Title };
        let mark = match claim.verdict {
            Ruling::Holds => '✓',
            Ruling::Conditional => '~',
            Ruling::Fails => '✗',
            Ruling::NotMeasured => '?',
        };
        page.wrap(style, &format!("   {mark} "), &format!("{} — {}", claim.claim, claim.verdict.words()));
        page.wrap(Style::Plain, "     ", &claim.because);
        page.wrap(Style::Dim, "     tried:  ", &claim.experiment);
        page.wrap(Style::Dim, "     rule:   ", &claim.rule);
        let figures: Vec<String> = claim.evidence.iter().map(|(name, one)| figure(name, one)).collect();
        page.wrap(Style::Plain, "     found:  ", &figures.join("; "));
    }
}

fn figure(name: &str, evidence: &Evidence) -> String {
    // A count says what it counts already: `sleeps for a byte = 1`, not `= 1.00 sleeps`.
    let counts = !evidence.unit.is_empty() && name.contains(&evidence.unit);
    let unit = if counts { "" } else { evidence.unit.as_str() };
    let show = |value: f64| match value.fract() == 0.0 && value >= 0.0 && !unit.starts_with("ns") {
        true => format!("{} {unit}", point(value)).trim_end().to_owned(),
        false => quantity(value, unit),
    };
    let mut text = format!("{name} = {}", evidence.value.map_or_else(|| "not measured".to_owned(), show));
    if let Some([low, high]) = evidence.ci95
        && low < high
    {
        text += &format!(" (95 % interval {} to {})", show(low), show(high));
    }
    text + &format!(" [{}]", source(evidence.source))
}
