//! Images whose pixels are columns of a table.

use std::collections::HashSet;

use super::space::{Slot, Space, Use};
use super::survey::Columns;

/// A grey image whose pixels are columns of a table (`pixel0`, `pixel1`, ...; `1x1`, `1x2`, ...), row by row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// Pixels a row, and rows.
    pub side: usize,
    /// What a value is multiplied with to become a sample of 8 bits.
    pub scale: f64,
}

impl Grid {
    /// The smallest image that is taken for one.
    const MIN_SIDE: usize = 8;
    const MAX_SIDE: usize = 1024;

    /// Of so many columns with values up to `greatest`: those of 8 bits, of 4 (0 to 16), or shares of one.
    pub fn of(columns: usize, greatest: f64) -> Option<Self> {
        let side = columns.isqrt();
        let fits = side * side == columns && (Self::MIN_SIDE..=Self::MAX_SIDE).contains(&side);
        let scale = match greatest {
            g if g <= 1.0 => 255.0,
            g if g <= 16.0 => 255.0 / 16.0,
            g if g <= 255.0 => 1.0,
            _ => return None,
        };
        fits.then_some(Self { side, scale })
    }

    /// The sample for a value.
    pub fn sample(self, value: f64) -> u8 {
        // `as` saturates, and makes 0 of what is no number.
        (value * self.scale).round() as u8
    }
}

/// The place of a pixel that a column's name tells, if it tells one: what stands before, then a number, or row `x` column.
pub(super) fn pixel(name: &str) -> Option<(&str, u64, u64)> {
    let digits = |text: &str| text.bytes().rev().take_while(u8::is_ascii_digit).count();
    let len = digits(name);
    let (head, number) = name.split_at(name.len() - len);
    let number = number.parse().ok()?;
    match head.strip_suffix('x').map(|h| h.split_at(h.len() - digits(h))) {
        Some((before, row)) if !row.is_empty() => Some((before, row.parse().ok()?, number)),
        _ => Some((head, 0, number)),
    }
}

impl Space {
    /// Takes columns that are the pixels of one image for that, also those that are the same in all images. `names`: of all columns.
    pub(super) fn find_grid(&mut self, names: &[&str], seen: &Columns) {
        let Some((head, ..)) = self.features.first().and_then(|name| pixel(name)) else { return };
        let (mut pixels, mut features) = (Vec::new(), 0);
        for (column, (slot, name)) in self.slots.iter().zip(names).enumerate() {
            let Some(profile) = seen.seen.get(column).map(|seen| &seen.profile) else { return };
            let is_feature = match slot {
                Slot::One(Use::Feature(_)) => true,
                Slot::One(Use::Ignored) if profile.numbers > 0 && profile.numbers == profile.values => false,
                _ => continue,
            };
            let place = pixel(name).filter(|(before, ..)| *before == head);
            let whole = profile.whole == profile.numbers || head.to_ascii_lowercase().contains("pixel");
            match place.filter(|_| whole && profile.range.0 >= 0.0 && profile.numbers > 0) {
                Some((_, row, number)) => pixels.push((row, number, column, profile.range.1)),
                // One other feature, and it is no image but a table.
                None if is_feature => return,
                None => continue,
            }
            features += usize::from(is_feature);
        }
        if features != self.features.len() {
            return;
        }
        let greatest = pixels.iter().fold(0.0_f64, |g, p| g.max(p.3));
        let Some(grid) = Grid::of(pixels.len(), greatest) else { return };
        pixels.sort_by_key(|p| (p.0, p.1));
        let mut taken = HashSet::new();
        for (at, (.., column, _)) in pixels.into_iter().enumerate() {
            if let (Some(slot), Some(name)) = (self.slots.get_mut(column), names.get(column)) {
                *slot = Slot::One(Use::Pixel(at));
                taken.insert(*name);
            }
        }
        self.features.clear();
        let why = format!("a pixel of images of {0} x {0}", grid.side);
        for role in self.roles.iter_mut().filter(|role| taken.contains(&*role.column)) {
            (role.role, role.why) = ("pixel", why.clone());
        }
        self.grid = Some(grid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_is_told_by_its_name() {
        assert_eq!(pixel("pixel12"), Some(("pixel", 0, 12)));
        assert_eq!(pixel("3x28"), Some(("", 3, 28)));
        assert_eq!(pixel("p_1x2"), Some(("p_", 1, 2)));
        assert_eq!(pixel("x7"), Some(("x", 0, 7)));
        assert_eq!([pixel("age"), pixel(""), pixel("a99999999999999999999")], [None; 3]);
    }

    #[test]
    fn a_square_of_small_numbers_is_an_image() {
        assert_eq!(Grid::of(784, 255.0), Some(Grid { side: 28, scale: 1.0 }));
        assert_eq!(Grid::of(64, 16.0).unwrap().sample(16.0), 255);
        assert_eq!(Grid::of(64, 1.0).unwrap().sample(f64::NAN), 0);
        assert_eq!([Grid::of(785, 255.0), Grid::of(49, 255.0), Grid::of(784, 3e4)], [None; 3]);
    }
}
