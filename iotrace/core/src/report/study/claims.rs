//! Verdicts on claims.

use super::quantity::quantity;
use super::source;
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::report::units::NONE;
use crate::summary::{Claim, Evidence, Ruling};

/// Each claim with its verdict, and what that follows from.
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
    let show = |value| quantity(value, &evidence.unit);
    let mut text = format!("{name} {}", evidence.value.map_or_else(|| NONE.to_owned(), show));
    if let Some([low, high]) = evidence.ci95
        && low < high
    {
        text += &format!(" ({} to {})", show(low), show(high));
    }
    text + &format!(" [{}]", source(evidence.source))
}
