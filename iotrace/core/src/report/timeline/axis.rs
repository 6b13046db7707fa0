//! The axis of a picture of text, which turns times into columns. A wait is often a thousand times longer than all that
//! follows it, so the axis may consist of pieces, each with a scale of its own.

use super::at;
use crate::report::units::Unit;
use crate::summary::Strip;

/// The sign in the columns between two pieces.
const BREAK: &str = "//";
/// Least distance of two ticks in columns, so that their labels fit.
const TICK: usize = 9;

/// A piece of the axis, with one scale. All times are ns after the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The moment at which it begins.
    pub from: u64,
    /// The moment at which it ends.
    pub to: u64,
    /// The first column.
    pub column: usize,
    /// Number of columns.
    pub cells: usize,
    /// The moment from which the labels of its ticks count.
    pub zero: u64,
}

impl Piece {
    /// The moment at the left edge of a cell.
    fn edge(&self, cell: usize) -> u64 {
        let length = u128::from(self.to - self.from);
        self.from + (length * cell as u128 / self.cells as u128) as u64
    }

    fn cell(&self, time: u64) -> usize {
        let length = u128::from(self.to - self.from).max(1);
        let cell = u128::from(time.saturating_sub(self.from)) * self.cells as u128 / length;
        (cell as usize).min(self.cells - 1)
    }
}

/// The axis: its pieces, in order of time.
#[derive(Debug)]
pub struct Axis {
    pieces: Vec<Piece>,
    width: usize,
}

impl Axis {
    /// The axis that shows the whole strip in `width` columns.
    pub fn new(strip: &Strip, width: usize) -> Self {
        let end = strip.end_ns.max(1);
        let ready = at(strip, "ready").unwrap_or(0).min(end);
        let mut cuts = vec![0, end];
        if let Some(tail) = tail(strip, end) {
            cuts.insert(1, tail);
            if let Some(head) = head(strip, tail) {
                cuts.insert(1, head);
            }
        }
        // In the last piece data becomes ready, is read and copied, so it gets the most room.
        let shares: &[usize] = match cuts.len() {
            2 => &[100],
            3 => &[30, 70],
            _ => &[22, 18, 60],
        };
        Self::cut(&cuts, shares, ready, width)
    }

    /// An axis with pieces between the times `cuts`, which get these shares of its columns, in percent. The labels of
    /// the last of several pieces count from `ready`.
    pub fn cut(cuts: &[u64], shares: &[usize], ready: u64, width: usize) -> Self {
        let room = width - BREAK.len() * (shares.len() - 1);
        let mut pieces: Vec<Piece> = Vec::new();
        let mut column = 0;
        for (index, share) in shares.iter().enumerate() {
            let last = index + 1 == shares.len();
            let cells = if last { width - column } else { room * share / 100 };
            let zero = if last && index > 0 { ready } else { 0 };
            pieces.push(Piece { from: cuts[index], to: cuts[index + 1], column, cells, zero });
            column += cells + BREAK.len();
        }
        Self { pieces, width }
    }

    /// This axis with all labels counting from `zero`.
    pub fn told_from(mut self, zero: u64) -> Self {
        self.pieces.iter_mut().for_each(|piece| piece.zero = zero);
        self
    }

    /// Number of columns of the axis.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The column of a moment.
    pub fn column(&self, time: u64) -> usize {
        let piece = self.pieces.iter().rev().find(|piece| piece.from <= time).unwrap_or(&self.pieces[0]);
        piece.column + piece.cell(time)
    }

    /// The times at the two edges of a column; `None` for a column of a break.
    pub fn span(&self, column: usize) -> Option<(u64, u64)> {
        let piece = self.pieces.iter().rev().find(|piece| piece.column <= column)?;
        let cell = column - piece.column;
        (cell < piece.cells).then(|| (piece.edge(cell), piece.edge(cell + 1)))
    }

    /// The moment from which labels in the piece of `time` count: 0, or data ready.
    pub fn zero(&self, time: u64) -> u64 {
        self.pieces.iter().rev().find(|piece| piece.from <= time).map_or(0, |piece| piece.zero)
    }

    /// Writes the sign of a break between the pieces of a line.
    pub fn broken(&self, line: &mut [char]) {
        for piece in self.pieces.iter().skip(1) {
            for (cell, sign) in line[piece.column - BREAK.len()..].iter_mut().zip(BREAK.chars()) {
                *cell = sign;
            }
        }
    }

    /// The longest run of columns between `from` and `to` without a break: its first column, and its length.
    pub fn unbroken(&self, from: usize, to: usize) -> (usize, usize) {
        let inside = |piece: &Piece| {
            let first = piece.column.max(from);
            (first, (piece.column + piece.cells).min(to + 1).saturating_sub(first))
        };
        self.pieces.iter().map(inside).max_by_key(|run| run.1).unwrap_or((from, 0))
    }

    /// Three lines: the rule with its ticks, the labels of the ticks, and the scale of each piece.
    pub fn draw(&self, unit: Unit) -> [String; 3] {
        let mut rule = vec!['─'; self.width];
        let mut labels = vec![' '; self.width + TICK];
        let mut scales = vec![' '; self.width + TICK];
        self.broken(&mut rule);
        for piece in &self.pieces {
            let mut free = piece.column;
            for time in ticks(piece) {
                let column = piece.column + piece.cell(time);
                rule[column] = '┴';
                let label = label(time, piece.zero, unit);
                // Labels of the last piece may reach into the margin, those of the others not into the next piece.
                let last = piece.column + piece.cells == self.width;
                let end = piece.column + piece.cells + if last { TICK } else { BREAK.len() - 1 };
                if column >= free && column + label.len() <= end {
                    write(&mut labels, column, &label);
                    free = column + label.len() + 1;
                }
            }
            let cell = ((piece.to - piece.from) / piece.cells as u64).max(1);
            let scale = format!("{}/cell", unit.show(cell));
            let room = piece.cells + BREAK.len() - 1;
            write(&mut scales, piece.column, &scale[..scale.len().min(room)]);
        }
        [rule, labels, scales].map(|line| line.into_iter().collect::<String>())
    }
}

