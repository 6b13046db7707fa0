//! The figure of a study: an SVG file that needs no other file.

mod claims;
mod panel;
mod pictures;

use std::fmt::Write as _;
use std::io::{self, Write};

use super::page::columns;
use super::study::{conditions, is_in_table};
use crate::domain::name::harmless;
use crate::summary::{Document, Measure, Study};

/// Width of the picture in CSS pixels.
const WIDTH: f64 = 900.0;
/// Height of the title above the panels.
const HEAD: f64 = 74.0;

/// An unfinished drawing: its elements, and the height that they take in pixels.
#[derive(Default)]
struct Drawing {
    body: String,
    height: f64,
}

impl Drawing {
    /// Adds text with its baseline at `(x, y)`; `style` are further attributes.
    fn text(&mut self, x: f64, y: f64, style: &str, text: &str) {
        let _ = writeln!(self.body, r#"<text x="{x:.1}" y="{y:.1}" {style}>{}</text>"#, escape(text));
    }

    /// Adds a straight line.
    fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let (x1, y1, x2, y2) = (from.0, from.1, to.0, to.1);
        let _ = writeln!(self.body, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {style}/>"#);
    }

    /// Adds any SVG element.
    fn element(&mut self, text: &str) {
        self.body.push_str(text);
        self.body.push('\n');
    }

    /// Adds text in lines of at most `most` characters; returns the y of the line that would follow.
    fn paragraph(&mut self, at: (f64, f64), most: usize, style: &str, text: &str) -> f64 {
        let mut y = at.1;
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && columns(&line) + 1 + columns(word) > most {
                self.text(at.0, y, style, &line);
                line.clear();
                y += 17.0;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.text(at.0, y, style, &line);
        y + 17.0
    }
}

/// Writes the figures of all studies of the document, one below the other.
///
/// # Errors
/// `out` could not be written.
pub fn write(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let mut drawing = Drawing::default();
    for study in &document.studies {
        head(document, study, &mut drawing);
        pictures::draw(&study.pictures, &mut drawing);
        // Measures of a table are left out if there are pictures, which show the same.
        let told = |measure: &Measure| !study.pictures.is_empty() && is_in_table(study, measure);
        let drawn = |measure: &&Measure| panel::is_drawn(study, measure) && !told(measure);
        for measure in study.measures.iter().filter(drawn) {
            panel::draw(study, measure, &mut drawing);
        }
        claims::draw(&study.claims, &mut drawing);
    }
    let height = drawing.height + 10.0;
    let title = document.studies.first().map_or("", |study| study.question.as_str());
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0}" viewBox="0 0 {WIDTH} {height:.0}" font-family="Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif" font-size="13" fill="#1a1a1a">
<title>{}</title>
<rect width="100%" height="100%" fill="#ffffff"/>"##,
        escape(title)
    )?;
    write!(out, "{}", drawing.body)?;
    writeln!(out, "</svg>")
}

fn head(document: &Document, study: &Study, drawing: &mut Drawing) {
    let top = drawing.height;
    drawing.text(24.0, top + 30.0, r#"font-size="19" font-weight="bold""#, &study.question);
    let host = &document.host;
    let line = format!(
        "Linux {} {}, {} CPUs. {}",
        host.kernel,
        host.arch,
        host.cpus,
        conditions(&study.environment)
    );
    let below = drawing.paragraph((24.0, top + 50.0), 140, r##"font-size="11.5" fill="#555555""##, &line);
    drawing.height = below.max(top + HEAD);
}

/// The heading of the panel of a measure.
fn title(measure: &Measure) -> String {
    format!("{}: {}", measure.name, measure.title)
}

/// Text for an element or an attribute of XML.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in harmless(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_is_text_and_no_markup() {
        assert_eq!(
            super::escape("<a b='\"'>&\u{fffe}\u{202e}\0\x1b"),
            "&lt;a b=&apos;&quot;&apos;&gt;&amp;????"
        );
    }
}
