//! The face images of the table `crops`: PNG of at most the size that their row claims.
//!
//! **Architecture invariant:** this crate imports no sibling: the page and the embedders decode faces in the same
//! way.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, ImageReader, ImageResult, Limits};

/// Decodes a PNG of at most `width` × `height` pixels, which are those of its row.
///
/// # Errors
/// When it is no PNG, or claims to be larger: then not a single pixel is decoded, so that a file of a few bytes
/// cannot fill the memory.
pub fn decode_png(png: &[u8], width: i64, height: i64) -> ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_image_width = u32::try_from(width).ok();
    limits.max_image_height = u32::try_from(height).ok();
    let mut reader = ImageReader::with_format(Cursor::new(png), ImageFormat::Png);
    reader.limits(limits);
    reader.decode()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use image::{ImageError, RgbImage};

    use super::*;

    #[test]
    fn a_picture_larger_than_its_row_is_not_decoded() {
        let mut png = Cursor::new(Vec::new());
        RgbImage::new(8, 8).write_to(&mut png, ImageFormat::Png).unwrap();
        let decode = |width, height| decode_png(png.get_ref(), width, height);
        assert_eq!(decode(8, 8).unwrap().width(), 8);
        assert!(matches!(decode(7, 8), Err(ImageError::Limits(_))));
        assert!(matches!(decode(8, 7), Err(ImageError::Limits(_))));
    }
}