/// Writes text into a line of cells from `column` on; text beyond the end of the line is cut off.
pub fn write(line: &mut [char], column: usize, text: &str) {
    for (cell, sign) in line.iter_mut().skip(column).zip(text.chars()) {
        *cell = sign;
    }
}

/// The time at which the last piece begins: a little before the first mark in the last eighth of the strip. `None` if
/// there is no such mark.
fn tail(strip: &Strip, end: u64) -> Option<u64> {
    let late = |time: &u64| *time >= end - end / 8 && *time < end;
    let first = strip.marks.iter().map(|mark| mark.at_ns).filter(late).min()?;
    let from = first.saturating_sub((end - first) / 8);
    (from > 0).then_some(from)
}

/// The time at which the first piece ends: before a quiet time that fills more than three quarters of the time before
/// `tail`. `None` if there is no such quiet time.
fn head(strip: &Strip, tail: u64) -> Option<u64> {
    let segments = strip.lanes.iter().flat_map(|lane| &lane.segments);
    let mut times: Vec<u64> = segments.flat_map(|segment| [segment.from_ns, segment.to_ns]).collect();
    times.extend(strip.marks.iter().map(|mark| mark.at_ns));
    times.retain(|&time| time < tail);
    let last = times.into_iter().max()?;
    let with_air = last.saturating_add(last / 8);
    (last > 0 && with_air < tail / 4).then_some(with_air)
}

/// The times of the ticks of a piece: round, and far enough apart for their labels.
fn ticks(piece: &Piece) -> impl Iterator<Item = u64> + use<> {
    let most = (piece.cells / TICK).max(1) as u64;
    let least = (piece.to - piece.from) / most;
    let mut step = 1_u64;
    let mut factors = [2, 5, 10].into_iter().cycle();
    let mut decade = 1_u64;
    while step < least {
        let factor = factors.next().unwrap_or(10);
        step = decade.saturating_mul(factor);
        if factor == 10 {
            decade = step;
        }
    }
    let (zero, to) = (piece.zero, piece.to);
    // The first multiple of the step, counted from the zero, that is not before the piece.
    let before = (zero.saturating_sub(piece.from)) / step;
    let after = piece.from.saturating_sub(zero).div_ceil(step);
    let first = if piece.from <= zero {
        zero - before * step
    } else {
        zero.saturating_add(after.saturating_mul(step))
    };
    std::iter::successors(Some(first), move |&time| time.checked_add(step))
        .take_while(move |&time| time <= to)
}

fn label(time: u64, zero: u64, unit: Unit) -> String {
    // Ticks are round: `2 us`, not `2.00 us`.
    let show = |ns| unit.show(ns).replace(".00 ", " ").replace(".0 ", " ");
    match (zero, time) {
        (0, 0) => "0".to_owned(),
        (0, time) => show(time),
        (zero, time) if time == zero => "ready".to_owned(),
        (zero, time) if time < zero => format!("-{}", show(zero - time)),
        (zero, time) => format!("+{}", show(time - zero)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(from: u64, to: u64, zero: u64) -> Piece {
        Piece { from, to, column: 0, cells: 60, zero }
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(
            ticks(&piece(0, 1_000_000, 0)).collect::<Vec<_>>(),
            [0, 200_000, 400_000, 600_000, 800_000, 1_000_000]
        );
        let around = ticks(&piece(990, 1_013, 1_000)).collect::<Vec<_>>();
        assert_eq!(around, [990, 995, 1_000, 1_005, 1_010]);
        assert!(ticks(&piece(0, u64::MAX, 0)).count() <= 6);
        assert!(ticks(&piece(7, 7, 0)).count() <= 1);
    }

    #[test]
    fn a_long_wait_breaks_the_axis_and_every_moment_keeps_its_place() {
        let strip = crate::report::sample::blocking().strip.unwrap();
        let axis = Axis::new(&strip, 69);
        assert!(axis.pieces.len() >= 2, "{axis:?}");
        let columns: Vec<_> =
            [0, 900, 500_000, 1_006_400, 1_008_200, 1_012_900, strip.end_ns].map(|t| axis.column(t)).into();
        assert!(columns.is_sorted(), "{columns:?}");
        assert_eq!(columns.last(), Some(&68));
        // A microsecond of the end is easy to see.
        assert!(axis.column(1_009_200) - axis.column(1_008_200) >= 4);
        for column in 0..69 {
            if let Some((from, to)) = axis.span(column) {
                assert!(from <= to && axis.column(from) <= column);
            }
        }
    }

    #[test]
    fn a_short_strip_needs_no_break() {
        let strip = Strip { message: 0, lanes: Vec::new(), marks: Vec::new(), end_ns: 900 };
        assert_eq!(Axis::new(&strip, 60).pieces.len(), 1);
        assert_eq!(Axis::new(&Strip { end_ns: 0, ..strip }, 60).pieces.len(), 1);
    }
}
