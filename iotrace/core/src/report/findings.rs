//! The table of `doctor`.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};

use crate::domain::name::harmless_lines;
use crate::summary::{Document, Standing};

pub fn draw(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let host = &document.host;
    let machine =
        format!("Linux {} on {}, {} CPUs, lockdown {}\n", host.kernel, host.arch, host.cpus, host.lockdown);
    writeln!(out, "{}", harmless_lines(&machine))?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(100);
    table.set_header(["what", "status", "why; what is lost; what to do"]);
    for row in &document.findings {
        let status = match row.status {
            Standing::Ok => "ok",
            Standing::Degraded => "degraded",
            Standing::Missing => "missing",
        };
        let mut text = row.reason.clone();
        if let Some(lost) = &row.lost {
            text.push_str(&format!("\nlost: {lost}"));
        }
        if let Some(remedy) = &row.remedy {
            text.push_str(&format!("\nremedy: {remedy}"));
        }
        table.add_row([row.name.as_str(), status, &text]);
    }
    writeln!(out, "{}\n", harmless_lines(&table.to_string()))?;
    let degraded = document.findings.iter().filter(|row| row.status == Standing::Degraded).count();
    match (document.ok == Some(true), degraded) {
        (true, 0) => writeln!(out, "Everything works here."),
        (true, _) => {
            writeln!(out, "iotrace works here; {degraded} of the rows above say what is measured less well.")
        }
        (false, _) => writeln!(out, "iotrace cannot measure here."),
    }
}
