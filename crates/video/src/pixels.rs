//! Pixels at a wanted size, straight from the decoder's planes.

use ffmpeg::format::Pixel;
use ffmpeg::frame;
use ffmpeg::software::scaling::{Context, Flags};

use crate::decoder::Picture;

/// An upright picture, rows from top to bottom without padding, channels interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Width, pixels.
    pub width: usize,
    /// Height, pixels.
    pub height: usize,
    /// Bytes per pixel: 3 for RGB, 1 for luma.
    pub channels: usize,
    /// `height × width × channels` bytes.
    pub data: Vec<u8>,
}

/// Scales, converts and turns pictures; keeps the set-up while sizes and formats stay the same.
pub struct Converter {
    rotation_degrees: u32,
    scaler: Option<Context>,
}

impl Converter {
    /// For pictures that need a clockwise turn of `rotation_degrees` (0, 90, 180, 270) to be upright.
    pub fn new(rotation_degrees: u32) -> Self {
        Self { rotation_degrees, scaler: None }
    }

    /// Upright RGB of `width × height` pixels.
    ///
    /// # Errors
    /// FFmpeg's words when the pixel format cannot be converted.
    pub fn rgb(&mut self, picture: &Picture, width: usize, height: usize) -> Result<Image, String> {
        self.convert(picture, width, height, Pixel::RGB24, 3)
    }

    /// Upright luma of `width × height` pixels.
    ///
    /// # Errors
    /// FFmpeg's words when the pixel format cannot be converted.
    pub fn luma(&mut self, picture: &Picture, width: usize, height: usize) -> Result<Image, String> {
        self.convert(picture, width, height, Pixel::GRAY8, 1)
    }

    fn convert(
        &mut self,
        picture: &Picture,
        width: usize,
        height: usize,
        format: Pixel,
        channels: usize,
    ) -> Result<Image, String> {
        let lying = !self.rotation_degrees.is_multiple_of(180);
        let (stored_width, stored_height) = if lying { (height, width) } else { (width, height) };
        let frame = &picture.frame;
        let scaler = self.scaler(frame, format, stored_width, stored_height)?;
        let mut scaled = frame::Video::empty();
        scaler.run(frame, &mut scaled).map_err(|e| e.to_string())?;
        let image = packed(&scaled, stored_width, stored_height, channels);
        Ok(turned(image, self.rotation_degrees))
    }

    fn scaler(
        &mut self,
        frame: &frame::Video,
        format: Pixel,
        width: usize,
        height: usize,
    ) -> Result<&mut Context, String> {
        let wide = u32::try_from(width).map_err(|e| e.to_string())?;
        let high = u32::try_from(height).map_err(|e| e.to_string())?;
        let fits = |s: &Context| {
            let (from, to) = (s.input(), s.output());
            (from.format, from.width, from.height) == (frame.format(), frame.width(), frame.height())
                && (to.format, to.width, to.height) == (format, wide, high)
        };
        if !self.scaler.as_ref().is_some_and(fits) {
            let shrinks = wide < frame.width();
            let filter = if shrinks { Flags::AREA } else { Flags::BILINEAR };
            let flags = filter | Flags::ACCURATE_RND | Flags::BITEXACT;
            let made = Context::get(frame.format(), frame.width(), frame.height(), format, wide, high, flags);
            self.scaler = Some(made.map_err(|e| e.to_string())?);
        }
        self.scaler.as_mut().ok_or_else(|| "no scaler".into())
    }
}

fn packed(frame: &frame::Video, width: usize, height: usize, channels: usize) -> Image {
    let (stride, row) = (frame.stride(0), width * channels);
    let data = frame.data(0).chunks(stride).take(height).flat_map(|line| &line[..row]).copied().collect();
    Image { width, height, channels, data }
}

/// The image turned clockwise by a multiple of 90 degrees.
fn turned(image: Image, degrees: u32) -> Image {
    let Image { width, height, channels, .. } = image;
    let (new_width, new_height) = if degrees.is_multiple_of(180) { (width, height) } else { (height, width) };
    if degrees == 0 {
        return image;
    }
    let mut data = Vec::with_capacity(image.data.len());
    for y in 0..new_height {
        for x in 0..new_width {
            let (from_x, from_y) = match degrees {
                90 => (y, height - 1 - x),
                180 => (width - 1 - x, height - 1 - y),
                _ => (width - 1 - y, x),
            };
            let at = (from_y * width + from_x) * channels;
            data.extend_from_slice(&image.data[at..at + channels]);
        }
    }
    Image { width: new_width, height: new_height, channels, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two columns, three rows, numbered 1 to 6 row by row.
    fn sample() -> Image {
        Image { width: 2, height: 3, channels: 1, data: vec![1, 2, 3, 4, 5, 6] }
    }

    #[test]
    fn turns_clockwise() {
        let quarter = turned(sample(), 90);
        assert_eq!((quarter.width, quarter.height), (3, 2));
        assert_eq!(quarter.data, [5, 3, 1, 6, 4, 2]);
        assert_eq!(turned(sample(), 180).data, [6, 5, 4, 3, 2, 1]);
        assert_eq!(turned(sample(), 270).data, [2, 4, 6, 1, 3, 5]);
    }

    #[test]
    fn four_quarter_turns_are_none() {
        let once = |image| turned(image, 90);
        assert_eq!(once(once(once(once(sample())))), sample());
    }
}
