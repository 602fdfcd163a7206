//! The face in a photo, found and cut as the faces of a video are, so that it can be compared with them.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

use image::{DynamicImage, ImageDecoder as _, ImageReader, ImageResult, Limits};
use video::Image;

use crate::crops::{AlignedCrop, cut, shrink};
use crate::face::{Face, suppress};
use crate::pipeline::detector_scale;
use crate::view::View;
use crate::{Config, Error, detector};

/// Smallest score of a face that counts, 0 to 1: that of a clear face of a video (`association.clear_score`). A pattern
/// that looks a little like a face does not make a second one.
const CLEAR: f32 = 0.8;

/// Finds the only face in the photo at `path`, a JPEG or PNG file, with YuNet's weights. Returns the face in pixels of
/// the upright photo, and its crop.
///
/// # Errors
/// [`Error::Photo`] when the file is no photo; [`Error::Faces`] when it shows no face or several faces.
pub fn only_face(path: &Path, weights: &Path) -> Result<(Face, AlignedCrop), Error> {
    let wrong = |reason: String| Error::Photo { path: path.to_path_buf(), reason };
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let photo = decode(BufReader::new(file)).map_err(|error| wrong(error.to_string()))?;
    let config = Config::default();
    let detector = detector::Files::read(&config, Some(weights))?.load(config.min_score as f32)?;
    let mut detector = detector().map_err(wrong)?;
    let view = View::of_size(photo.width, photo.height);
    // A small photo is not enlarged: its face takes up more of it than the faces of a frame do.
    let scale = detector_scale(&view, None, detector.smallest_px()).min(1.0);
    let ((width, height), _) = view.scaled(scale);
    let small = if scale < 1.0 { shrink(&photo, width, height) } else { photo.clone() };
    let (across, down) = (photo.width as f32 / small.width as f32, photo.height as f32 / small.height as f32);
    let found = suppress(detector.detect(&small).map_err(wrong)?, config.max_overlap as f32);
    let clear = found.iter().filter(|face| face.score >= CLEAR).map(|face| face.scaled(across, down));
    let faces: Vec<(Face, AlignedCrop)> =
        clear.filter_map(|face| Some((face, cut(&photo, &face)?))).collect();
    match <[_; 1]>::try_from(faces) {
        Ok([only]) => Ok(only),
        Err(faces) => Err(Error::Faces {
            path: path.to_path_buf(),
            boxes: faces.iter().map(|(face, _)| face.bbox).collect(),
        }),
    }
}

/// Decodes a photo within the limits of memory of the library, and turns it as its EXIF data say.
fn decode(content: impl BufRead + Seek) -> ImageResult<Image> {
    let mut decoder = ImageReader::new(content).with_guessed_format()?.into_decoder()?;
    Limits::default().reserve(decoder.total_bytes())?;
    let orientation = decoder.orientation()?;
    let mut photo = DynamicImage::from_decoder(decoder)?;
    photo.apply_orientation(orientation);
    let photo = photo.into_rgb8();
    let (width, height) = (photo.width() as usize, photo.height() as usize);
    Ok(Image { width, height, channels: 3, data: photo.into_raw() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut content = Cursor::new(Vec::new());
        // The left half is bright.
        let pixel = |x, _| Rgb([if x < 16 { 250 } else { 5 }; 3]);
        RgbImage::from_fn(32, 16, pixel).write_to(&mut content, format).unwrap();
        content.into_inner()
    }

    #[test]
    fn a_photo_is_turned_as_its_exif_data_say() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let photo = decode(Cursor::new(encoded(format))).unwrap();
            assert_eq!((photo.width, photo.height, photo.data.len()), (32, 16, 32 * 16 * 3));
        }
        // Orientation 6: turned clockwise by 90 degrees, so that the bright half is above.
        let exif =
            b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let plain = encoded(ImageFormat::Jpeg);
        let turned = decode(Cursor::new([&plain[..2], exif, &plain[2..]].concat())).unwrap();
        assert_eq!((turned.width, turned.height), (16, 32));
        assert!(turned.data[0] > 200 && turned.data[turned.data.len() - 1] < 50);
    }

    #[test]
    fn what_is_no_photo_is_refused() {
        for content in [&b""[..], b"no photo", &encoded(ImageFormat::Png)[..40]] {
            assert!(decode(Cursor::new(content)).is_err());
        }
    }
}
