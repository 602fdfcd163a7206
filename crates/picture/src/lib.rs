//! The face images of the table `crops`: JPEG or PNG of at most the size that their row claims.
//!
//! **Architecture invariant:** this crate imports no sibling. All crates encode and decode faces by it.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{
    DynamicImage, ExtendedColorType, ImageEncoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits,
};

/// Quality of a JPEG, 1 to 100, on the scale of libjpeg. docs/design/linking.md says what others cost.
const JPEG_QUALITY: u8 = 95;

/// Format of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Small: colours differ by one or two steps of 255.
    Jpeg,
    /// Lossless, about three times as large.
    Png,
}

impl Format {
    /// Returns the format of an image by its first bytes; `None` if it is of neither format.
    pub fn of(image: &[u8]) -> Option<Self> {
        [Self::Jpeg, Self::Png].into_iter().find(|format| image.starts_with(format.start()))
    }

    /// Returns the ending of file names, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }

    /// The first bytes of every file.
    const fn start(self) -> &'static [u8] {
        match self {
            Self::Jpeg => b"\xff\xd8\xff",
            Self::Png => b"\x89PNG\r\n\x1a\n",
        }
    }

    /// The last bytes of every file.
    const fn end(self) -> &'static [u8] {
        match self {
            Self::Jpeg => b"\xff\xd9",
            Self::Png => b"IEND\xaeB`\x82",
        }
    }

    /// Returns the media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

/// Encodes `rgb`, 8-bit RGB, interleaved, of `width × height` pixels. The colours of a JPEG have the full resolution.
///
/// # Errors
/// When a side is 0 or above 65,535.
///
/// # Panics
/// When `rgb` does not have `3 · width · height` values.
pub fn encode(rgb: &[u8], width: u32, height: u32, format: Format) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    match format {
        Format::Jpeg => JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).write_image(
            rgb,
            width,
            height,
            ExtendedColorType::Rgb8,
        )?,
        // Quick rather than small: images are read back by the very next stage.
        Format::Png => {
            PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
                .write_image(rgb, width, height, ExtendedColorType::Rgb8)?;
        }
    }
    Ok(bytes)
}

/// Decodes an image of at most `width` × `height` pixels, which are those of its row.
///
/// # Errors
/// When it is neither a JPEG nor a PNG, or claims to be larger: then not a single pixel is decoded, so that a file of
/// a few bytes cannot fill the memory. A file that was cut off is an error; damage in the middle of a JPEG is not found.
pub fn decode(image: &[u8], width: i64, height: i64) -> ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_image_width = u32::try_from(width).ok();
    limits.max_image_height = u32::try_from(height).ok();
    let mut reader = reader(image)?;
    reader.limits(limits);
    reader.decode()
}

/// Returns width and height of an image, pixels; `None` if it is neither a JPEG nor a PNG. No pixel is decoded.
pub fn size(image: &[u8]) -> Option<(u32, u32)> {
    reader(image).ok()?.into_dimensions().ok()
}

fn reader(image: &[u8]) -> ImageResult<ImageReader<Cursor<&[u8]>>> {
    // Of a JPEG that was cut off, the decoder would fill the rest with grey.
    let format = match Format::of(image).filter(|format| image.ends_with(format.end())) {
        Some(Format::Jpeg) => ImageFormat::Jpeg,
        Some(Format::Png) => ImageFormat::Png,
        None => return Err(ImageError::Unsupported(image::error::ImageFormatHint::Unknown.into())),
    };
    Ok(ImageReader::with_format(Cursor::new(image), format))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const FORMATS: [Format; 2] = [Format::Jpeg, Format::Png];

    /// A smooth picture of 16 × 8 pixels.
    fn rgb() -> Vec<u8> {
        (0..8_u8).flat_map(|y| (0..16_u8).flat_map(move |x| [100 + 4 * x, 90 + 5 * y, 120 - x])).collect()
    }

    #[test]
    fn a_picture_larger_than_its_row_is_not_decoded() {
        for format in FORMATS {
            let image = encode(&rgb(), 16, 8, format).unwrap();
            assert_eq!((Format::of(&image), size(&image)), (Some(format), Some((16, 8))));
            assert_eq!(decode(&image, 16, 8).unwrap().width(), 16);
            assert!(matches!(decode(&image, 15, 8), Err(ImageError::Limits(_))), "{format:?}");
            assert!(matches!(decode(&image, 16, 7), Err(ImageError::Limits(_))), "{format:?}");
        }
    }

    #[test]
    fn a_png_is_lossless_and_a_jpeg_is_close() {
        let far = |format| {
            let image = encode(&rgb(), 16, 8, format).unwrap();
            let decoded = decode(&image, 16, 8).unwrap().into_rgb8().into_raw();
            decoded.iter().zip(rgb()).map(|(a, b)| a.abs_diff(b)).max().unwrap()
        };
        assert_eq!(far(Format::Png), 0);
        assert!((1..=4).contains(&far(Format::Jpeg)));
    }

    #[test]
    fn a_picture_that_was_cut_off_is_an_error() {
        for format in FORMATS {
            let image = encode(&rgb(), 16, 8, format).unwrap();
            for length in 0..image.len() {
                assert!(decode(&image[..length], 16, 8).is_err(), "{format:?}: {length} of {}", image.len());
            }
        }
    }

    #[test]
    fn other_files_are_no_pictures() {
        for image in [&b""[..], b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a\x01\0\x01\0", b"RIFF"] {
            assert_eq!(size(image), None);
            assert!(decode(image, 9, 9).is_err());
        }
    }
}
