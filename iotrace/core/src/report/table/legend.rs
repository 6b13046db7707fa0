//! The words and signs of the report.

use crate::report::page::Page;
use crate::report::paint::Style;

const WORDS: [(&str, &str); 4] = [
    ("phase 1", "waiting: from wanting the data until it is ready in the kernel"),
    ("pickup", "data is ready, but nobody has come for it yet: wake-up, run queue, a busy thread"),
    ("phase 2", "copying the data from the kernel to the process"),
    ("own work", "units of about 1 us that the application got done while it was free"),
];

/// What a reader needs who has not read the manual.
pub fn draw(page: &mut Page) {
    page.gap();
    page.line(Style::Title, "How to read this");
    for (word, text) in WORDS {
        page.wrap(Style::Plain, &format!("   {word:<9} "), text);
    }
    page.line(
        Style::Doing,
        "   phases    █ blocked   ▚ polling   · free to run its own code   (what the thread did)",
    );
    page.line(
        Style::Parts,
        "   calls     ░ wait for data   ▒ runq: woken, no CPU yet   ▓ lock   █ copy   ▄ work: the rest",
    );
    page.wrap(
        Style::Plain,
        "             ",
        "wait + runq + lock + copy + work = total, exactly; whatever is not zero gets a cell",
    );
    page.line(
        Style::Plain,
        "   copy      412 ns= by function hooks   412 ns by tracepoints   412 ns~ estimated",
    );
    page.line(Style::Plain, "   -         not measured, or does not apply; never zero");
}
