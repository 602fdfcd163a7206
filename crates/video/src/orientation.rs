//! How a stored picture is turned and mirrored to be upright.

/// One of the eight ways in which a rectangle fits onto itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orientation {
    /// Mirrored left to right, before the turn.
    pub(crate) is_mirrored: bool,
    /// Clockwise turn: 0, 90, 180 or 270 degrees.
    pub(crate) rotation_degrees: u32,
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Left edge, pixels.
    pub x: usize,
    /// Upper edge, pixels.
    pub y: usize,
    /// Width, pixels.
    pub width: usize,
    /// Height, pixels.
    pub height: usize,
}

impl Orientation {
    /// Upright as it is.
    pub(crate) const STORED: Self = Self { is_mirrored: false, rotation_degrees: 0 };

    /// Whether width and height change places.
    pub(crate) fn is_lying(self) -> bool {
        !self.rotation_degrees.is_multiple_of(180)
    }

    /// Size of the upright picture from the stored one's, and the other way round.
    pub(crate) fn size<T>(self, (width, height): (T, T)) -> (T, T) {
        if self.is_lying() { (height, width) } else { (width, height) }
    }

    /// Where the upright pixel (`x`, `y`) is stored, in a picture whose stored size is given.
    fn stored(self, x: usize, y: usize, (width, height): (usize, usize)) -> (usize, usize) {
        let (x, y) = match self.rotation_degrees {
            90 => (y, height - 1 - x),
            180 => (width - 1 - x, height - 1 - y),
            270 => (width - 1 - y, x),
            _ => (x, y),
        };
        if self.is_mirrored { (width - 1 - x, y) } else { (x, y) }
    }

    /// Where a region of the upright picture is stored, in a picture whose stored size is given.
    pub(crate) fn stored_region(self, region: Region, size: (usize, usize)) -> Region {
        let Region { x, y, width, height } = region;
        let (left, top) = self.stored(x, y, size);
        let (right, bottom) = self.stored(x + width - 1, y + height - 1, size);
        let (width, height) = self.size((width, height));
        Region { x: left.min(right), y: top.min(bottom), width, height }
    }

    /// Brings pixels of `N` bytes upright; `size` is the stored one.
    pub(crate) fn upright<const N: usize>(self, data: Vec<u8>, size: (usize, usize)) -> Vec<u8> {
        if self == Self::STORED {
            return data;
        }
        // Turned rows are read down columns: tiles keep what is read in the cache.
        const TILE: usize = 32;
        let stored = data.as_chunks::<N>().0;
        let (width, height) = self.size(size);
        let place = |x, y| {
            let (from_x, from_y) = self.stored(x, y, size);
            from_y * size.0 + from_x
        };
        // From one pixel of a row to the next, wrapping around for a step back.
        let step = if width > 1 { place(1, 0).wrapping_sub(place(0, 0)) } else { 0 };
        let mut pixels = vec![[0; N]; width * height];
        for top in (0..height).step_by(TILE) {
            for left in (0..width).step_by(TILE) {
                for y in top..(top + TILE).min(height) {
                    let mut from = place(left, y);
                    for pixel in &mut pixels[y * width..][left..(left + TILE).min(width)] {
                        *pixel = stored[from];
                        from = from.wrapping_add(step);
                    }
                }
            }
        }
        pixels.into_flattened()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURNS: [u32; 4] = [0, 90, 180, 270];

    fn all() -> impl Iterator<Item = Orientation> {
        let both = [false, true].into_iter();
        both.flat_map(|is_mirrored| {
            TURNS.map(|rotation_degrees| Orientation { is_mirrored, rotation_degrees })
        })
    }

    /// Two columns, three rows, numbered 1 to 6 row by row.
    fn upright(is_mirrored: bool, rotation_degrees: u32) -> Vec<u8> {
        Orientation { is_mirrored, rotation_degrees }.upright::<1>(vec![1, 2, 3, 4, 5, 6], (2, 3))
    }

    #[test]
    fn turns_clockwise() {
        assert_eq!(upright(false, 0), [1, 2, 3, 4, 5, 6]);
        assert_eq!(upright(false, 90), [5, 3, 1, 6, 4, 2]);
        assert_eq!(upright(false, 180), [6, 5, 4, 3, 2, 1]);
        assert_eq!(upright(false, 270), [2, 4, 6, 1, 3, 5]);
    }

    #[test]
    fn a_mirror_image_turns_rows_and_keeps_colours() {
        let picture = crate::Image { width: 2, height: 2, channels: 3, data: (0..12).collect() };
        assert_eq!(picture.clone().mirrored().data, [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]);
        assert_eq!(picture.clone().mirrored().mirrored(), picture);
    }

    #[test]
    fn mirrors_before_it_turns() {
        assert_eq!(upright(true, 0), [2, 1, 4, 3, 6, 5]);
        assert_eq!(upright(true, 90), [6, 4, 2, 5, 3, 1]);
        assert_eq!(upright(true, 180), [5, 6, 3, 4, 1, 2]);
    }

    #[test]
    fn a_region_is_stored_where_its_pixels_are() {
        let size = (70, 40);
        for orientation in all() {
            let data: Vec<u8> = (0..70 * 40).flat_map(|i: u16| i.to_le_bytes()).collect();
            let (width, _) = orientation.size(size);
            let whole = orientation.upright::<2>(data.clone(), size);
            let region = Region { x: 7, y: 3, width: 20, height: 33 };
            let stored = orientation.stored_region(region, size);
            let cut = |data: &[u8], width: usize, r: Region| -> Vec<u8> {
                let rows = data.chunks(2 * width).skip(r.y).take(r.height);
                rows.flat_map(|row| row[2 * r.x..2 * (r.x + r.width)].to_vec()).collect()
            };
            let part = orientation.upright::<2>(cut(&data, size.0, stored), (stored.width, stored.height));
            assert_eq!(part, cut(&whole, width, region), "{orientation:?}");
        }
    }
}
