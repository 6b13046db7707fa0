//! The table, in Markdown.

use std::fmt::Write as _;

use anyhow::Result;

use super::compare::Line;

/// What one scene showed.
pub struct Played {
    /// Name of the scene.
    pub name: &'static str,
    /// The figures, or why there are none.
    pub lines: Result<Vec<Line>>,
}

/// Columns of the short table: quantities as [`Line::quantity`] names them.
const COLUMNS: [&str; 7] =
    ["calls", "events per wait", "reads per event", "requests", "timeouts", "model", "pickup p50"];

/// The heading of the table.
pub fn heading() -> String {
    let mut text = "| program and load |".to_owned();
    for column in COLUMNS {
        let _ = write!(text, " {column} |");
    }
    text + " client p50 | disagrees |\n|---|" + &"---|".repeat(COLUMNS.len() + 2)
}

/// A scene on one line: iotrace's figure, and behind a slash the truth where they differ in what is printed.
pub fn short(played: &Played) -> String {
    let lines = match &played.lines {
        Ok(lines) => lines,
        Err(error) => return format!("| {} | failed: {} |\n", played.name, first_line(error)),
    };
    let cell = |quantity: &str| {
        let line = lines.iter().find(|line| line.quantity == quantity);
        line.map_or_else(String::new, |line| match line.iotrace == line.truth {
            true => line.iotrace.clone(),
            false => format!("{} / {}", line.iotrace, line.truth),
        })
    };
    let mut text = format!("| {} |", played.name);
    for column in COLUMNS {
        let _ = write!(text, " {} |", cell(column));
    }
    let client = lines.iter().find(|line| line.quantity == "pickup p50 within the client's");
    let wrong: Vec<&str> =
        lines.iter().filter(|line| !line.agrees).map(|line| line.quantity.as_str()).collect();
    let wrong = if wrong.is_empty() { "nothing".to_owned() } else { wrong.join(", ") };
    let _ = writeln!(text, " {} | {wrong} |", client.map_or("", |line| line.truth.as_str()));
    text
}

/// A scene with each figure on a line: quantity, iotrace, truth, source of the truth, whether they agree.
pub fn long(played: &Played) -> String {
    let lines = match &played.lines {
        Ok(lines) => lines,
        Err(error) => return format!("| {} | failed: {} |\n", played.name, first_line(error)),
    };
    lines.iter().fold(String::new(), |mut text, Line { quantity, iotrace, truth, source, agrees }| {
        let agrees = if *agrees { "yes" } else { "**no**" };
        let _ =
            writeln!(text, "| {} | {quantity} | {iotrace} | {truth} | {source} | {agrees} |", played.name);
        text
    })
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_is_a_line() {
        let line = |quantity: &str, iotrace: &str, truth: &str, agrees| Line {
            quantity: quantity.to_owned(),
            iotrace: iotrace.to_owned(),
            truth: truth.to_owned(),
            source: "bpftrace",
            agrees,
        };
        let lines = vec![line("calls", "1,000", "1,000", true), line("model", "epoll", "select", false)];
        let played = Played { name: "nginx", lines: Ok(lines) };
        assert_eq!(short(&played), "| nginx | 1,000 |  |  |  |  | epoll / select |  |  | model |\n");
        assert!(long(&played).ends_with("| nginx | model | epoll | select | bpftrace | **no** |\n"));
        assert_eq!(heading().lines().map(|line| line.matches('|').count()).collect::<Vec<_>>(), [11, 11]);
    }
}
