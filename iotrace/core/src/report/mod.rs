//! Renderers: they turn a finished [`Document`] into text.
//!
//! A renderer measures nothing, and writes only to the writer that it is given, so that every output can be tested byte
//! by byte. A figure that was not measured is shown as `-`, never as zero.

mod bar;
mod closing;
mod facts;
mod figure;
mod findings;
mod header;
mod json;
mod page;
mod paint;
mod scale;
mod schema;
mod screen;
mod study;
mod svg;
mod table;
mod timeline;
mod units;

#[cfg(any(test, feature = "sample"))]
pub mod sample;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use clap::ValueEnum;

pub use json::line;
#[cfg(any(test, feature = "sample"))]
pub use sample::blocking as sample_run;
pub use schema::schema;
pub use screen::{Screen, Size};
pub use svg::write as svg;
pub use units::{Unit, count};

use crate::summary::Document;
use page::Page;

/// Columns of the widest line that a renderer of text writes.
pub const MAX_WIDTH: usize = 100;

/// Form of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables, bars and, for several models, the figure that compares them.
    #[default]
    Table,
    /// One JSON document (`iotrace schema` prints its schema).
    Json,
    /// The median message of each run, drawn on a time axis.
    Timeline,
}

/// How to write a result, as chosen on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Unit of all times.
    pub unit: Unit,
    /// Whether to write ANSI colours.
    pub color: bool,
    /// Columns of the terminal. Text and bars use at most [`MAX_WIDTH`] of them; numbers are never
    /// cut for a narrower terminal.
    pub width: usize,
    /// Of the table only what matters: where the time went, and what that means.
    pub summary: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { unit: Unit::Auto, color: false, width: MAX_WIDTH, summary: false }
    }
}

/// Writes `document` to `out` in the form `format`.
///
/// # Errors
/// `out` could not be written.
pub fn render(format: Format, document: &Document, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    if !document.findings.is_empty() && format != Format::Json {
        return findings::draw(document, out);
    }
    let mut page = Page::new(options.width);
    match format {
        Format::Json => return json::pretty(document, out),
        Format::Table => table::draw(document, options.unit, options.summary, &mut page),
        Format::Timeline => timeline::draw(document, options.unit, &mut page),
    }
    page.write(options.color, out)
}
