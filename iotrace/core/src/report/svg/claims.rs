//! The verdicts on claims as a list in the figure.

use super::Drawing;
use crate::summary::{Claim, Ruling};

/// Draws the list below the elements drawn so far.
pub fn draw(claims: &[Claim], drawing: &mut Drawing) {
    for claim in claims {
        let colour = match claim.verdict {
            Ruling::Holds => "#00724f",
            Ruling::Conditional => "#a05a00",
            Ruling::Fails => "#b00020",
            Ruling::NotMeasured => "#666666",
        };
        let top = drawing.height + 22.0;
        let style = format!(r#"font-weight="bold" fill="{colour}""#);
        drawing.text(24.0, top, &style, claim.verdict.words());
        let below = drawing.paragraph((200.0, top), 96, r#"font-weight="bold""#, &claim.claim);
        drawing.height =
            drawing.paragraph((200.0, below), 104, r##"fill="#444444" font-size="12""##, &claim.because)
                - 8.0;
    }
    drawing.height += 8.0;
}
