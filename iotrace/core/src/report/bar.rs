//! Bars of fixed length, whose parts have the lengths of their shares.

/// The glyphs of the parts of a call: asleep for data, woken and waiting for a CPU, asleep for a disk, asleep for a lock,
/// copying, other work.
pub const PARTS: [char; 6] = ['░', '▒', '▞', '▓', '█', '▄'];
/// The glyphs of what a thread did: blocked, polling, free.
pub const DOING: [char; 3] = ['█', '▚', '·'];

/// A bar of `width` cells. A part that is not zero gets a cell even if its share is less: without it, a short copy
/// would look like a copy that did not happen.
pub fn bar<const N: usize>(values: [u64; N], glyphs: [char; N], width: usize) -> String {
    let total: u128 = values.iter().map(|&value| u128::from(value)).sum();
    if total == 0 {
        return " ".repeat(width);
    }
    let exact = |index: usize| u128::from(values[index]) * width as u128;
    let mut cells: [usize; N] = std::array::from_fn(|index| (exact(index) / total) as usize);
    for (cell, value) in cells.iter_mut().zip(values) {
        *cell = (*cell).max(usize::from(value > 0));
    }
    // Cells left over by rounding down go to the part that lacks most. Cells given to tiny parts are taken from the
    // longest part.
    while cells.iter().sum::<usize>() < width {
        let lack = |&index: &usize| exact(index).saturating_sub(cells[index] as u128 * total);
        let index = (0..N).max_by_key(lack).unwrap_or(0);
        cells[index] += 1;
    }
    while cells.iter().sum::<usize>() > width {
        let index = (0..N).max_by_key(|&index| cells[index]).unwrap_or(0);
        cells[index] -= 1;
    }
    glyphs.iter().zip(cells).flat_map(|(&glyph, cells)| std::iter::repeat_n(glyph, cells)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_seen_and_the_width_holds() {
        assert_eq!(bar([990, 5, 0, 0, 1, 4], PARTS, 12), "░░░░░░░░░▒█▄");
        assert_eq!(bar([1, 1, 2], DOING, 8), "██▚▚····");
        assert_eq!(bar([1, 1, 1], DOING, 8).matches('█').count(), 2);
        assert_eq!(bar([0, 0, 0], DOING, 3), "   ");
        assert_eq!(bar([u64::MAX; 6], PARTS, 41).chars().count(), 41);
    }
}
