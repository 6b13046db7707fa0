//! The explanation of the words and signs of a report of runs.

use crate::domain::spec::UNIT_STEPS;
use crate::report::page::Page;
use crate::report::paint::Style;

const WORDS: [(&str, &str); 3] = [
    ("phase 1", "waiting: from the request for the data until it is ready in the kernel"),
    ("pickup", "data is ready, but not yet read: wake-up, run queue, a busy thread"),
    ("phase 2", "copying the data from the kernel to the process"),
];

/// Explains the words and signs of a report of runs, for readers who have not read the manual.
pub fn draw(page: &mut Page) {
    page.gap();
    page.line(Style::Title, "How to read this");
    for (word, text) in WORDS {
        page.wrap(Style::Plain, &format!("   {word:<9} "), text);
    }
    page.wrap(
        Style::Plain,
        "   own work  ",
        &format!(
            "done by the application while it was free, in units of {UNIT_STEPS} multiply-add steps (about half a \
             microsecond; how long one took here is not measured)"
        ),
    );
    page.line(
        Style::Doing,
        "   phases    █ blocked   ▚ polling   · free to run its own code   (what the thread did)",
    );
    page.line(
        Style::Parts,
        "   calls     ░ wait for data   ▒ runq: woken, no CPU yet   ▞ disk   ▓ lock   █ copy   ▄ work: rest",
    );
    page.wrap(
        Style::Plain,
        "             ",
        "wait + runq + disk + lock + copy + work = total, exactly; a part that is not zero gets a cell",
    );
    page.line(
        Style::Plain,
        "   copy      412 ns= by function hooks   412 ns by tracepoints   412 ns~ estimated",
    );
    page.line(Style::Plain, "   -         not measured, or does not apply; never zero");
}
