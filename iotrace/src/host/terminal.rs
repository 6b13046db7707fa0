//! The terminal that results are shown on.

use std::io::{self, IsTerminal};

use iotrace_core::report::Size;

/// How large the terminal is that standard output leads to; `None`: it is none, one that cannot move its cursor
/// (`TERM=dumb`, terminfo(5)), or one that does not tell.
pub fn size() -> Option<Size> {
    if !io::stdout().is_terminal()
        || std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty())
    {
        return None;
    }
    let (columns, lines) = terminal_size::terminal_size_of(io::stdout())?;
    Some(Size { lines: lines.0.into(), columns: columns.0.into() })
        .filter(|size| size.lines > 0 && size.columns > 0)
}
