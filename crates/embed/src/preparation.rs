//! From the pixels of a crop to the input of a network.

use candle_core::{Device, Tensor};

/// Order of channels: where each of the input's is in RGB.
pub(crate) const RGB: [usize; 3] = [0, 1, 2];
/// See [`RGB`].
pub(crate) const BGR: [usize; 3] = [2, 1, 0];

/// What a network wants as input: the middle of a crop, `(value − mean) / divisor` for every value.
pub(crate) struct Preparation {
    /// Side of the input, pixels.
    pub(crate) side: usize,
    /// [`RGB`] or [`BGR`].
    pub(crate) channels: [usize; 3],
    /// In the order of `channels`.
    pub(crate) means: [f32; 3],
    pub(crate) divisor: f32,
}

impl Preparation {
    /// The input `(1, side, side, 3)` for the middle of an RGB picture of `side × side` pixels.
    ///
    /// # Errors
    /// When the picture has another size, or is smaller than the input.
    pub(crate) fn middle(&self, rgb: &[u8], side: usize) -> Result<Tensor, String> {
        let (pixels, margin) = pixels(rgb, side, self.side)?;
        let rows = pixels.chunks_exact(side).skip(margin).take(self.side);
        let middle = rows.flat_map(|row| &row[margin..margin + self.side]);
        self.input(middle.map(|[r, g, b]| [f32::from(*r), f32::from(*g), f32::from(*b)]))
    }

    /// The input for RGB values, 0 to 255, row by row.
    ///
    /// # Errors
    /// When there are not `side × side` of them.
    pub(crate) fn input(&self, pixels: impl Iterator<Item = [f32; 3]>) -> Result<Tensor, String> {
        let value = |pixel: [f32; 3], i: usize| (pixel[self.channels[i]] - self.means[i]) / self.divisor;
        let mut values = Vec::with_capacity(self.side * self.side * 3);
        for pixel in pixels {
            values.extend_from_slice(&[value(pixel, 0), value(pixel, 1), value(pixel, 2)]);
        }
        Tensor::from_vec(values, (1, self.side, self.side, 3), &Device::Cpu).map_err(|e| e.to_string())
    }
}

/// The pixels of a picture, and how many lie before its middle of `middle × middle`.
///
/// # Errors
/// When the picture is not `side × side`, or smaller than its middle.
pub(crate) fn pixels(rgb: &[u8], side: usize, middle: usize) -> Result<(&[[u8; 3]], usize), String> {
    let margin = side
        .checked_sub(middle)
        .ok_or_else(|| format!("is {side} pixels wide; at least {middle} are needed"))?;
    let (pixels, _) = rgb.as_chunks::<3>();
    if pixels.len() != side * side {
        return Err(format!("has {} pixels, not {side} × {side}", pixels.len()));
    }
    Ok((pixels, margin / 2))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const TWO: Preparation = Preparation { side: 2, channels: BGR, means: [1.0, 2.0, 3.0], divisor: 2.0 };

    #[test]
    fn the_middle_is_taken_and_its_channels_in_order() {
        let picture: Vec<u8> = (0..4 * 4 * 3).collect();
        let input = TWO.middle(&picture, 4).unwrap();
        assert_eq!(input.dims(), [1, 2, 2, 3]);
        // Pixel (1, 1) is number 5: values 15, 16, 17.
        let expected = [(17.0 - 1.0) / 2.0, (16.0 - 2.0) / 2.0, (15.0 - 3.0) / 2.0];
        assert_eq!(input.flatten_all().unwrap().to_vec1::<f32>().unwrap()[..3], expected);
    }

    #[test]
    fn a_picture_of_too_few_pixels_is_refused() {
        assert_eq!(TWO.middle(&[0; 3], 1).unwrap_err(), "is 1 pixels wide; at least 2 are needed");
        assert_eq!(TWO.middle(&[0; 3], 4).unwrap_err(), "has 1 pixels, not 4 × 4");
    }
}
